"""`mlp validate`, `plan`, `run`, `test` and `render`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from mlplatform.cli.session import (
    Session,
    engine_option,
    guarded,
    json_option,
    parameters,
    params_option,
    print_json,
    spec_argument,
    specs_argument,
)
from mlplatform.errors import PlatformError, all_errors


@click.command("validate")
@specs_argument
@json_option
@click.pass_obj
@guarded
def validate_command(session: Session, specs: tuple[Path, ...], as_json: bool) -> None:
    """Check grammar, names and types of specs; no data is read."""
    found: dict[str, list[PlatformError]] = {}
    for spec in specs:
        try:
            session.workspace(spec).validate(spec)
            found[str(spec)] = []
        except PlatformError as error:
            found[str(spec)] = list(all_errors(error))
    _print_validation(found, as_json)
    if any(found.values()):
        sys.exit(2)


def _print_validation(found: dict[str, list[PlatformError]], as_json: bool) -> None:
    for spec, errors in found.items():
        for error in errors:
            click.echo(error.render(), err=True)
        if not as_json and not errors:
            click.echo(f"{spec}  valid")
    count = sum(map(len, found.values()))
    if count:
        click.echo(
            f"{count} error{'s' * (count != 1)} in {sum(map(bool, found.values()))} of {len(found)} specs", err=True
        )
    if as_json:
        print_json({"valid": count == 0, "specs": [
            {"spec": spec, "valid": not errors, "errors": [error.as_dict() for error in errors]}
            for spec, errors in found.items()
        ], "errors": [error.as_dict() for errors in found.values() for error in errors]})  # fmt: skip


@click.command("plan")
@spec_argument
@params_option
@engine_option
@click.option("--select", multiple=True, metavar="STEP|OUTPUT", help="Only these outputs, or those of these steps.")
@click.option("--full-refresh", is_flag=True, help="As if the outputs' tables were empty.")
@click.option("--compare-engines", is_flag=True, help="What the plan would be on each engine, with estimates.")
@json_option
@click.pass_obj
@guarded
def plan_command(
    session: Session, spec: Path, params: tuple[str, ...], engine: str | None, select: tuple[str, ...],
    full_refresh: bool, compare_engines: bool, as_json: bool,
) -> None:  # fmt: skip
    """Show typed steps, what would be read, and what would change."""
    workspace = session.workspace(spec)
    plan = workspace.plan(spec, engine=engine, select=select, full_refresh=full_refresh, params=parameters(params))
    estimates = workspace.compare_engines(plan) if compare_engines else []
    if as_json:
        engines = {"engines": [one.as_dict() for one in estimates]} if compare_engines else {}
        print_json({**plan.as_dict(), **engines})
        return
    click.echo(str(plan))
    if compare_engines:
        click.echo("\n".join(["engines", *(line for one in estimates for line in one.lines())]))


@click.command("run")
@spec_argument
@params_option
@engine_option
@click.option("--select", multiple=True, metavar="STEP|OUTPUT", help="Only these outputs, or those of these steps.")
@click.option("--full-refresh", is_flag=True, help="Write the outputs' tables anew.")
@click.option("--metrics", is_flag=True, help="Count nulls, ties and unmatched rows of the steps in time.")
@click.option("--no-progress", is_flag=True, help="No progress on standard error.")
@json_option
@click.pass_obj
@guarded
def run_command(
    session: Session, spec: Path, params: tuple[str, ...], engine: str | None, select: tuple[str, ...],
    full_refresh: bool, metrics: bool, no_progress: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run a pipeline and commit its outputs."""
    from mlplatform.cli.progress import progress

    # A polite kill ends a run as Ctrl-C does: staged files are removed, the record says so.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    workspace = session.workspace(spec)
    with _started(engine):
        plan = workspace.plan(
            spec, engine=engine, select=select, full_refresh=full_refresh, metrics=metrics, params=parameters(params)
        )
    with progress(is_wanted=not no_progress) as watch:
        report = workspace.run_planned(plan, watch=watch)
    if as_json:
        print_json(report.as_dict())
    else:
        click.echo(str(report))


@contextmanager
def _started(engine: str | None) -> Iterator[None]:
    """Give the errors of planning a run the form of a run's report."""
    try:
        yield
    except PlatformError as error:
        error.run = {
            "run_id": None,
            "status": "failed",
            "engine": engine,
            "pipeline": None,
            "seconds": 0.0,
            "outputs": [],
        }
        raise


@click.command("test")
@specs_argument
@click.option("--engine", "engines", multiple=True, help="Engine to test on; may be given several times.")
@click.option("--only", multiple=True, metavar="TEST", help="Only the tests of these names.")
@click.option("--record", is_flag=True, help="Write what a test gives as its expectation, where it has none yet.")
@json_option
@click.pass_obj
@guarded
def test_command(
    session: Session,
    specs: tuple[Path, ...],
    engines: tuple[str, ...],
    only: tuple[str, ...],
    record: bool,
    as_json: bool,
) -> None:
    """Run the specs' own tests."""
    outcomes = []
    for spec in specs:
        workspace = session.workspace(spec)
        if record:
            from mlplatform.run.recording import record_tests

            for recorded in record_tests(workspace, spec):
                click.echo(f"{spec}  {recorded}", err=True)
        for engine in engines or (None,):
            outcomes += workspace.test(spec, engine=engine, only=only)
    failed = [outcome for outcome in outcomes if not outcome.passed]
    for outcome in outcomes:
        click.echo(outcome.render(), err=not outcome.passed or as_json)
    summary = f"{len(outcomes) - len(failed)} passed, {len(failed)} failed"
    if as_json:
        print_json({"passed": len(outcomes) - len(failed), "failed": len(failed),
                    "tests": [outcome.as_dict() for outcome in outcomes], "errors": []})  # fmt: skip
    else:
        click.echo(summary)
    if failed:
        sys.exit(1)


@click.command("render")
@spec_argument
@params_option
@engine_option
@click.pass_obj
@guarded
def render_command(session: Session, spec: Path, params: tuple[str, ...], engine: str | None) -> None:
    """Print what the spec compiles to."""
    click.echo(session.workspace(spec).render(spec, engine=engine, **parameters(params)))
