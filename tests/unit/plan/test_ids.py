"""Ids of what was mined are hashes of canonical text: here made once more, by Python alone."""

from __future__ import annotations

from hashlib import sha256

import duckdb
import pytest
from sqlglot import exp

from mlplatform.plan.sqltext import DIALECT
from mlplatform.plan.transforms.in_time.ids import LENGTH, Part, mined_id
from mlplatform.types import BIGINT, BINARY, BOOLEAN, DATE, INT, STRING, DataType, List, to_duckdb


def _part(value: str, kind: DataType) -> Part:
    return exp.cast(exp.Literal.string(value), exp.DataType.build(to_duckdb(kind), dialect=DIALECT)), kind


def _null(kind: DataType) -> Part:
    return exp.cast(exp.null(), exp.DataType.build(to_duckdb(kind), dialect=DIALECT)), kind


def _ticks(*values: int) -> list[exp.Expr]:
    return [_part(str(value), BIGINT)[0] for value in values]


def _found(made: exp.Expr) -> str:
    return str(duckdb.execute(f"SELECT {made.sql(DIALECT)}").fetchall()[0][0])


def _expected(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:32]


@pytest.mark.parametrize(
    ("by", "text"),
    [
        ([_part("log|7", STRING)], r"hard\|brake|3|log\|7|-5|9"),
        ([_part("~", STRING), _part("ü\\", STRING)], "hard\\|brake|3|\\~|ü\\\\|-5|9"),
        ([_part("-12", INT), _part("true", BOOLEAN)], r"hard\|brake|3|-12|true|-5|9"),
        ([_part("2026-01-02", DATE), _part("\\xAB\\x01", BINARY)], r"hard\|brake|3|2026-01-02|ab01|-5|9"),
        ([_null(STRING)], r"hard\|brake|3|~|-5|9"),
        ([], r"hard\|brake|3|-5|9"),
    ],
)
def test_an_event_id_is_the_hash_of_kind_version_keys_and_bounds(by: list[Part], text: str) -> None:
    found = _found(mined_id("hard|brake", 3, by=by, at=_ticks(-5, 9)))
    assert (found, len(found)) == (_expected(text), LENGTH)


def test_a_session_id_has_only_its_start_so_that_growth_keeps_it() -> None:
    assert _found(mined_id("session", 1, by=[_part("a", STRING)], at=_ticks(0))) == _expected("session|1|a|0")


def test_kinds_of_a_column_and_further_parts() -> None:
    kind = _part("cut_in", STRING)[0]
    actors = exp.cast(exp.Literal.string("[a, b|c]"), exp.DataType.build("VARCHAR[]", dialect=DIALECT)), List(STRING)
    assert _found(mined_id(kind, 1, by=[], at=_ticks(1, 2), more=[actors])) == _expected(r"cut_in|1|1|2|[a|b\|c]")
