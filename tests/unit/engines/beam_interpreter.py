"""A Beam job run in this process by DuckDB: splits and buckets are real, Beam is not there."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa

from mlplatform.engines.beam.stages import (
    Apply,
    Broadcast,
    Column,
    Compute,
    Flatten,
    Forward,
    Hash,
    Input,
    Job,
    Read,
    Single,
    Stage,
)
from mlplatform.engines.duckdb.read import relation
from mlplatform.engines.functions import apply, load_function
from mlplatform.plan.nodes import CheckedPlan, Source
from mlplatform.types import quoted

Tables = list[pa.Table]


@dataclass
class Interpreter:
    """Runs the stages of a job; `rows` are each stage's Arrow tables, `moved` the rows that went through exchanges.

    `buckets` replaces the number of each stage that is hashed, so that little data takes the ways of much.
    """

    plan: CheckedPlan
    job: Job
    seed: int = 0
    buckets: int | None = 3
    rows: dict[str, Tables] = field(default_factory=dict)
    moved: dict[tuple[str, str], int] = field(default_factory=dict)

    def run(self) -> dict[str, pa.Table]:
        """The rows of each output."""
        self.random = random.Random(self.seed)
        with duckdb.connect(config={"threads": 1}) as self.connection:
            self.connection.execute("SET TimeZone = 'UTC'")
            for name, stage in self.job.stages.items():
                self.rows[name] = self._stage(stage)
            return {output: self._all(stage) for output, stage in self.job.outputs.items()}

    def _all(self, name: str) -> pa.Table:
        columns = self.job.stages[name].columns
        tables = self.rows[name]
        if not tables:
            return self.connection.sql(f"{_none(columns)}").to_arrow_table()
        return pa.concat_tables(tables)

    def _stage(self, stage: Stage) -> Tables:
        match stage:
            case Read():
                return self._read(stage)
            case Compute():
                return self._compute(stage)
            case Apply():
                batches = (batch for table in self.rows[stage.stage] for batch in table.to_batches())
                found = list(apply(stage.function, load_function(stage.function), batches))
                return [pa.Table.from_batches([batch]) for batch in found if batch.num_rows]
            case Flatten():
                for name in stage.stages:
                    assert self.job.stages[name].columns == stage.columns
                return [table for name in stage.stages for table in self.rows[name]]

    def _read(self, stage: Read) -> Tables:
        source = self.plan.nodes[stage.source]
        assert isinstance(source, Source)
        given = self.connection.sql(relation(source.scan).sql("duckdb")).to_arrow_table()
        found = []
        for part in self._split(given):
            self.connection.register("_part", part)
            self.connection.execute(f"CREATE OR REPLACE TEMP VIEW {quoted(stage.source)} AS SELECT * FROM _part")
            found.append(self._query(stage, stage.query.sql("duckdb")))
        return self._pieces(found)

    def _split(self, table: pa.Table) -> Tables:
        """The rows in a random order, in a random number of parts."""
        order = list(range(table.num_rows))
        self.random.shuffle(order)
        parts = self.random.randint(1, 3)
        return [table.take(pa.array(order[number::parts], pa.int64())) for number in range(parts)]

    def _pieces(self, tables: Iterable[pa.Table]) -> Tables:
        return [table for table in tables if table.num_rows]

    def _query(self, stage: Stage, sql: str) -> pa.Table:
        found = self.connection.sql(sql)
        made = tuple(Column(name, str(kind)) for name, kind in zip(found.columns, found.types, strict=True))
        assert made == stage.columns, f"{stage.name}: {made} instead of {stage.columns}"
        return found.to_arrow_table()

    def _compute(self, stage: Compute) -> Tables:
        kinds = {type(item.exchange) for item in stage.inputs} - {Broadcast}
        assert len(kinds) <= 1, f"{stage.name} mixes {kinds}"
        assert len({item.name for item in stage.inputs}) == len(stage.inputs)
        sql = stage.query.sql("duckdb")
        for item in stage.inputs:
            if isinstance(item.exchange, Broadcast | Single):
                self._give(stage, item, self.rows[item.stage])
        if kinds == {Forward}:
            (streamed,) = [item for item in stage.inputs if isinstance(item.exchange, Forward)]
            found = []
            for table in self.rows[streamed.stage]:
                for part in self._split(table):
                    self._give(stage, streamed, [part], counts=False)
                    found.append(self._query(stage, sql))
            return self._pieces(found)
        if kinds == {Hash}:
            return self._buckets(stage, sql)
        return self._pieces([self._query(stage, sql)])

    def _buckets(self, stage: Compute, sql: str) -> Tables:
        count = self.buckets or stage.buckets
        hashed = [item for item in stage.inputs if isinstance(item.exchange, Hash)]
        types = {self._key_types(item) for item in hashed}
        assert len(types) == 1, f"{stage.name}: keys of types {types}"
        parts = {item.name: self._bucketed(item, count) for item in hashed}
        found = []
        for bucket in range(count):
            if not any(parts[item.name].get(bucket) for item in hashed):
                continue
            for item in hashed:
                self._give(stage, item, parts[item.name].get(bucket, []))
            found.append(self._query(stage, sql))
        return self._pieces(found)

    def _key_types(self, item: Input) -> tuple[str, ...]:
        assert isinstance(item.exchange, Hash)
        columns = self.job.stages[item.stage].columns
        keys = ", ".join(key.sql("duckdb") for key in item.exchange.keys)
        return tuple(map(str, self.connection.sql(f"SELECT {keys} FROM (SELECT {_nulls(columns)})").types))

    def _bucketed(self, item: Input, count: int) -> dict[int, Tables]:
        assert isinstance(item.exchange, Hash)
        keys = ", ".join(key.sql("duckdb") for key in item.exchange.keys)
        columns = self.job.stages[item.stage].columns
        found: dict[int, Tables] = {}
        for table in self.rows[item.stage]:
            self.connection.register("_rows", table)
            for bucket in range(count):
                where = f"hash({keys}) % {count} = {bucket}"
                sql = f"SELECT {_casts(columns)} FROM (SELECT {_casts(columns)} FROM _rows) WHERE {where}"
                part = self.connection.sql(sql).to_arrow_table()
                if part.num_rows:
                    found.setdefault(bucket, []).append(part)
        return found

    def _give(self, stage: Compute, item: Input, tables: Sequence[pa.Table], *, counts: bool = True) -> None:
        columns = self.job.stages[item.stage].columns
        if counts:
            key = (item.stage, stage.name)
            self.moved[key] = self.moved.get(key, 0) + sum(table.num_rows for table in tables)
        name = quoted(item.name)
        if not tables:
            self.connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {_none(columns)}")
            return
        self.connection.register(f"_rows_{item.name}", pa.concat_tables(tables))
        self.connection.execute(
            f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT {_casts(columns)} FROM {quoted(f'_rows_{item.name}')}"
        )


def _casts(columns: Sequence[Column]) -> str:
    return ", ".join(f"CAST({quoted(each.name)} AS {each.type}) AS {quoted(each.name)}" for each in columns)


def _nulls(columns: Sequence[Column]) -> str:
    return ", ".join(f"CAST(NULL AS {each.type}) AS {quoted(each.name)}" for each in columns)


def _none(columns: Sequence[Column]) -> str:
    return f"SELECT {_casts(columns)} FROM (SELECT {_nulls(columns)}) WHERE false"
