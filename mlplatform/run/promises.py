"""Datasets that are not written yet but that another spec of the folder makes: their schemas are known all the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from mlplatform.errors import PlatformError
from mlplatform.plan.nodes import CheckedPlan
from mlplatform.types import Schema


class Promises:
    """Looks for the spec that has a dataset among its outputs; called with the dataset's name.

    A spec is planned once, without reading rows, whatever is asked of it. Specs in `asked` are being planned already
    and are passed over, so a circle of specs ends.
    """

    def __init__(
        self, validate: Callable[[Path, frozenset[Path]], CheckedPlan], folder: Path, asked: frozenset[Path]
    ) -> None:
        self._validate, self._folder, self._asked = validate, folder, asked
        self._plans: dict[Path, CheckedPlan | None] = {}

    def __call__(self, dataset: str) -> tuple[Schema, str] | None:
        """Schema of the dataset and the path of the spec that makes it, or None."""
        for path in sorted(self._folder.glob("*.y*ml")):
            if path.resolve() in self._asked or not _mentions(path, dataset):
                continue
            schema = self._schema(path, dataset)
            if schema is not None:
                return schema, str(path)
        return None

    def _schema(self, path: Path, dataset: str) -> Schema | None:
        if path not in self._plans:
            self._plans[path] = self._plan(path)
        plan = self._plans[path]
        sink = plan.sinks.get(dataset) if plan is not None else None
        return sink.schema if sink is not None else None

    def _plan(self, path: Path) -> CheckedPlan | None:
        try:
            return self._validate(path, self._asked)
        except PlatformError:
            return None


def _mentions(path: Path, dataset: str) -> bool:
    try:
        return (
            re.search(rf"^\s+['\"]?{re.escape(dataset)}['\"]?\s*:", path.read_text(encoding="utf-8"), re.MULTILINE)
            is not None
        )
    except (OSError, UnicodeDecodeError):
        return False
