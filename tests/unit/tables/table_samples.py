"""A table on disk, and DuckDB to write its files and read its rows, for the tests of tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from mlplatform.limits import Limits
from mlplatform.scan import DataFile, FileScan
from mlplatform.tables.commit import Commit, WriteRequest, WrittenFile, commit, written_files
from mlplatform.tables.merge import merge
from mlplatform.tables.snapshot import Snapshot, open_snapshot
from mlplatform.types import Schema, parse_type, quoted, to_duckdb


def schema(**types: str) -> Schema:
    """Nullable columns from texts of the type language."""
    return Schema.of([(name, parse_type(text)) for name, text in types.items()])


@dataclass
class Lake:
    """One table `lake.t` under `folder`; `write` is what an engine does, `rows` what a reader sees."""

    folder: Path
    con: duckdb.DuckDBPyConnection
    count: int = 0

    @property
    def uri(self) -> str:
        return str(self.folder / "t")

    def files(self, select: str, run: str, partition_by: Sequence[str] = ()) -> list[WrittenFile]:
        Path(self.uri).mkdir(parents=True, exist_ok=True)
        layout = f"PARTITION_BY ({', '.join(map(quoted, partition_by))})" if partition_by else "FILE_SIZE_BYTES '1GB'"
        options = f"FORMAT parquet, RETURN_STATS, APPEND, FILENAME_PATTERN 'part-{run}-{{uuid}}', {layout}"
        return written_files(self.con.execute(f"COPY ({select}) TO '{self.uri}' ({options})").fetchall(), self.uri)

    def request(self, columns: Schema, mode: str = "append", load: str = "", **more: Any) -> WriteRequest:
        self.count += 1
        known: dict[str, Any] = {"run_id": f"r{self.count}", "pipeline": "p", "dataset": "lake.t", **more}
        return WriteRequest(uri=self.uri, schema=columns, mode=mode, load_id=load, **known)

    def write(
        self, columns: Schema, select: str, mode: str = "append", *, expected: int | None = None, **more: Any
    ) -> Commit:
        request = self.request(columns, mode, **more)
        files = self.files(select, request.run_id, request.partition_by)
        return commit(request, files, expected_version=expected)

    def merge(self, columns: Schema, select: str, key: Sequence[str], **more: Any) -> Commit:
        request = self.request(columns, "merge", unique_key=tuple(key), **more)
        return merge(request, self.staged(columns, select), limits=self.limits())

    def staged(self, columns: Schema, select: str) -> FileScan:
        self.count += 1
        path = self.folder / f"staged-{self.count}.parquet"
        self.con.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
        return FileScan("parquet", (DataFile(str(path), path.stat().st_size),), columns)

    def limits(self) -> Limits:
        return Limits(memory_bytes=512 << 20, threads=1, temp_folder=self.folder / "spill")

    def snapshot(self, version: int | None = None) -> Snapshot:
        found = open_snapshot(self.uri, version=version, name="lake.t")
        assert found is not None
        return found

    def rows(self, version: int | None = None) -> list[tuple[Any, ...]]:
        return sorted(read(self.con, self.snapshot(version).scan()), key=repr)

    def paths(self, version: int | None = None) -> set[str]:
        return {file.uri for file in self.snapshot(version).scan().files}


def read(con: duckdb.DuckDBPyConnection, scan: FileScan) -> list[tuple[Any, ...]]:
    """The rows of a scan, file by file, as its contract says."""
    rows: list[tuple[Any, ...]] = []
    for file in scan.files:
        source = f"read_parquet([{literal(file.uri)}], hive_partitioning = false)"
        held = {row[0].lower() for row in con.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
        values = dict(file.partition)
        columns = []
        for column in scan.schema:
            text = quoted(column.name) if column.name.lower() in held else "NULL"
            text = literal(values[column.name]) if column.name in scan.partition_columns else text
            columns.append(f"CAST({text} AS {to_duckdb(column.type)})")
        rows += con.execute(f"SELECT {', '.join(columns)} FROM {source}").fetchall()
    return rows


def literal(text: str | None) -> str:
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"


def values(rows: Sequence[Mapping[str, Any]] | Sequence[tuple[Any, ...]], names: str) -> str:
    """A SELECT of rows of numbers, texts and None."""
    texts = (
        "(" + ", ".join(literal(v) if v is None or isinstance(v, str) else str(v) for v in row) + ")" for row in rows
    )
    return f"SELECT * FROM (VALUES {', '.join(texts)}) v({names})"
