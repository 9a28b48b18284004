"""Strict JSON, and the types that hold it."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from connectors.json_types import data_type, merged, shape_of
from connectors.json_values import JsonTextError, objects_of


@pytest.mark.parametrize(
    ("text", "layout", "expected"),
    [
        ('{"a": 1}\n\n{"a": 2}', "lines", [{"a": 1}, {"a": 2}]),
        ('[{"a": 1}, {"a": 2}]', "array", [{"a": 1}, {"a": 2}]),
        (" [ ] \n", "array", []),
        ('{"a":\n1} {"a": 2}', "values", [{"a": 1}, {"a": 2}]),
    ],
)
def test_layouts(text: str, layout: Literal["lines", "array", "values"], expected: list[Any]) -> None:
    assert list(objects_of(text, layout, is_whole=True)) == expected


@pytest.mark.parametrize("cut", range(2, 24))
def test_a_sample_gives_its_complete_objects(cut: int) -> None:
    text = '[{"a": 1}, {"a": 2}, {"a"'
    found = list(objects_of(text[:cut], "array", is_whole=False))
    assert found == [{"a": 1}, {"a": 2}][: text[:cut].count("}")]


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ('{"a": 1}\n{"a": 1, "a": 2}', 2, 'an object has the key "a" twice'),
        ('{"a": 1}\n{"a": Infinity}', 2, "Infinity is no JSON number"),
        ('{"a": 1} {"a": 2}', 1, "text follows the value"),
        ('{"a": 1}\nnull', 2, "it holds null where an object (a row) must stand"),
        ("\n{'a': 1}", 2, "expecting property name enclosed in double quotes"),
    ],
)
def test_what_is_refused(text: str, line: int, why: str) -> None:
    with pytest.raises(JsonTextError) as caught:
        list(objects_of(text, "lines", is_whole=True))
    assert (caught.value.line, caught.value.why) == (line, why)


def test_whole_numbers_of_any_length_are_read() -> None:
    (row,) = objects_of('{"a": ' + "9" * 10_000 + ', "b": 1e400}', "lines", is_whole=True)
    assert [str(data_type(shape_of(value))) for value in row.values()] == ["string", "string"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([None], "string"),
        ([None, True], "boolean"),
        ([1, 2.5], "double"),
        ([1, 2**63], "decimal(38,0)"),
        ([2**63, 0.5], "string"),
        ([1, True], "string"),
        ([[1], [None, 2.5]], "list<double>"),
        ([[[]]], "list<list<string>>"),
        ([{"a": 1}, {"b": [True]}, None], "struct<a: bigint, b: list<boolean>>"),
        ([{"a": 1}, [1]], "string"),
        ([{"a": 1, "A": 1}], "string"),
        ([{"": 1}], "string"),
        ([{}], "string"),
    ],
)
def test_types(values: list[Any], kind: str) -> None:
    forwards, backwards = shape_of(None), shape_of(None)
    for value in values:
        forwards = merged(forwards, shape_of(value))
    for value in reversed(values):
        backwards = merged(backwards, shape_of(value))
    assert str(data_type(forwards)) == kind
    assert str(data_type(backwards)) == kind or "struct" in kind
