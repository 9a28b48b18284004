"""What the tests of the spec reader share: a spec that uses the whole language, and a connector's options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlplatform.errors import PlatformError
from mlplatform.spec.entry import entry
from mlplatform.spec.located import Located
from mlplatform.spec.model import Spec
from mlplatform.spec.reader import read_spec

EXAMPLE = (Path(__file__).parent / "example.yaml").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesOptions:
    """Options as a connector may declare them: with `entry` and without."""

    path: Located | tuple[Located, ...] = entry(doc="file or glob")
    schema: dict[Located, Located] | None = entry(None, doc="column: type", check="type")
    header: bool = True
    skip: int = 0
    ratio: float | None = None


CONNECTORS: Mapping[str, type] = {"files": FilesOptions}


def read(text: str | bytes) -> tuple[Spec | None, list[PlatformError]]:
    return read_spec(text, "x.yaml", connectors=CONNECTORS)


def good(text: str) -> Spec:
    """The spec, which must have no error; the head is put before it."""
    spec, errors = read(f"version: 1\npipeline: p\n{text}")
    assert [error.render() for error in errors] == []
    assert spec is not None
    return spec


def faults(text: str) -> list[tuple[str, int, int]]:
    """Code, line and column of every error; the two lines of the head are not counted."""
    _, errors = read(f"version: 1\npipeline: p\n{text}")
    return [(error.code, error.at.line - 2, error.at.column) for error in errors if error.at is not None]
