"""User functions: every shape they may have, streamed, and what they may not return."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlplatform.engines.functions import apply, load_function
from mlplatform.errors import Span, UserCodeError
from mlplatform.plan.nodes import Function
from mlplatform.spec.located import Located
from mlplatform.types import BIGINT, STRING, Schema

AT = Span("spec.yaml", 3, 5)
NODE = Function("step", Located("rules:score", AT), "t", Schema.of({"k": BIGINT, "s": STRING}), "/nowhere", AT)
SCHEMA = pa.schema([("k", pa.int64()), ("s", pa.string())])


def batch(*keys: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"k": list(keys), "s": [str(key) for key in keys]}, schema=SCHEMA)


def rows(function: Callable[..., Any], *batches: pa.RecordBatch) -> list[int]:
    return [key for result in apply(NODE, function, iter(batches)) for key in result.column("k").to_pylist()]


class Model:
    """Counts its set-ups and batches."""

    made = 0

    def setup(self) -> None:
        type(self).made += 1
        self.offset = 10

    def process(self, given: pa.RecordBatch) -> pa.RecordBatch:
        return batch(*(key + self.offset for key in given.column("k").to_pylist()))


def test_one_batch_gives_one() -> None:
    assert rows(lambda given: given, batch(1), batch(2, 3)) == [1, 2, 3]


def test_none_drops_and_tables_and_lists_are_taken() -> None:
    def pick(given: pa.RecordBatch) -> Any:
        first = given.column("k")[0].as_py()
        return {1: None, 2: pa.Table.from_batches([given]), 3: [given, given]}[first]

    assert rows(pick, batch(1), batch(2), batch(3)) == [2, 3, 3]


def test_a_generator_over_one_batch() -> None:
    def twice(given: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        yield given
        yield given

    assert rows(twice, batch(1), batch(2)) == [1, 1, 2, 2]


def test_a_function_over_the_stream() -> None:
    def running(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        total = 0
        for given in batches:
            total += sum(given.column("k").to_pylist())
            yield batch(total)

    assert rows(running, batch(1), batch(2), batch(3)) == [1, 3, 6]


def test_a_class_is_set_up_once() -> None:
    Model.made = 0
    assert rows(Model, batch(1), batch(2)) == [11, 12]
    assert Model.made == 1


def test_it_is_streamed() -> None:
    read: list[int] = []

    def source() -> Iterator[pa.RecordBatch]:
        for key in range(5):
            read.append(key)
            yield batch(key)

    results = apply(NODE, lambda given: given, source())
    next(results)
    assert read == [0]


def test_encodings_of_one_type_are_bridged() -> None:
    def large(given: pa.RecordBatch) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays(
            [given.column("k"), given.column("s").cast(pa.large_string())], names=["k", "s"]
        )

    assert [result.schema for result in apply(NODE, large, iter([batch(1)]))] == [SCHEMA]


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (pa.RecordBatch.from_pydict({"k": [1]}), "lacks s"),
        (pa.RecordBatch.from_pydict({"k": [1], "s": ["a"], "z": [1]}), "adds z"),
        (pa.RecordBatch.from_pydict({"k": ["x"], "s": ["a"]}), 'column "k" as string'),
        (7, "int, not a RecordBatch"),
        (["text"], "str, not a RecordBatch"),
        ({"k": [1], "s": ["a"]}, "dict, not a RecordBatch"),  # iterable, like a frame of pandas
        (
            pa.RecordBatch.from_pydict({"k": [1.5], "s": ["a"]}),
            'column "k" as double, declared bigint (in Arrow: int64)',
        ),
    ],
)
def test_other_than_declared(result: Any, says: str) -> None:
    with pytest.raises(UserCodeError, match="E_USER_CODE") as raised:
        rows(lambda given: result, batch(1))
    assert says in raised.value.message
    assert raised.value.at == AT


def test_an_exception_names_its_line() -> None:
    def broken(given: pa.RecordBatch) -> pa.RecordBatch:
        raise ZeroDivisionError("boom")

    with pytest.raises(UserCodeError, match="ZeroDivisionError: boom") as raised:
        rows(broken, batch(1))
    assert any("broken" in note for note in raised.value.notes)


def test_lines_of_a_folder_named_like_the_package(tmp_path: Path) -> None:
    folder = tmp_path / "mlplatform"
    folder.mkdir()
    (folder / "mlp_named.py").write_text("def broken(given):\n    raise ValueError('boom')\n", "utf-8")
    node = Function("step", Located("mlp_named:broken", AT), "t", NODE.schema, str(folder), AT)
    with pytest.raises(UserCodeError, match="ValueError: boom") as raised:
        list(apply(node, load_function(node), iter([batch(1)])))
    assert raised.value.notes == (f"{folder}/mlp_named.py:2 in broken: raise ValueError('boom')",)


def test_a_module_that_is_not_there() -> None:
    with pytest.raises(UserCodeError, match="E_FUNCTION"):
        load_function(Function("step", Located("no_such_module_at_all:f", AT), "t", NODE.schema, "/nowhere", AT))
