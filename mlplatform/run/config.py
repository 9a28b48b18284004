"""The workspace's configuration: mlplatform.yaml, one of its environments, and `MLP_…` variables, in that order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlplatform.errors import UsageError, did_you_mean, listed, repr_name
from mlplatform.run.workspace_file import read_workspace_file
from mlplatform.spec.durations import parse_size

FILE_NAME = "mlplatform.yaml"
_DUCKDB_KEYS = ("memory_limit", "threads", "temp_directory")


@dataclass(frozen=True, slots=True)
class Config:
    """Where a workspace keeps its data, and what its engine may use.

    `root` is the folder that paths start from; `exports` is where exported files go instead of the spec's folder.
    `options` are those of the distributed engines, by engine; `serving` is what the file says of the server, unread.
    `is_published` is false where runs are trials, whose outputs nobody serves.
    """

    root: Path
    warehouse: str
    catalog: str
    state: Path
    engine: str = "duckdb"
    memory_bytes: int | None = None
    threads: int | None = None
    temp_folder: Path | None = None
    environment: str | None = None
    exports: Path | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # Any: YAML
    serving: Mapping[str, Any] = field(default_factory=dict)  # Any: YAML
    is_published: bool = True


def find_root(start: Path) -> Path | None:
    """The nearest folder, from `start` upwards, that holds a workspace file."""
    start = start.resolve()
    return next((folder for folder in [start, *start.parents] if (folder / FILE_NAME).is_file()), None)


def load_config(start: Path | None, env: Mapping[str, str], *, environment: str | None = None) -> Config:
    """The configuration found from `start` (default: the working folder) upwards, or the embedded default there.

    Raises: SpecError for what is no YAML, UsageError E_WORKSPACE, E_SIZE.
    """
    begin = start if start is not None else Path.cwd()
    root = find_root(begin if begin.is_dir() else begin.parent)
    document = read_workspace_file(root / FILE_NAME) if root is not None else {}
    chosen = environment or env.get("MLP_ENVIRONMENT") or document.get("environment")
    document = _in_environment(document, chosen)
    document = _overridden(document, env)
    return _config(root if root is not None else Path.cwd(), document, chosen)


def _in_environment(document: dict[str, Any], name: str | None) -> dict[str, Any]:  # Any: YAML
    environments = document.get("environments") or {}
    if name is None:
        return document
    if name not in environments:
        raise UsageError(
            "E_WORKSPACE",
            f"there is no environment {repr_name(name)}",
            hint=did_you_mean(name, environments),
            notes=[f"environments: {listed(environments) or 'none'}"],
        )
    overrides = environments[name]
    engine = {**(document.get("engine") or {}), **(overrides.get("engine") or {})}
    return {**document, **overrides, "engine": engine}


def _overridden(document: dict[str, Any], env: Mapping[str, str]) -> dict[str, Any]:  # Any: YAML
    engine = dict(document.get("engine") or {})
    duckdb = dict(engine.get("duckdb") or {})
    for key in _DUCKDB_KEYS:
        if value := env.get(f"MLP_ENGINE_DUCKDB_{key.upper()}"):
            duckdb[key] = value
    if value := env.get("MLP_ENGINE_DEFAULT") or env.get("MLP_ENGINE"):
        engine["default"] = value
    for key in ("warehouse", "catalog"):
        if value := env.get(f"MLP_{key.upper()}"):
            document = {**document, key: value}
    return {**document, "engine": {**engine, "duckdb": duckdb}}


def _config(root: Path, document: Mapping[str, Any], environment: str | None) -> Config:  # Any: YAML
    engine = document["engine"]
    duckdb = engine["duckdb"]
    warehouse = str(document.get("warehouse") or ".mlp/warehouse")
    if "://" in warehouse and not warehouse.startswith("file://"):
        raise UsageError(
            "E_NOT_SUPPORTED", f"the warehouse {warehouse} is not supported yet", hint="use a local folder"
        )
    state = root / ".mlp"
    folder = root / Path(warehouse.removeprefix("file://")).expanduser()
    temp = duckdb.get("temp_directory")
    return Config(
        root=root,
        warehouse=str(folder),
        catalog=_catalog_url(str(document.get("catalog") or ""), root, state),
        state=state,
        engine=str(engine.get("default") or "duckdb"),
        memory_bytes=_memory(duckdb.get("memory_limit")),
        threads=_threads(duckdb.get("threads")),
        temp_folder=root / str(temp) if temp else None,
        environment=environment,
        options={name: dict(engine[name]) for name in ("spark", "beam") if engine.get(name)},
        serving=dict(document.get("serving") or {}),
    )


def _catalog_url(url: str, root: Path, state: Path) -> str:
    if not url:
        return f"sqlite:///{state / 'catalog.db'}"
    if url.startswith("sqlite:///") and not url.startswith("sqlite:////"):
        return f"sqlite:///{root / url.removeprefix('sqlite:///')}"
    return url if "://" in url else f"sqlite:///{root / url}"


def _memory(value: Any) -> int | None:  # Any: YAML
    return None if value is None else parse_size(str(value))


def _threads(value: Any) -> int | None:  # Any: YAML
    if value is None:
        return None
    if not str(value).isdigit() or int(value) < 1:
        raise UsageError("E_WORKSPACE", f"engine.duckdb.threads: {value!r} is not a whole number of 1 or more")
    return int(value)
