"""What every command shares: the workspace, errors as text or JSON, exit codes."""

from __future__ import annotations

import errno
import json
import math
import os
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import click

from mlplatform.errors import PlatformError, SinkError, all_errors

if TYPE_CHECKING:
    from mlplatform.workspace import Workspace

P = ParamSpec("P")


class Session:
    """One call of `mlp`: options that stand before the command."""

    def __init__(self, environment: str | None = None) -> None:
        self.environment = environment

    def workspace(self, start: Path | None = None) -> Workspace:
        """The workspace found from `start` (a spec), else from the working folder."""
        from mlplatform.workspace import Workspace

        return Workspace(start, environment=self.environment)


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """A command whose errors are printed: ours as text (and as JSON where asked), bugs with a traceback."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except PlatformError as error:
            fail(error, as_json=bool(kwargs.get("as_json")))
        except BrokenPipeError:
            # The reader of our output went away (`mlp sql … | head`): that is its right.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        except OSError as error:
            fault = _machine_fault(error)
            if fault is None:
                bug(error)
            else:
                fail(fault, as_json=bool(kwargs.get("as_json")))
        except (click.ClickException, click.exceptions.Exit, click.Abort, KeyboardInterrupt):
            raise
        except Exception as error:  # noqa: BLE001  (boundary: the command line's top)
            bug(error)

    return wrapped


def _machine_fault(error: OSError) -> PlatformError | None:
    """The error for a disk or a permission that stopped us where no port expected it; None for what may be our bug."""
    where = f": {error.filename}" if error.filename else ""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return SinkError("E_DISK_FULL", f"no space is left{where}", hint="free space, or set TMPDIR")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return SinkError("E_PERMISSION", f"not allowed: {error.strerror}{where}")
        case errno.EFBIG | errno.EIO | errno.EMFILE | errno.ENFILE:
            return SinkError("E_WRITE", f"reading or writing failed: {error.strerror}{where}")
    return None


def fail(error: PlatformError, *, as_json: bool) -> None:
    """Print an error, where asked also as JSON with the report of the run that failed; leave with its code."""
    click.echo(error.render(), err=True)
    if as_json:
        print_json({**(error.run or {}), "errors": [single.as_dict() for single in all_errors(error)]})
    sys.exit(error.exit_code)


def bug(error: Exception) -> None:
    """Print what we did wrong, with the traceback that a report needs."""
    click.echo("".join(traceback.format_exception(error)), err=True)
    click.echo("E_INTERNAL this is a bug of mlplatform: please report it with the text above", err=True)
    sys.exit(1)


def print_json(document: Any) -> None:  # Any: JSON
    """One JSON object on standard output; see `json_value`."""
    click.echo(json.dumps(json_value(document), ensure_ascii=False, default=str, allow_nan=False))


def json_value(value: Any) -> Any:  # Any: what a command found, then JSON
    """The value with the floats that JSON lacks as the texts of exported files, and bytes as DuckDB writes them."""
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case bytes():
            return "".join(
                chr(byte) if 32 <= byte < 127 and byte not in b"\"'\\" else f"\\x{byte:02X}" for byte in value
            )
        case dict():
            return {name if isinstance(name, str) else str(name): json_value(part) for name, part in value.items()}
        case list() | tuple():
            return [json_value(part) for part in value]
    return value


def parameters(pairs: tuple[str, ...]) -> dict[str, str]:
    """`-p name=value` options as a mapping."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not name=value", param_hint="-p")
        found[name] = value
    return found


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
params_option = click.option(
    "-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help="Value of a parameter."
)
engine_option = click.option("--engine", help="Engine to use instead of the spec's.")
spec_argument = click.argument("spec", type=click.Path(path_type=Path))
specs_argument = click.argument("specs", nargs=-1, required=True, type=click.Path(path_type=Path))
