"""JSON files, from the text to typed rows or to an error that names file and line."""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.services.files_reading import SHARED, failing, opened, read, rows_of, shared_data


def write(folder: Path, name: str, text: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.mark.parametrize(
    ("values", "kind", "first"),
    [
        (["1", "-2", "null"], "bigint", 1),
        (["1", "1.5"], "double", 1.0),
        (["9223372036854775808", "1"], "decimal(38,0)", Decimal(9223372036854775808)),
        (["1" + "0" * 40], "string", "1" + "0" * 40),
        (["true", "false"], "boolean", True),
        (['"x"', '"2013-01-01"'], "string", "x"),
        (["1", '"x"'], "string", "1"),
        (['{"p": 1}', "5"], "string", '{"p":1}'),
        (["null"], "string", None),
        (['{"p": 1, "q": {"r": [1, 2]}}', '{"p": 2.5}'],
         "struct<p: double, q: struct<r: list<bigint>>>", {"p": 1.0, "q": {"r": [1, 2]}}),
        (["[]", '["x"]'], "list<string>", []),
        (["{}"], "string", "{}"),
    ],
)  # fmt: skip
def test_types_follow_the_values(tmp_path: Path, values: list[str], kind: str, first: Any) -> None:
    write(tmp_path, "a.ndjson", "".join(f'{{"id": {i}, "v": {value}}}\n' for i, value in enumerate(values)))
    stream = opened(tmp_path, "a.ndjson")
    assert str(stream.schema) == f"id bigint, v {kind}"
    assert rows_of(stream.scan)[0] == (0, first)


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        ('{"a": 1}\n{"a": 2}\n', "one object a line"),
        ('{"a": 1}\r\n\r\n{"a": 2}', "one object a line"),
        ('[{"a": 1},\n {"a": 2}]', "an array"),
        ('{\n "a": 1\n}\n{\n "a": 2\n}\n', "objects"),
    ],
)
def test_the_layout_is_found(tmp_path: Path, text: str, layout: str) -> None:
    write(tmp_path, "a.json", text)
    assert opened(tmp_path, "a.json").facts["layout"] == layout
    assert read(tmp_path, "a.json") == ({"a": "bigint"}, [(1,), (2,)])


def test_keys_may_be_absent(tmp_path: Path) -> None:
    write(tmp_path, "a.ndjson", '{"a": 1}\n{"b": "x"}\n')
    assert read(tmp_path, "a.ndjson") == ({"a": "bigint", "b": "string"}, [(1, None), (None, "x")])


def test_declared_types_win(tmp_path: Path) -> None:
    write(tmp_path, "a.ndjson", '{"t": "2013-01-01T05:00:00Z", "d": 3.10, "m": {"k": 1}, "i": 2.0}\n')
    declared = {"t": "timestamp", "d": "decimal(6,2)", "m": "map<string, int>", "i": "int"}
    assert read(tmp_path, "a.ndjson", schema=declared) == (
        {"t": "timestamp", "d": "decimal(6,2)", "m": "map<string, int>", "i": "int"},
        [(datetime(2013, 1, 1, 5, tzinfo=timezone.utc), Decimal("3.10"), {"k": 1}, 2)],
    )


@pytest.mark.parametrize("text", ["", "\n", "[]", " [ ] "])
def test_no_objects_need_a_schema(tmp_path: Path, text: str) -> None:
    write(tmp_path, "a.json", text)
    error = failing(tmp_path, "a.json")
    assert (error.code, error.hint) == ("E_JSON", "declare `schema: {column: type, …}`")
    assert read(tmp_path, "a.json", schema={"a": "int"}) == ({"a": "int"}, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n{"a": 1, "a": 2}\n', 'a.json:2: an object has the key "a" twice'),
        ('{"a": {"b": 1, "b": 1}}\n', 'a.json:1: an object has the key "b" twice'),
        ('{"a": 1}\n{"a": NaN}\n', "a.json:2: NaN is no JSON number"),
        ('{"a": 1}\n{"a": 1,}\n', "a.json:2: "),
        ('{"a": 1}\n[1]\n', "a.json:2: it holds an array where an object (a row) must stand"),
        ('[{"a": 1},\n5]', "a.json:2: it holds a number where an object (a row) must stand"),
        ('[{"a": 1}] x', "a.json:1: text follows the array"),
        ('[{"a": 1}', 'a.json:1: "," or "]" is missing'),
        ('{"a": 1}\n{"a":\n', "a.json:2: "),
        ('{"a": ' + "[" * 100_000 + "\n", "a.json:1: "),
        ('{"a\\u0000": 1}\n', "a.json:1: a key holds a NUL character"),
        ('5\n', "a.json:1: it holds a number where an object (a row) must stand"),
    ],
)  # fmt: skip
def test_broken_files_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, "a.json", text)
    error = failing(tmp_path, "a.json")
    assert (error.code, message in error.message) == ("E_JSON", True), error.message


def test_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    write(tmp_path, "a.json", b'{"a": 1}\n{"a": "caf\xe9"}\n')
    error = failing(tmp_path, "a.json")
    assert (error.code, "a.json:2" in error.message, error.hint) == ("E_ENCODING", True, "convert the file to utf-8")
    write(tmp_path, "b.json", b'\xef\xbb\xbf{"a": 1}\n')
    assert failing(tmp_path, "b.json").code == "E_ENCODING"


def test_keys_that_differ_by_case_are_no_two_columns(tmp_path: Path) -> None:
    write(tmp_path, "a.json", '{"a": 1, "A": 2}\n')
    assert failing(tmp_path, "a.json").code == "E_COLUMN_COLLISION"
    write(tmp_path, "b.json", '{"v": {"a": 1, "A": 2}}\n')
    assert read(tmp_path, "b.json") == ({"v": "string"}, [('{"a":1,"A":2}',)])


def test_keys_that_look_like_data_are_refused_until_declared(tmp_path: Path) -> None:
    write(tmp_path, "a.json", json.dumps({"v": {str(i): i for i in range(600)}}))
    assert failing(tmp_path, "a.json").hint == "declare the column as `map<string, …>` or `string`"
    types, rows = read(tmp_path, "a.json", schema={"v": "map<string, int>"})
    assert (types["v"], rows[0][0]["599"]) == ("map<string, int>", 599)


@pytest.mark.parametrize(
    ("kind", "value"), [("int", "1.5"), ("int", '"x"'), ("timestamp", '"soon"'), ("double", '"x"')]
)
def test_a_value_that_does_not_fit_is_refused(tmp_path: Path, kind: str, value: str) -> None:
    write(tmp_path, "a.json", f'{{"a": null}}\n{{"a": {value}}}\n')
    error = failing(tmp_path, "a.json", schema={"a": kind})
    assert error.code in ("E_CAST", "E_JSON")
    assert "a.json" in error.message


def test_large_files_are_sampled(tmp_path: Path) -> None:
    rows = [{"id": i, "text": "x" * 100} for i in range(60_000)]
    write(tmp_path, "lines.ndjson", "\n".join(map(json.dumps, rows)))
    write(tmp_path, "array.json", json.dumps(rows))
    write(tmp_path, "array.json.gz", gzip.compress(json.dumps(rows).encode()))
    for name in ("lines.ndjson", "array.json", "array.json.gz"):
        stream = opened(tmp_path, name)
        assert str(stream.schema) == "id bigint, text string"
        assert stream.facts["types from"] == "a sample"
        assert len(rows_of(stream.scan)) == 60_000


def test_a_value_beyond_the_sample_that_breaks_the_type_is_an_error(tmp_path: Path) -> None:
    rows = [json.dumps({"id": i, "text": "x" * 100}) for i in range(60_000)]
    rows[20_000] = json.dumps({"id": 1.5, "text": ""})
    write(tmp_path, "a.ndjson", "\n".join(rows))
    error = failing(tmp_path, "a.ndjson")
    assert (error.code, 'row 20001, column "id" holds a number with a fraction' in error.message) == ("E_CAST", True)


def test_files_of_two_layouts_are_not_mixed(tmp_path: Path) -> None:
    write(tmp_path, "a.json", '{"a": 1}\n')
    write(tmp_path, "b.json", '[{"a": 1}]')
    assert failing(tmp_path, "*.json").code == "E_VALUE"


# --- JSONTestSuite: each document as the value of one row ---------------------------------------------


def _documents(kind: str) -> list[Path]:
    return sorted((SHARED / "json_test_suite").glob(f"{kind}_*.json"))


@shared_data
def test_every_valid_document_is_read_as_python_reads_it(tmp_path: Path) -> None:
    for file in _documents("y"):
        document = file.read_bytes()
        write(tmp_path, "a.json", b'[{"v": ' + document + b"}]")
        if file.name == "y_object_empty_key.json":
            assert read(tmp_path, "a.json")[0] == {"v": "string"}
            continue
        if file.name == "y_array_heterogeneous.json":
            assert read(tmp_path, "a.json") == ({"v": "list<string>"}, [([None, "1", "1", "{}"],)])
            continue
        types, rows = read(tmp_path, "a.json")
        value = json.loads(document)
        is_text = types["v"] == "string" and not isinstance(value, str) and value is not None
        assert (json.loads(rows[0][0]) if is_text else rows[0][0]) == value, file.name


@shared_data
def test_every_invalid_document_is_refused(tmp_path: Path) -> None:
    for file in _documents("n"):
        document = file.read_bytes()
        for text in (document, b'[{"v": ' + document + b"}]", b'{"v": ' + document + b"}\n"):
            write(tmp_path, "a.json", text)
            error = failing(tmp_path, "a.json")
            assert error.code in ("E_JSON", "E_ENCODING"), file.name
            assert "a.json" in error.message
