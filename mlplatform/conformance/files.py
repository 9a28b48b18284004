"""A case as files: its inputs as Parquet, shuffled and split, and its spec."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import yaml

from mlplatform.conformance.case import Case, Rows
from mlplatform.engines.duckdb.read import relation
from mlplatform.scan import RowScan


@dataclass(frozen=True, slots=True)
class Layout:
    """How the inputs lie in files: neither the order of rows nor files may decide a result."""

    name: str
    seed: int
    files: int


LAYOUTS = {layout.name: layout for layout in (Layout("whole", 1, 1), Layout("split", 2, 3))}


def write_case(case: Case, folder: Path, layout: Layout, options: Mapping[str, Mapping[str, Any]]) -> Path:
    """The case's workspace and spec in a folder; its inputs are written by `write_inputs`.

    Args:
        options: of the engines, as `mlplatform.yaml` has them.
    """
    engine = {**options, "duckdb": {"threads": 2, **options.get("duckdb", {})}}
    _dump({"engine": engine}, folder / "mlplatform.yaml")
    document = {
        "version": 1, "pipeline": "case", "params": case.params,
        "sources": {name: {"connector": "files", "path": f"{name}/*.parquet"} for name in case.inputs},
        "steps": case.steps, "outputs": case.outputs,
    }  # fmt: skip
    path = folder / "case.yaml"
    _dump({name: part for name, part in document.items() if part}, path)
    write_inputs(case.inputs, folder, layout)
    return path


def write_inputs(inputs: Mapping[str, Rows], folder: Path, layout: Layout) -> None:
    """Parquet files of the inputs, in place of those that are there."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
        for name, given in inputs.items():
            shutil.rmtree(folder / name, ignore_errors=True)
            (folder / name).mkdir()
            shuffled = random.Random(layout.seed).sample(given.rows, len(given.rows))
            for number in range(layout.files):
                rows = relation(RowScan(tuple(shuffled[number :: layout.files]), given.schema)).sql("duckdb")
                connection.execute(f"COPY ({rows}) TO '{folder / name}/{number}.parquet' (FORMAT parquet)")


def _dump(document: Mapping[str, Any], path: Path) -> None:  # Any: YAML
    path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
