"""JSON that any reader takes, also where a float is no number."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlglot import exp, parse_one

from mlplatform.engines.base import WriteTarget, same_columns
from mlplatform.engines.duckdb.write import copy_statement
from mlplatform.types import Schema, parse_type


def written(folder: Path, kind: str, values: str) -> list[Any]:
    place = folder / "x.json"
    target = WriteTarget(
        "x.json", folder, "x", same_columns(Schema.of({"v": parse_type(kind)})), format="json", single_file=place
    )
    rows = parse_one(f"SELECT unnest({values}) AS v", dialect="duckdb")
    assert isinstance(rows, exp.Query)
    duckdb.connect().execute(copy_statement(rows, target))

    def refused(word: str) -> Any:
        raise AssertionError(f"{word} is no JSON")

    return [row["v"] for row in json.loads(place.read_text("utf-8"), parse_constant=refused)]


@pytest.mark.parametrize("kind", ["double", "float"])
def test_numbers_stay_and_the_others_are_texts(tmp_path: Path, kind: str) -> None:
    values = f"['1.5', '-0.25', 'nan', 'inf', '-inf', NULL]::{kind}[]"
    assert written(tmp_path, kind, values) == [1.5, -0.25, "NaN", "Infinity", "-Infinity", None]


def test_doubles_keep_every_digit(tmp_path: Path) -> None:
    numbers = [0.1, 1e300, 5e-324, 1 / 3, 2.0**53 + 2, math.pi]
    assert written(tmp_path, "double", f"{numbers}::double[]") == numbers


def test_in_lists_structs_and_maps(tmp_path: Path) -> None:
    kind = "struct<a: list<list<double>>, m: map<string, float>, n: struct<d: decimal(20,10), f: double>>"
    values = """[{'a': [['nan'::double, 1.5], NULL, []], 'm': MAP {'k': 'inf'::float, 'l': NULL},
                 'n': {'d': 1234567890.0123456789::decimal(20,10), 'f': 'nan'::double}},
                 {'a': NULL, 'm': NULL, 'n': NULL}, NULL]"""
    first = {
        "a": [["NaN", 1.5], None, []],
        "m": {"k": "Infinity", "l": None},
        "n": {"d": 1234567890.0123456789, "f": "NaN"},
    }
    assert written(tmp_path, kind, values) == [first, {"a": None, "m": None, "n": None}, None]


def test_other_types_are_written_as_ever(tmp_path: Path) -> None:
    assert written(tmp_path, "decimal(20,1)", "[1.5::decimal(20,1)]") == [1.5]
    assert written(tmp_path, "string", "['NaN']") == ["NaN"]
