"""No filter and no SQL text, however mangled, does more than be answered or refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlplatform.types import from_arrow
from serving.http.errors import CODES, ApiError
from serving.query.check import Parser
from serving.query.filters import OPERATORS, parse_filter
from serving.query.frames import Answer, Request
from serving.query.service import QueryService, ServiceOptions
from serving.query.sessions import SessionLimits
from serving.query.sources import MemorySources
from tests.serving.query.packs import rows_of, source

SCHEMA = {part.name: from_arrow(part.type) for part in rows_of(1).schema}
SEEDS = [
    "select id, name from t.rows where id = $a and name like 'n%' order by 1 limit 3",
    "with q as (select day, count(*) as n from t.rows group by 1) select * from q where n > 2 order by day",
    "select a.id, b.score from t.rows a join t.rows b using (id) where a.flag and b.price between 1 and 2",
    "select id, sum(score) over (partition by flag order by id rows between 1 preceding and current row) s from t.rows",
    "select unnest(tags) as tag, case when flag then 1 else 2 end as c from t.rows union all select 1, 2 from t.rows",
    "select list_transform(tags, lambda x: x + 1) as l, {'a': id} as s, date_trunc('day', at) as d from t.rows",
]
WORDS = [
    "select", "from", "where", "t.rows", "duckdb_settings()", "read_text('/etc/passwd')", "'x.csv'", "(", ")", ",", ";",
    "--", "/*", "*/", "$a", "?", "*", "union all", "insert into", "attach", "pragma", "set", "query('select 1')",
    "information_schema.tables", "with", "recursive", "as", "join", "on true", "lateral", "values", "pivot", "\x00",
    "'", '"', "$$", "main.rows", "p0.main.rows", "getenv('HOME')", "copy", "::", "1e999", "[", "]", "{", "}", "limit",
]  # fmt: skip


@st.composite
def mangled(draw: st.DrawFn) -> str:
    """A good text with pieces cut out, doubled, swapped or put in."""
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        place, end = sorted(draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
        new = draw(st.one_of(st.sampled_from(WORDS), st.text(max_size=5), st.just(text[place:end] * 2)))
        text = text[:place] + f" {new} " + text[end if draw(st.booleans()) else place :]
    return text[:20_000]


class Asked:
    """A service of one table, asked from tests that are not asynchronous."""

    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        limits = SessionLimits(128 * 2**20, folder / "spill")
        self.service = QueryService(MemorySources(source(folder)), ServiceOptions(limits, 2))

    def __call__(self, request: Request) -> Answer:
        return self.loop.run_until_complete(self.service.answer(request))

    def close(self) -> None:
        self.loop.run_until_complete(self.service.close())
        self.loop.close()


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    made = Asked(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.close()


quiet = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@settings(quiet, max_examples=250)
@given(text=mangled())
def test_mangled_sql_is_answered_or_refused(asked: Asked, text: str) -> None:
    names = {"a": 5} if "$a" in text else {}
    answer = asked(Request(id=1, op="query", sql=text, params=names, deadline_ms=2000))
    assert answer.status == 200 or answer.code in CODES
    assert answer.code != "internal", (text, answer.message)
    if answer.status == 200:
        assert answer.versions == {"t.rows": 1}
        assert json.loads(answer.body)["versions"] == {"t.rows": 1}
        assert b"root:" not in answer.body
    good = asked(Request(id=2, op="query", sql="select count(*) as n from t.rows"))
    assert json.loads(good.body)["rows"] == [{"n": 200}]


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    made = Parser()
    yield made
    made.close()


@settings(quiet, max_examples=200)
@given(text=st.one_of(st.text(max_size=100), st.lists(st.sampled_from(WORDS), max_size=20).map(" ".join)))
def test_any_text_is_checked(parser: Parser, text: str) -> None:
    try:
        found = parser.check(text)
    except ApiError as error:
        assert error.code in ("sql_not_allowed", "sql_error", "bad_body")
    else:
        assert found.tables


json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8), st.binary(max_size=4),
        st.sampled_from(["2026-01-01", "2026-01-01T00:00:00Z", "1.5", "NaN", "aGk=", "9" * 50]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=6,
)  # fmt: skip
conditions = st.one_of(
    json_values,
    st.tuples(
        st.sampled_from([*SCHEMA, "none", 'a"b', ""]), st.sampled_from([*OPERATORS, "like", None]), json_values
    ).map(list),
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(where=st.lists(conditions, max_size=3), columns=json_values, order_by=st.lists(json_values, max_size=2))
def test_any_filter_is_parsed_or_refused(where: list[Any], columns: Any, order_by: list[Any]) -> None:
    try:
        found = parse_filter(where, columns, order_by, schema=SCHEMA, key=("id",), granted=None)
    except ApiError as error:
        assert error.status == 400
    else:
        assert set(found.columns) <= set(SCHEMA)


@settings(quiet, max_examples=150)
@given(
    where=st.lists(
        st.tuples(st.sampled_from(list(SCHEMA)), st.sampled_from(OPERATORS), json_values).map(list), max_size=2
    )
)
def test_any_filter_is_answered_or_refused(asked: Asked, where: list[Any]) -> None:
    answer = asked(Request(id=1, op="filter", table="t.rows", where=where, deadline_ms=2000))
    assert answer.status == 200 or answer.code == "bad_body", (where, answer.code, answer.message)
