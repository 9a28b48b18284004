"""A workspace in a folder, and runs of small specs in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mlplatform.run.report import RunReport
from mlplatform.workspace import Workspace

Rows = list[dict[str, Any]]


class Runs:
    """Writes specs and inputs into a folder and runs them there."""

    def __init__(self, folder: Path, *, engine: str = "{}") -> None:
        self.folder = folder
        (folder / "mlplatform.yaml").write_text(f"warehouse: warehouse\nengine: {engine}\n", encoding="utf-8")
        self.workspace = Workspace(folder, env={})

    def csv(self, name: str, text: str) -> None:
        """An input file."""
        (self.folder / name).write_text(text, encoding="utf-8")

    def spec(
        self, outputs: dict[str, Any], *, schema: dict[str, str], steps: dict[str, Any] | None = None, **more: Any
    ) -> Path:
        """A spec over `in.csv`, source `t`."""
        document: dict[str, Any] = {"version": 1, "pipeline": "p", **more}
        document["sources"] = {"t": {"connector": "files", "path": "in.csv", "schema": schema}}
        document |= {"steps": steps or {}, "outputs": outputs}
        path = self.folder / "spec.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        return path

    def run(self, spec: Path, **options: Any) -> RunReport:
        """Run it."""
        return self.workspace.run(spec, **options)

    def rows(self, dataset: str, version: int | None = None) -> Rows:
        """Rows of a dataset, sorted by their text."""
        opened = self.workspace.dataset(dataset)
        opened = opened if version is None else opened.version(version)
        return sorted(opened.to_arrow().to_pylist(), key=str)
