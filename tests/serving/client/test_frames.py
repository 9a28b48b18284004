"""Rows as frames and as batches for training."""

from __future__ import annotations

import pickle
import sys
import types
from typing import Any

import orjson
import pyarrow as pa
import pytest

from mlplatform.errors import UsageError
from serving.client import Client
from serving.client.torch import Rows, collate
from tests.serving.scripted import Received, Said, answer, scripted

pd = pytest.importorskip("pandas")


def table(at: int, request: Received) -> Said:
    """Rows k → v = 10 k; odd keys have none. One row as JSON, many as Arrow with nulls."""
    if request.method == "GET":
        key = request.path.rpartition("/")[2].partition("?")[0]
        return answer({"version": 41} if key == "t" else {"k": int(key), "v": int(key) * 10})
    keys = [key[0] for key in orjson.loads(request.body)["keys"]]
    rows = [{"k": key, "v": key * 10} if key % 2 == 0 else {"k": None, "v": None} for key in keys]
    sink = pa.BufferOutputStream()
    made = pa.Table.from_pylist(rows, schema=pa.schema({"k": pa.int64(), "v": pa.int64()}))
    with pa.ipc.new_stream(sink, made.schema) as writer:
        writer.write_table(made)
    return answer(sink.getvalue().to_pybytes())


def test_a_frame_in_the_order_of_its_keys() -> None:
    from serving.client.frames import frame

    with scripted(table) as server, Client(server.url) as client:
        found = frame(client, "t", [4, 3, 2, 4])
    assert list(found.index) == [4, 3, 2, 4]
    assert found["v"].tolist() == [40, pd.NA, 20, 40]
    assert str(found["v"].dtype) == "Int64"
    assert found.attrs["version"] == 41


def test_rows_joined_by_key() -> None:
    from serving.client.frames import joined

    with scripted(table) as server, Client(server.url) as client:
        rows = pd.DataFrame({"k": [2, 8, 2], "w": ["a", "b", "c"]}, index=[7, 8, 9])
        found = joined(client, rows, "t", on=["k"])
        assert found.to_dict("list") == {"k": [2, 8, 2], "w": ["a", "b", "c"], "v": [20, 80, 20]}
        assert list(found.index) == [7, 8, 9]
        with pytest.raises(UsageError):
            joined(client, rows.assign(v=1), "t", on=["k"])


def test_a_dataset_keeps_its_version() -> None:
    with scripted(table) as server, Client(server.url) as client:
        rows = Rows(client, "t", [2, 4, 6])
        assert (len(rows), rows.version) == (3, 41)
        assert rows[1] == {"k": 4, "v": 40}
        again = pickle.loads(pickle.dumps(rows))
        assert again.__getitems__([2, 0]) == [{"k": 6, "v": 60}, {"k": 2, "v": 20}]
        again._client.close()
    assert server.received[1].path == "/v1/tables/t/rows/4?version=41"
    body = orjson.loads(server.received[2].body)
    assert body == {"keys": [[6], [2]], "version": 41, "missing": "error"}


def test_batches_for_training(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[dict[str, Any]] = [{"a": 1, "b": None, "c": "x"}, {"a": 2, "b": 1.5, "c": "y"}]
    if "torch" not in sys.modules:
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(UsageError):
            collate(rows)
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(tensor=lambda values: ("tensor", values)))
    found = collate(rows)
    assert found["a"] == ("tensor", [1, 2])
    assert str(found["b"]) == "('tensor', [nan, 1.5])"
    assert found["c"] == ["x", "y"]
    assert collate([]) == {}
