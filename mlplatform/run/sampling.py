"""A part of each large source that still meets in joins: rows whose key falls below a bound of its hash.

The same rows every time: the hash is md5 of the key's text. Sources that are joined on one key are cut by that key at
one bound, so that what matched in the whole matches in the sample.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
from sqlglot import exp

from mlplatform.duckdb_session import connect
from mlplatform.engines.base import WriteTarget, same_columns
from mlplatform.engines.duckdb.read import relation
from mlplatform.engines.duckdb.write import copy_statement, written
from mlplatform.limits import Limits
from mlplatform.plan.lineage import Lineage, plan_lineage
from mlplatform.plan.nodes import CheckedPlan, Query, Source
from mlplatform.scan import DataFile, FileScan, Scan

Key = tuple[str, str]
# Parts that a sample lies in, so that engines which split their work by files have something to split.
_FILES = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """A source cut down: its scan, how many rows of how many, and by which columns (none: by the whole row)."""

    scan: Scan
    rows: int
    of: int
    by: tuple[str, ...]

    def __str__(self) -> str:
        by = ", ".join(self.by) or "the whole row"
        return f"{self.rows:,} of {self.of:,} rows, by hash of {by}"


def sample_sources(plan: CheckedPlan, most: int, limits: Limits, folder: Path) -> dict[str, Sample]:
    """Samples of the sources that have more than `most` rows, as Parquet below `folder`; the others stay whole.

    Raises: SourceError where a source cannot be read.
    """
    with connect(limits) as connection:
        counts = {source.name: _rows(source, connection) for source in plan.sources}
        large = {name: count for name, count in counts.items() if count > most}
        keys = choose_keys(plan, large)
        bound = {name: most / max(large[other] for other in large if keys[other] is keys[name]) for name in large}
        return {
            source.name: _cut(source, keys[source.name], bound[source.name], counts[source.name], connection, folder)
            for source in plan.sources
            if source.name in large
        }


def _rows(source: Source, connection: duckdb.DuckDBPyConnection) -> int:
    if source.scan.rows is not None:
        return source.scan.rows
    count = exp.select("count(*)").from_(exp.Subquery(this=relation(source.scan)))
    return int(connection.execute(count.sql("duckdb")).fetchall()[0][0])


def _cut(
    source: Source, key: frozenset[Key], share: float, of: int, connection: duckdb.DuckDBPyConnection, folder: Path
) -> Sample:
    by = tuple(sorted(column for name, column in key if name == source.name))
    place = folder / source.name
    place.mkdir(parents=True)
    position = _position(by[0] if by else None)
    kept = exp.select("*", exp.alias_(position, "mlp_position")).from_(
        exp.Subquery(this=relation(source.scan), alias=exp.TableAlias(this=exp.to_identifier("mlp_row")))
    )
    kept = exp.select("*").from_(kept.subquery("rows")).where(exp.column("mlp_position") < exp.convert(share * _SCALE))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE mlp_sample AS {kept.sql('duckdb')}")
    files = [file for number in range(_FILES) for file in _part(source, number, connection, place)]
    scan = FileScan("parquet", tuple(files), source.schema)
    return Sample(scan, sum(file.rows or 0 for file in files), of, by[:1])


_SCALE = 2**32


def _position(column: str | None) -> exp.Expr:
    """Where in 0 … 2³² a row stands; a null key stands where its whole row does."""
    whole = exp.cast(exp.column("mlp_row"), "text")
    text: exp.Expr = whole
    if column is not None:
        text = exp.func("coalesce", exp.cast(exp.column(column, quoted=True), "text"), whole)
    number = exp.Anonymous(this="md5_number_lower", expressions=[text])
    return exp.Mod(this=number, expression=exp.Literal.number(_SCALE))


def _part(source: Source, number: int, connection: duckdb.DuckDBPyConnection, folder: Path) -> list[DataFile]:
    part = exp.Mod(this=exp.column("mlp_position"), expression=exp.Literal.number(_FILES))
    rows = exp.select("*").from_("mlp_sample").where(exp.EQ(this=part, expression=exp.Literal.number(number)))
    target = WriteTarget(source.name, folder, f"part-{number}", same_columns(source.schema))
    report = written(connection.execute(copy_statement(rows, target)).fetchall(), target)
    return [DataFile(str(folder / file.path), file.size_bytes, file.rows) for file in report.files]


# --- keys ------------------------------------------------------------------------------------------------------------


def choose_keys(plan: CheckedPlan, large: Mapping[str, int]) -> dict[str, frozenset[Key]]:
    """For each large source the columns that it is cut by: those which meet the most rows of large sources come first.

    Sources of one key have the same set; a source without a key has one of its own, without columns of its.
    """
    chosen: dict[str, frozenset[Key]] = {}
    groups = [frozenset(group) for group in join_keys(plan)]

    def weight(group: frozenset[Key]) -> tuple[int, int, list[Key]]:
        names = {name for name, _ in group} - set(chosen)
        return len(names & set(large)), sum(large.get(name, 0) for name in names), sorted(group)

    while groups:
        best = max(groups, key=weight)
        groups.remove(best)
        chosen.update({name: best for name, _ in best if name in large and name not in chosen})
    return {name: chosen.get(name, frozenset({(name, "")}) - {(name, "")}) for name in large}


def join_keys(plan: CheckedPlan) -> list[set[Key]]:
    """Columns of sources that some step holds equal, in sets that share no column."""
    lineage = plan_lineage(plan)
    sets: list[set[Key]] = []
    for node in plan.nodes.values():
        if isinstance(node, Query):
            for names in _equal_names(node.tree):
                group = {key for name in names for key in _origins(name, node.inputs, lineage)}
                touching = [one for one in sets if one & group]
                sets = [one for one in sets if not one & group]
                sets += [group.union(*touching)] if group else []
    return [group for group in sets if len({name for name, _ in group}) > 1]


def _equal_names(tree: exp.Query) -> Iterator[Collection[str]]:
    """Pairs of column names that a join or a filter of the tree holds equal."""
    for node in tree.find_all(exp.EQ, exp.NullSafeEQ):
        if isinstance(node.left, exp.Column) and isinstance(node.right, exp.Column):
            yield {node.left.name, node.right.name}
    for join in tree.find_all(exp.Join):
        for name in join.args.get("using") or ():
            yield {name.name}


def _origins(name: str, inputs: tuple[str, ...], lineage: Mapping[str, Lineage]) -> Iterator[Key]:
    """The source columns that a column of this name holds, in any of the step's inputs."""
    for read in inputs:
        for column, origins in lineage[read].items():
            if column.lower() == name.lower():
                yield from ((origin.input, origin.column) for origin in origins if origin.subtype == "identity")
