"""Rows of steps as Parquet files, all in one job of an engine; nothing is committed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlglot import exp

from mlplatform.engines.base import NoWatch, Watch, WriteTarget, same_columns
from mlplatform.engines.duckdb.read import relation
from mlplatform.engines.table import open_engine
from mlplatform.errors import Span
from mlplatform.plan.nodes import CheckedPlan, Sink
from mlplatform.plan.passes import optimise
from mlplatform.scan import RowScan
from mlplatform.spec.located import Located
from mlplatform.spec.model import OutputSpec
from mlplatform.types import Schema, from_duckdb, to_arrow_schema

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from mlplatform.limits import Limits


@dataclass(frozen=True, slots=True)
class Staged:
    """Rows at rest: Parquet files, none where there are no rows, of the columns of `schema`."""

    schema: Schema
    files: tuple[Path, ...]

    def relation(self) -> exp.Query:
        """A DuckDB query of the rows, the columns in order, in the types that the files have."""
        if not self.files:
            return relation(RowScan((), self.schema))  # type: ignore[return-value]  # a SELECT
        names = (exp.column(name, quoted=True) for name in self.schema.names)
        files = exp.Array(expressions=[exp.Literal.string(str(file)) for file in self.files])
        flat = exp.EQ(this=exp.column("hive_partitioning"), expression=exp.false())
        return exp.select(*names).from_(exp.Anonymous(this="read_parquet", expressions=[files, flat]))

    def stored_types(self, connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
        """The type that each column has in the files, in the words of the spec language where it has one."""
        relation = connection.sql(self.relation().sql("duckdb"))
        return {name: _word(kind) for name, kind in zip(relation.columns, relation.types, strict=True)}

    def to_arrow(self) -> pa.Table:
        """All rows as an Arrow table."""
        import duckdb

        with duckdb.connect(":memory:") as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.sql(self.relation().sql("duckdb")).to_arrow_table().cast(to_arrow_schema(self.schema))


def stage_steps(
    plan: CheckedPlan, steps: Sequence[str], limits: Limits, folder: Path, watch: Watch | None = None
) -> dict[str, Staged]:
    """The rows of some steps or sources, each in a folder of its own below `folder`.

    Raises: what the engine raises.
    """
    sinks = {sink.name: sink for sink in (_sink(plan, step) for step in dict.fromkeys(steps))}
    staged = optimise(replace(plan, sinks=sinks))
    targets = [_target(sink, folder / sink.input) for sink in sinks.values()]
    report = open_engine(plan.engine).run(staged, targets, limits, watch or NoWatch())
    return {
        sinks[name].input: Staged(
            sinks[name].schema, tuple(folder / sinks[name].input / file.path for file in written.files)
        )
        for name, written in report.written.items()
    }


def _sink(plan: CheckedPlan, step: str) -> Sink:
    name, nowhere = f"step.{step}_rows", Span("", 1, 1)  # not `step.csv`, which would be a file's name
    output = OutputSpec(name=Located(name, nowhere), from_=Located(step, nowhere))
    return Sink(name, step, plan.nodes[step].schema, output)


def _target(sink: Sink, folder: Path) -> WriteTarget:
    folder.mkdir(parents=True, exist_ok=True)
    return WriteTarget(sink.name, folder, "part", same_columns(sink.schema))


def _word(kind: object) -> str:
    language, is_exact = from_duckdb(kind)
    return str(language) if is_exact else str(kind)
