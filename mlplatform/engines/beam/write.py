"""What workers write, and how the driver hears of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlglot import exp

from mlplatform.engines.base import WriteTarget, Written
from mlplatform.engines.beam.kernel import Fault, Kernel
from mlplatform.engines.beam.programs import Program
from mlplatform.engines.duckdb.write import copy_statement, written
from mlplatform.tables.requests import WrittenFile

_ROWS = "_mlp_written"


def copy_rows(
    kernel: Kernel, program: Program, target: WriteTarget, number: int, fault: Fault | None = None
) -> bytes | None:
    """Write a program's rows into files of the target, and report them; None when there are no rows.

    Names of files are new ones each time: what a retried bundle wrote before is never reported, nor committed.

    Args:
        number: how many times this worker has written before; files of rows in order sort by it.
    """
    place = target
    if program.keeps_order:  # DuckDB would mix the rows of files that it names itself
        place = replace(target, single_file=target.folder / f"{target.file_stem}-{number:06d}-{uuid4()}.parquet")
    kernel.view(_ROWS, program.sql, fault)
    rows = exp.select("*").from_(exp.to_identifier(_ROWS))
    done = written(kernel.execute(copy_statement(rows, place), fault), target)
    kernel.forget(_ROWS)
    return report(target.sink, done) if done.files else None


def report(sink: str, done: Written) -> bytes:
    """Files written for a sink, as an element."""
    return json.dumps({"sink": sink, "files": [asdict(file) for file in done.files]}).encode()


def write_manifest(path: str, reports: Iterable[bytes]) -> None:
    """All reports in one file: the last thing that a job does, and the one way to the driver on every runner."""
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_suffix(".partial")
    partial.write_bytes(b"[" + b",\n".join(reports) + b"]")
    partial.replace(place)


def read_manifest(path: Path, sinks: Iterable[str]) -> dict[str, Written]:
    """What was written for each sink."""
    files: dict[str, list[WrittenFile]] = {sink: [] for sink in sinks}
    for part in json.loads(path.read_bytes()):
        files[part["sink"]] += [_file(document) for document in part["files"]]
    return {sink: Written.of(sorted(found, key=lambda file: file.path)) for sink, found in files.items()}


def _file(document: Mapping[str, Any]) -> WrittenFile:  # Any: JSON
    partition = tuple((key, value) for key, value in document["partition"])
    return WrittenFile(document["path"], document["size_bytes"], document["rows"], partition, document["stats"])
