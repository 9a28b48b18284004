"""Jobs made by hand, run as Beam pipelines: each kind of exchange against what DuckDB says of all rows at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("apache_beam", reason="needs the extra `beam`")

import duckdb
import sqlglot
from sqlglot import exp

from mlplatform.duckdb_session import connect
from mlplatform.engines.base import Projection, WriteTarget, same_columns
from mlplatform.engines.beam.kernel import Kernel
from mlplatform.engines.beam.options import read_options
from mlplatform.engines.beam.programs import InputTable, Program
from mlplatform.engines.beam.running import Facts, run_job
from mlplatform.engines.beam.splits import splits
from mlplatform.engines.beam.staged import read_staged
from mlplatform.engines.beam.stages import (
    Broadcast,
    Column,
    Compute,
    Exchange,
    Flatten,
    Forward,
    Hash,
    Input,
    Job,
    Read,
    Single,
    Stage,
)
from mlplatform.engines.beam.write import copy_rows
from mlplatform.errors import EngineError
from mlplatform.limits import Limits
from mlplatform.plan.nodes import CheckedPlan, Source
from mlplatform.scan import DataFile, FileScan, Stream
from mlplatform.types import Schema, from_duckdb

SALES = """SELECT i::INT AS id, (i * 7919 % 1000)::INT AS item,
    CASE WHEN i % 97 = 0 THEN NULL ELSE i % 13 END::INT AS shop,
    (i % 101)::DECIMAL(10,2) AS price, 'note ' || i AS note FROM range(300000) AS t(i)"""
Rows = list[tuple[Any, ...]]
ITEMS = "SELECT i::INT AS item, 'item ' || i AS name FROM range(900) AS t(i)"


class Data:
    """Files of two sources in row groups, and jobs over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources = {"sales": self._source("sales", SALES), "items": self._source("items", ITEMS)}

    def _source(self, name: str, query: str) -> Source:
        file = self.folder / f"{name}.parquet"
        with duckdb.connect() as connection:
            connection.execute(f"COPY ({query}) TO '{file}' (FORMAT parquet, ROW_GROUP_SIZE 20480)")
            relation = connection.sql(query)
            types = dict(zip(relation.columns, relation.types, strict=True))
        schema = Schema.of((column, from_duckdb(kind)[0]) for column, kind in types.items())
        stored = tuple((column, str(kind)) for column, kind in types.items())
        files = (DataFile(str(file), file.stat().st_size),)
        scan = FileScan("parquet", files, schema, stored=stored, is_uniform=True)
        return Source(name, Stream(scan, name), scan)

    def read(self, source: str, query: str | None = None) -> Read:
        """A stage over a source."""
        tree = parsed(query or f"SELECT * FROM {source}")
        return Read(f"read {source}", source, source, tree, self.columns(tree, {}))

    def compute(self, name: str, query: str, inputs: Mapping[Stage, Exchange], buckets: int = 1) -> Compute:
        """A stage over stages; its tables are called t0, t1, …."""
        given = tuple(Input(f"t{place}", stage.name, way) for place, (stage, way) in enumerate(inputs.items()))
        known = {item.name: stage for item, stage in zip(given, inputs, strict=True)}
        tree = parsed(query)
        return Compute(name, name, tree, given, self.columns(tree, known), buckets)

    def columns(self, tree: exp.Query, known: Mapping[str, Stage]) -> tuple[Column, ...]:
        """Columns of a query, by DuckDB."""
        with duckdb.connect() as connection:
            for name, source in self.sources.items():
                connection.execute(f"CREATE VIEW {name} AS FROM '{source.scan.files[0].uri}'")  # type: ignore[union-attr]
            for name, stage in known.items():
                typed = ", ".join(f'NULL::{column.type} AS "{column.name}"' for column in stage.columns)
                connection.execute(f"CREATE VIEW {name} AS SELECT {typed}")
            relation = connection.sql(tree.sql("duckdb"))
            return tuple(Column(name, str(kind)) for name, kind in zip(relation.columns, relation.types, strict=True))

    def run(self, *stages: Stage, memory_bytes: int | None = None, **options: Any) -> tuple[Rows, Facts]:
        """The sorted rows of the last stage."""
        last = stages[-1]
        limits = Limits(memory_bytes, 2, self.folder / "tmp", options)
        schema = Schema.of((column.name, from_duckdb(duckdb.sqltype(column.type))[0]) for column in last.columns)
        target = WriteTarget("out", self.folder / "out", "part", same_columns(schema))
        target.folder.mkdir(exist_ok=True)
        job = Job({stage.name: stage for stage in stages}, {"out": last.name})
        plan = CheckedPlan("p", "", dict(self.sources), {})
        written, facts = run_job(plan, job, [target], limits, read_options({"split_bytes": "200KB", **options}))
        table = read_staged(target, written["out"], schema, limits)
        return sorted(map(tuple, (row.values() for row in table.to_pylist())), key=repr), facts

    def answer(self, query: str) -> Rows:
        """The sorted rows of a query over the whole sources."""
        with connect(Limits(None, 2, self.folder / "tmp")) as connection:
            for name, source in self.sources.items():
                connection.execute(f"CREATE VIEW {name} AS FROM '{source.scan.files[0].uri}'")  # type: ignore[union-attr]
            return sorted(connection.sql(query).fetchall(), key=repr)


def parsed(query: str) -> exp.Query:
    """A query as a tree."""
    tree = sqlglot.parse_one(query, read="duckdb")
    assert isinstance(tree, exp.Query)
    return tree


def keys(*names: str) -> Hash:
    """By the hash of columns."""
    return Hash(tuple(exp.column(name) for name in names))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Sales and items."""
    return Data(tmp_path_factory.mktemp("beam_jobs"))


def test_a_file_is_cut_at_its_row_groups(data: Data) -> None:
    parts = splits(data.sources["sales"], 200_000)
    assert len(parts) > 5
    with connect(Limits(None, 2, data.folder / "tmp")) as connection:
        ids = [connection.sql(f"SELECT count(*), min(id), max(id) FROM ({part.sql})").fetchall()[0] for part in parts]
    assert sum(count for count, *_ in ids) == 300_000
    assert [low for _, low, _ in ids] == [0, *(high + 1 for *_, high in ids[:-1])]
    assert all(count % 20_480 == 0 for count, *_ in ids[:-1])


@pytest.mark.parametrize("buckets", [1, 2, 37])
def test_grouped_by_hash(data: Data, buckets: int) -> None:
    part = data.read("sales", "SELECT item, shop, sum(price) AS s, count(*) AS n FROM sales GROUP BY ALL")
    query = "SELECT item, shop, sum(s)::DECIMAL(38,2) AS s, sum(n)::BIGINT AS n FROM t0 GROUP BY ALL"
    rows, facts = data.run(part, data.compute("sums", query, {part: keys("item", "shop")}, buckets))
    assert rows == data.answer("SELECT item, shop, sum(price), count(*) FROM sales GROUP BY ALL")
    assert 50_000 < facts.exchanges["read sales to sums as t0"] < 3_000_000


def test_few_groups_are_few_bytes(data: Data) -> None:
    part = data.read("sales", "SELECT shop, count(*) AS n FROM sales GROUP BY ALL")
    query = "SELECT shop, sum(n)::BIGINT AS n FROM t0 GROUP BY ALL"
    rows, facts = data.run(part, data.compute("counts", query, {part: keys("shop")}, 3))
    assert rows == data.answer("SELECT shop, count(*) FROM sales GROUP BY ALL")
    assert facts.exchanges["read sales to counts as t0"] < 50_000


@pytest.mark.parametrize("kind", ["INNER", "LEFT", "RIGHT", "FULL", "SEMI", "ANTI"])
def test_joined_by_hash(data: Data, kind: str) -> None:
    sales = data.read("sales", "SELECT item, count(*) AS n FROM sales GROUP BY ALL")
    items = data.read("items", "SELECT * FROM items WHERE item % 3 = 0 OR item > 890")
    columns = "t0.item AS a, t0.n::BIGINT AS n" + ("" if kind in ("SEMI", "ANTI") else ", t1.item AS b, t1.name")
    counted = "(SELECT item, sum(n) AS n FROM t0 GROUP BY ALL) AS t0"
    query = f"SELECT {columns} FROM {counted} {kind} JOIN t1 ON t0.item = t1.item"
    join = data.compute("join", query, {sales: keys("item"), items: keys("item")}, 5)
    whole = columns.replace("t0", "s").replace("t1", "i")
    assert data.run(sales, items, join)[0] == data.answer(
        f"SELECT {whole} FROM (SELECT item, count(*) AS n FROM sales GROUP BY ALL) s {kind} JOIN "
        "(SELECT * FROM items WHERE item % 3 = 0 OR item > 890) i ON s.item = i.item"
    )


def test_a_broadcast_side_moves_alone(data: Data) -> None:
    sales, items = data.read("sales"), data.read("items")
    query = "SELECT t0.id, t1.name FROM t0 LEFT JOIN t1 USING (item) WHERE t0.id % 50 = 0"
    rows, facts = data.run(sales, items, data.compute("named", query, {sales: Forward(), items: Broadcast()}))
    assert rows == data.answer("SELECT id, name FROM sales LEFT JOIN items USING (item) WHERE id % 50 = 0")
    assert set(facts.exchanges) == {"read items to named as t1"}


def test_a_broadcast_side_meets_every_bucket(data: Data) -> None:
    sales, items = data.read("sales", "SELECT item, shop FROM sales WHERE id < 5000"), data.read("items")
    select = "SELECT shop, count(name) AS n, count(DISTINCT item) AS d"
    query = f"{select} FROM t0 LEFT JOIN t1 USING (item) GROUP BY shop"
    rows, _ = data.run(sales, items, data.compute("n", query, {sales: keys("shop"), items: Broadcast()}, 4))
    assert rows == data.answer(f"{select} FROM sales LEFT JOIN items USING (item) WHERE id < 5000 GROUP BY shop")


@pytest.mark.parametrize("where", ["false", "id < 10"])
def test_a_single_bucket_runs_once_also_on_no_rows(data: Data, where: str) -> None:
    sales = data.read("sales", f"SELECT * FROM sales WHERE {where}")
    items = data.read("items", "SELECT * FROM items WHERE false")
    query = "SELECT count(*) AS n, sum(id)::BIGINT AS s, (SELECT count(*) FROM t1) AS m FROM t0"
    rows, _ = data.run(sales, items, data.compute("n", query, {sales: Single("no keys"), items: Broadcast()}))
    assert rows == data.answer(f"SELECT count(*), sum(id)::BIGINT, 0 FROM sales WHERE {where}")


def test_stages_of_the_same_columns_flow_together(data: Data) -> None:
    sales = data.read("sales", "SELECT item FROM sales WHERE id < 100")
    items = data.read("items", "SELECT item FROM items")
    both = Flatten("both", "both", (sales.name, items.name), items.columns)
    count = data.compute("n", "SELECT item, count(*) AS n FROM t0 GROUP BY ALL", {both: keys("item")}, 2)
    whole = "SELECT item FROM sales WHERE id < 100 UNION ALL SELECT item FROM items"
    assert data.run(sales, items, both)[0] == data.answer(whole)
    assert data.run(sales, items, both, count)[0] == data.answer(f"SELECT item, count(*) FROM ({whole}) GROUP BY ALL")


def test_types_that_arrow_lacks_arrive(data: Data) -> None:
    values = "id::HUGEINT * 1000000000000000000 AS h, INTERVAL (id) MONTH AS i, id::UBIGINT AS u, NULL AS nothing"
    part = data.read("sales", f"SELECT id, {values} FROM sales WHERE id < 3000")
    text = "id, h::VARCHAR AS h, i::VARCHAR AS i, typeof(h) || typeof(i) || typeof(u) AS kinds, nothing::INT AS nothing"
    rows, _ = data.run(part, data.compute("texts", f"SELECT {text} FROM t0", {part: keys("h", "i")}, 3))
    assert rows == data.answer(f"SELECT {text} FROM (SELECT id, {values} FROM sales WHERE id < 3000)")


def test_a_bucket_larger_than_memory_spills(data: Data) -> None:
    part = data.read("sales", "SELECT * FROM sales, range(8) AS r(r)")
    query = "SELECT note, row_number() OVER (ORDER BY note, r DESC) AS n, price FROM t0 QUALIFY n % 100000 = 1"
    ranked = data.compute("ranked", query, {part: Single("one order")})
    rows, _ = data.run(part, ranked, memory_bytes=100 << 20)
    assert rows == data.answer(query.replace("t0", "sales, range(8) AS r(r)"))


def test_rows_beyond_what_is_kept_go_to_the_database(tmp_path: Path) -> None:
    table = InputTable("t", (Column("a", "INTEGER"),))
    kernel = Kernel(Program("s", "running", "SELECT 1", Limits(None, 2, tmp_path), "test", (table,)))
    kernel.kept_bytes = 1000
    with duckdb.connect() as connection:
        queries = [f"SELECT range::INT AS a FROM range({start}, {start + 100})" for start in range(0, 900, 100)]
        parts = [connection.sql(query).to_arrow_table() for query in queries]
    for _ in range(2):  # a second bucket must not see the first
        gathered = kernel.gather(table)
        for part in parts:
            gathered.add(part)
        gathered.done()
        assert kernel.execute("SELECT count(*), sum(a) FROM t")[0] == (900, sum(range(900)))
    kernel.gather(table).done()
    assert kernel.execute("SELECT count(*) FROM t")[0] == (0,)
    kernel.close()


def test_rows_whose_order_counts_stay_in_order(tmp_path: Path) -> None:
    # So many that DuckDB, writing files of a size into a folder, would mix them.
    query = "SELECT i FROM range(3000000) AS t(i) ORDER BY hash(i)"
    target = WriteTarget("out", tmp_path, "part", (Projection("i", "bigint", "i"),))
    program = Program("s", "running", query, Limits(None, 4, tmp_path / "tmp"), "test", (), target, keeps_order=True)
    kernel = Kernel(program)
    reports = [copy_rows(kernel, program, target, number) for number in range(2)]
    files = sorted(tmp_path.glob("*.parquet"))
    kernel.close()
    assert len(files) == len([report for report in reports if report is not None]) == 2
    rank = "row_number() OVER (ORDER BY hash(i)) - 1"
    for file in files:
        with duckdb.connect() as connection:
            rows = (
                f"SELECT {rank} AS rank, file_row_number AS place FROM read_parquet('{file}', file_row_number = true)"
            )
            assert connection.sql(f"SELECT count(*), count_if(rank <> place) FROM ({rows})").fetchall() == [
                (3_000_000, 0)
            ]


def test_other_versions_on_a_worker_are_refused(tmp_path: Path) -> None:
    program = Program("s", "running", "SELECT 1", Limits(None, 2, tmp_path), "test")
    with pytest.raises(EngineError) as raised:
        Kernel(replace(program, versions=(("duckdb", "0.1.0"),)))
    assert raised.value.code == "E_ENGINE"
    assert "0.1.0" in raised.value.notes[0]


def test_an_error_in_a_bucket_names_its_step(data: Data) -> None:
    part = data.read("sales", "SELECT id, note FROM sales WHERE id < 9")
    bad = data.compute("bad", "SELECT note::INT AS n FROM (SELECT id AS a, note FROM t0)", {part: keys("id")}, 2)
    count = data.compute("count", "SELECT count(n) AS n FROM t0", {bad: Single("no keys")})
    with pytest.raises(EngineError) as raised:
        data.run(part, bad, count)
    assert raised.value.code == "E_CAST"
    assert 'running step "bad"' in raised.value.message
    assert "note 1" not in raised.value.message
