"""The parts of a source that workers read: whole files, or runs of row groups of large Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlglot import exp

from mlplatform.engines.beam.programs import Split
from mlplatform.engines.duckdb.read import relation
from mlplatform.plan.nodes import Source
from mlplatform.scan import DataFile, FileScan, Scan, Stream

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_ROW = "file_row_number"


@dataclass(frozen=True, slots=True)
class _Part:
    """Files, or the rows `first` to before `end` of one."""

    files: tuple[DataFile, ...]
    first: int | None = None
    end: int | None = None


def splits(node: Source, split_bytes: int) -> list[Split]:
    """The source in parts of about that many bytes at rest; one part at least, also without files."""
    if not isinstance(node.scan, FileScan) or not node.scan.files:
        return [Split(_only(node, node.scan), relation(node.scan).sql("duckdb"))]
    return [_split(node, node.scan, part) for part in _parts(node.scan, split_bytes)]


def _split(node: Source, scan: FileScan, part: _Part) -> Split:
    mine = replace(scan, files=part.files)
    tree = relation(mine)
    if part.first is not None:
        tree = _rows_between(tree, part.first, part.end)
    return Split(_only(node, mine), tree.sql("duckdb"))


def _only(node: Source, scan: Scan) -> Source:
    # A stream's own `prune` holds what a worker neither has nor needs.
    return Source(node.name, Stream(scan, node.stream.origin), scan, node.at)


def _parts(scan: FileScan, split_bytes: int) -> Iterator[_Part]:
    """Small files together, large ones cut."""
    together: list[DataFile] = []
    for file in scan.files:
        if scan.format == "parquet" and file.size_bytes >= 2 * split_bytes and Path(file.uri).is_file():
            yield from _cut(file, split_bytes)
            continue
        if together and sum(other.size_bytes for other in together) + file.size_bytes > split_bytes:
            yield _Part(tuple(together))
            together = []
        together.append(file)
    if together:
        yield _Part(tuple(together))


def _cut(file: DataFile, split_bytes: int) -> Iterator[_Part]:
    """Runs of whole row groups, by their compressed bytes."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(file.uri) as opened:
        groups = [opened.metadata.row_group(number) for number in range(opened.metadata.num_row_groups)]
        sizes = [(group.num_rows, _bytes(group)) for group in groups]
    first, rows, size = 0, 0, 0
    for count, group_bytes in sizes:
        if rows and size + group_bytes > split_bytes:
            yield _Part((file,), first, first + rows)
            first, rows, size = first + rows, 0, 0
        rows, size = rows + count, size + group_bytes
    yield _Part((file,), first, first + rows)


def _bytes(group: pq.RowGroupMetaData) -> int:
    return sum(group.column(number).total_compressed_size for number in range(group.num_columns))


def _rows_between(tree: exp.Expr, first: int, end: int | None) -> exp.Expr:
    """The same rows of one file, but only those of some row groups: DuckDB skips the others unread."""
    row = exp.column(_ROW)
    bounds = exp.and_(row >= exp.Literal.number(first), row.copy() < exp.Literal.number(end))
    for call in list(tree.find_all(exp.Anonymous)):
        if call.name == "read_parquet":
            call.append("expressions", exp.EQ(this=exp.to_identifier(_ROW), expression=exp.true()))
            reader = call.find_ancestor(exp.Select)
            assert reader is not None
            reader.where(bounds, copy=False)
    return tree
