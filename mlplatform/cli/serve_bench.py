"""`mlp serve get` and `mlp serve bench`: asking a server, and asking much of it."""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlplatform.cli.session import guarded
from mlplatform.cli.tables import print_table
from mlplatform.errors import PlatformError, SourceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlplatform.cli.session import Session
    from serving.bench.scenarios.base import Result

_TOKEN = click.option("--token", envvar="MLP_SERVING_TOKEN", help="Sent with each request; or MLP_SERVING_TOKEN.")


@click.command("get")
@click.argument("table")
@click.argument("keys", nargs=-1, required=True)
@click.option("--endpoint", "endpoints", multiple=True,
              help="Address of a server; repeatable. Default: the one run here, else 127.0.0.1:8080.")  # fmt: skip
@_TOKEN
@click.option("--version", type=int, help="Of the table; default the current one.")
@click.option("--columns", help="With commas between; default all.")
@click.option("--deadline", type=float, default=1.0, show_default=True, help="Seconds, with all tries.")
@click.pass_obj
@guarded
def get_command(
    session: Session, /, table: str, keys: tuple[str, ...], endpoints: tuple[str, ...], token: str | None,
    version: int | None, columns: str | None, deadline: float,
) -> None:  # fmt: skip
    """Print rows of TABLE by key as JSON, one a line; parts of a key have commas between."""
    from urllib.parse import unquote

    from serving.client import Client

    wanted = [name.strip() for name in columns.split(",")] if columns else None
    with Client(endpoints or (_own_server(session),), token, deadline=deadline) as client, _told():
        for key in keys:
            answer = client.get(table, [unquote(part) for part in key.split(",")], columns=wanted, version=version)
            click.echo(json.dumps(answer.value, ensure_ascii=False))
            click.echo(f"version {answer.version}, {answer.cache}, {answer.age:g} s old", err=True)


def _own_server(session: Session) -> str:
    from mlplatform.cli.serve_control import running_server, url_of

    try:
        config, state = running_server(session)
    except PlatformError:
        return "http://127.0.0.1:8080"
    return url_of(config, config.host, state.port, has_tls=True)


@click.command("bench")
@click.option("--scenario", "numbers", type=int, multiple=True, help="Its number, 1 to 22; repeatable. Default all.")
@click.option("--quick", is_flag=True, help="Few rows, seconds instead of minutes.")
@click.option("--rows", type=int, help="Rows of the main table; default 1,000,000, with --quick 10,000.")
@click.option("--workers", type=int, default=2, show_default=True, help="Data workers of the server.")
@click.option("--c0", type=float, help="Requests a second, where it is known: it is not searched then.")
@click.option("--against", metavar="URL", help="Load a server that runs, with the promise of --table.")
@click.option("--table", help="With --against: the table to read.")
@click.option("--rate", type=float, help="With --against: requests a second, instead of serve.slo.")
@click.option("--p99", "p99_ms", type=float, help="With --against: milliseconds, instead of serve.slo.")
@click.option("--seconds", type=float, default=30.0, show_default=True, help="With --against: length of the load.")
@click.option("--curves", type=click.Path(path_type=Path, file_okay=False), help="Folder to draw curves into, as SVG.")
@_TOKEN
@guarded
def bench_command(
    numbers: tuple[int, ...], quick: bool, rows: int | None, workers: int, c0: float | None, against: str | None,
    table: str | None, rate: float | None, p99_ms: float | None, seconds: float, curves: Path | None,
    token: str | None,
) -> None:  # fmt: skip
    """Load a server of its own, or a running one, and compare it with what it must keep; exit 1 on a miss."""
    if against is not None:
        from serving.bench.run import against as load_against

        if table is None:
            raise UsageError("E_USAGE", "--against needs --table")
        with _told():
            results = [load_against(against, table, token, seconds=seconds, rate=rate, p99_ms=p99_ms)]
    else:
        results = _scenarios(numbers, quick=quick, rows=rows, workers=workers, c0=c0)
    _print(results)
    if curves is not None:
        draw(results, curves)
    if not all(result.is_passed for result in results):
        sys.exit(1)


def _scenarios(
    numbers: tuple[int, ...], *, quick: bool, rows: int | None, workers: int, c0: float | None
) -> list[Result]:
    from serving.bench.run import FULL_ROWS, QUICK_ROWS, QUICK_SPEED, chosen, run_scenarios
    from serving.bench.scenarios.base import Bench

    def say(text: str) -> None:
        click.echo(text, err=True)

    scenarios = chosen(numbers)
    with (
        tempfile.TemporaryDirectory(prefix="mlp-bench-", ignore_cleanup_errors=True) as folder,
        Bench(
            Path(folder), rows=rows or (QUICK_ROWS if quick else FULL_ROWS), speed=QUICK_SPEED if quick else 1.0,
            workers=workers, c0=c0, say=say,
        ) as bench,
    ):  # fmt: skip
        return list(run_scenarios(scenarios, bench, say))


def _print(results: list[Result]) -> None:
    from serving.bench.run import rows_of

    print_table(("#", "scenario", "figure", "limit", ""), [row for result in results for row in rows_of(result)])
    for result in results:
        if result.note and result.lines:
            click.echo(f"{result.number}: {result.note}")
    missed = [str(result.number) for result in results if not result.is_passed]
    click.echo(
        f"{len(results) - len(missed)} of {len(results)} passed" + (f"; missed: {', '.join(missed)}" if missed else "")
    )


def draw(results: list[Result], folder: Path) -> None:
    """Write the curves of all results into a folder, one picture a chart."""
    from serving.bench.charts import chart, merged

    folder.mkdir(parents=True, exist_ok=True)
    every = [curve for result in results for curve in result.curves]
    axes = {"latency": ("requests/s", "ms", True), "spike": ("seconds", "requests/s", False),
            "goodput": ("offered beside C0", "answered beside C0", False)}  # fmt: skip
    for name in dict.fromkeys(curve.chart for curve in every):
        x, y, is_log = axes[name]
        picture = chart(merged(every, name), title=name, x=x, y=y, is_log=is_log)
        (folder / f"{name}.svg").write_text(picture, encoding="utf-8")


@contextmanager
def _told() -> Iterator[None]:
    """Errors of a server as ours."""
    from serving.client.errors import ServingError

    try:
        yield
    except ServingError as error:
        hint = f"try again in {error.retry_after_s:g} s" if error.retry_after_s is not None else None
        raise SourceError("E_SERVER", str(error), transient=error.retryable, hint=hint) from error
