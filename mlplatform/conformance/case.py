"""A case: input rows, steps, expected rows and types; or the error that a spec must give. Read from YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from mlplatform.errors import UsageError, did_you_mean, repr_name
from mlplatform.types import Schema, parse_type

CASES = Path(__file__).parent / "cases"
_SIGNS = re.compile(r"\W+")
Row = Mapping[str, Any]  # Any: a value as YAML writes it


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a schema, to be put into files or a table."""

    schema: Schema
    rows: tuple[Row, ...]
    partition_by: tuple[str, ...] = ()

    def holding(self, rows: Sequence[Row]) -> Rows:
        """Other rows of the same columns."""
        return Rows(self.schema, tuple(rows), self.partition_by)


@dataclass(frozen=True, slots=True)
class Expected:
    """Rows of a step or an output, in any order; without `types` only the columns named are compared."""

    rows: tuple[Row, ...]
    types: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ExpectedError:
    """The code that a spec must fail with, and what the message says."""

    code: str
    says: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One behaviour.

    Attributes:
        id: file and title, as one word.
        given: datasets as they stand before the first run.
        runs: for each run the inputs that it finds instead of `inputs`; one run of `inputs` where a case says nothing.
        expect: by step what it gives; by dataset the table as it stands after the last run.
        error: what planning or running must fail with, in the last run where there are outputs.
    """

    id: str
    title: str
    inputs: Mapping[str, Rows]
    steps: Mapping[str, Any]  # Any: YAML, as below
    params: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    given: Mapping[str, Rows] = field(default_factory=dict)
    runs: tuple[Mapping[str, Rows], ...] = ()
    expect: Mapping[str, Expected] = field(default_factory=dict)
    error: ExpectedError | None = None

    @property
    def tables(self) -> tuple[str, ...]:
        """The datasets whose rows are expected."""
        return tuple(name for name in self.expect if name in self.outputs)

    @property
    def tested_steps(self) -> tuple[str, ...]:
        """The steps whose rows are expected."""
        return tuple(name for name in self.expect if name not in self.outputs)


class _CoreLoader(yaml.SafeLoader):
    """YAML as specs have it: times and dates stay text."""


_CoreLoader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(path: Path) -> list[Any]:  # Any: YAML
    """The documents of a file. Raises: UsageError E_USAGE."""
    try:
        return list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=_CoreLoader))
    except (yaml.YAMLError, OSError) as error:
        raise UsageError("E_USAGE", f"{path} cannot be read: {' '.join(str(error).split())}") from error


def load_cases(folder: Path = CASES) -> tuple[Case, ...]:
    """All cases of a folder, in the order of files and places.

    Raises: UsageError E_USAGE for a file that is no list of cases, and for two cases of one name.
    """
    found: dict[str, Case] = {}
    for path in sorted(folder.glob("*.yaml")):
        for document in read_yaml(path):
            case = _case(document, path)
            if case.id in found:
                raise UsageError("E_USAGE", f"{path}: two cases are called {repr_name(case.title)}")
            found[case.id] = case
    if not found:
        raise UsageError("E_USAGE", f"there are no cases in {folder}")
    return tuple(found.values())


def _case(document: Any, path: Path) -> Case:  # Any: YAML
    known = {"case", *(each.name for each in fields(Case) if each.name not in ("id", "title"))}
    title = document.get("case") if isinstance(document, dict) else None
    if not isinstance(title, str) or not isinstance(document.get("steps"), dict):
        raise UsageError("E_USAGE", f"{path}: a case needs `case` and `steps`: {str(document)[:80]}")
    for key in document:
        if key not in known:
            raise UsageError("E_USAGE", f"{path}: case {repr_name(title)} has an unknown key {repr_name(str(key))}",
                             hint=did_you_mean(str(key), known))  # fmt: skip
    inputs = {name: _rows(given) for name, given in (document.get("inputs") or {}).items()}
    return Case(
        id=f"{path.stem}-{_SIGNS.sub('_', title).strip('_')}", title=title, inputs=inputs, steps=document["steps"],
        params=document.get("params") or {}, outputs=document.get("outputs") or {},
        given={name: _rows(given) for name, given in (document.get("given") or {}).items()},
        runs=tuple(_run(run, inputs) for run in document.get("runs") or ()),
        expect={name: _expected(rows) for name, rows in (document.get("expect") or {}).items()},
        error=ExpectedError(**document["error"]) if "error" in document else None,
    )  # fmt: skip


def _rows(given: Mapping[str, Any]) -> Rows:  # Any: YAML
    schema = Schema.of((name, parse_type(kind)) for name, kind in given["schema"].items())
    return Rows(schema, tuple(given["rows"]), tuple(given.get("partition_by") or ()))


def _run(run: Mapping[str, Any], inputs: Mapping[str, Rows]) -> Mapping[str, Rows]:  # Any: YAML
    """The inputs of one run: rows alone keep the schema."""
    changed = {
        name: inputs[name].holding(rows) if isinstance(rows, list) else _rows(rows) for name, rows in run.items()
    }
    return {**inputs, **changed}


def _expected(given: Mapping[str, Any]) -> Expected:  # Any: YAML
    return Expected(tuple(given["rows"]), given.get("types"))
