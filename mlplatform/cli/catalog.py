"""`mlp catalog`, `mlp lineage` and `mlp runs`: what the catalog knows, printed."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol

import click

from mlplatform.cli.session import guarded, json_option, print_json
from mlplatform.cli.tables import bytes_text, count_text, print_pairs, print_table, seconds_text, time_text

if TYPE_CHECKING:
    from mlplatform.catalog.answers import Dataset, RunSummary
    from mlplatform.catalog.journal import Unreadable
    from mlplatform.catalog.records import RunRecord
    from mlplatform.catalog.store import Catalog


class _Workspace(Protocol):
    @property
    def warehouse(self) -> str: ...

    def catalog(self) -> AbstractContextManager[Catalog]: ...


class _Session(Protocol):
    """What `mlp` keeps for its commands."""

    def workspace(self) -> _Workspace: ...


@click.group("catalog")
def catalog_group() -> None:
    """Datasets, their versions and columns."""


@catalog_group.command("ls")
@click.argument("pattern", required=False)
@json_option
@click.pass_obj
@guarded
def list_command(session: _Session, pattern: str | None, as_json: bool) -> None:
    """List the datasets; PATTERN may hold * and ?."""
    with session.workspace().catalog() as catalog:
        _warn(catalog.folded.unreadable)
        found = catalog.datasets(pattern)
    if as_json:
        print_json({"datasets": [asdict(dataset) for dataset in found]})
        return
    print_table(
        ("dataset", "version", "rows", "size", "committed", "owner", "tags", "description"),
        [
            (
                dataset.name,
                _version(dataset.version),
                count_text(dataset.rows),
                bytes_text(dataset.bytes),
                time_text(dataset.committed_at),
                dataset.owner,
                ", ".join(dataset.tags) or None,
                f"UNREADABLE: {dataset.problem}" if dataset.problem is not None else dataset.description,
            )
            for dataset in found
        ],
        right=("version", "rows", "size"),
    )


@catalog_group.command("show")
@click.argument("name")
@json_option
@click.pass_obj
@guarded
def show_command(session: _Session, name: str, as_json: bool) -> None:
    """Show all that is known of the dataset NAME."""
    with session.workspace().catalog() as catalog:
        _warn(catalog.folded.unreadable)
        found = catalog.dataset(name)
    if as_json:
        print_json(found.as_dict())
        return
    _print_dataset(found)


def _print_dataset(found: Dataset) -> None:
    latest, run = found.latest, found.last_run
    print_pairs(
        [
            ("dataset", found.name),
            ("description", found.description),
            ("owner", found.owner),
            ("tags", ", ".join(found.tags) or None),
            ("place", found.uri),
            ("version", f"{latest.version} of {time_text(latest.committed_at)}" if latest is not None else None),
            ("rows", count_text(found.rows)),
            ("size", bytes_text(found.bytes)),
            ("partitions", ", ".join(found.partition_by) or None),
            ("last run", f"{run.run_id} of {run.pipeline}, {run.state}" if run is not None else None),
            ("problem", found.problem),
            ("deleted", time_text(found.deleted_at)),
        ]
    )
    if found.columns:
        click.echo()
        rows = [(part.name, part.type, "yes" if part.nullable else "no", part.description) for part in found.columns]
        print_table(("column", "type", "nullable", "description"), rows)


@catalog_group.command("history")
@click.argument("name")
@json_option
@click.pass_obj
@guarded
def history_command(session: _Session, name: str, as_json: bool) -> None:
    """List the versions of the dataset NAME, newest first."""
    with session.workspace().catalog() as catalog:
        _warn(catalog.folded.unreadable)
        found = catalog.history(name)
    if as_json:
        print_json({"dataset": name, "versions": [asdict(version) for version in found]})
        return
    print_table(
        ("version", "committed", "mode", "written", "rows", "size", "files", "run"),
        [
            (
                str(version.version),
                time_text(version.committed_at),
                version.mode,
                count_text(version.rows_written),
                count_text(version.rows),
                bytes_text(version.bytes),
                count_text(version.files),
                version.run_id,
            )
            for version in found
        ],
        right=("version", "written", "rows", "size", "files"),
    )


@catalog_group.command("search")
@click.argument("text", nargs=-1, required=True)
@json_option
@click.pass_obj
@guarded
def search_command(session: _Session, text: tuple[str, ...], as_json: bool) -> None:
    """Find the datasets that hold every word of TEXT; tag: owner: column: name: look in one place."""
    with session.workspace().catalog() as catalog:
        _warn(catalog.folded.unreadable)
        found = catalog.search(" ".join(text))
    if as_json:
        print_json({"datasets": [asdict(hit) for hit in found]})
        return
    rows = [(hit.name, ", ".join(hit.matches), hit.description) for hit in found]
    print_table(("dataset", "found in", "description"), rows)


@catalog_group.command("sync")
@json_option
@click.pass_obj
@guarded
def sync_command(session: _Session, as_json: bool) -> None:
    """Make the catalog again from the warehouse's tables and the archive of runs."""
    from mlplatform.catalog.sync import sync

    workspace = session.workspace()
    with workspace.catalog() as catalog:
        report = sync(catalog, workspace.warehouse)
    _warn(report.unreadable)
    if as_json:
        print_json(asdict(report))
        return
    click.echo(
        f"{len(report.datasets)} datasets, {len(report.deleted)} deleted, "
        f"{len(report.unreadable)} unreadable, {len(report.runs)} runs brought back"
    )
    for name in report.deleted:
        click.echo(f"deleted  {name}")


@click.command("lineage")
@click.argument("name", metavar="DATASET[.COLUMN]")
@click.option("--up", is_flag=True, help="Where it comes from (the default).")
@click.option("--down", is_flag=True, help="What it goes into.")
@click.option("--depth", type=click.IntRange(min=1), help="Steps to follow; all when absent.")
@click.option("--version", type=click.IntRange(min=0), help="Of this version of the dataset; the latest when absent.")
@json_option
@click.pass_obj
@guarded
def lineage_command(
    session: _Session, name: str, up: bool, down: bool, depth: int | None, version: int | None, as_json: bool
) -> None:
    """Show where data comes from. Of a dataset or one of its columns; --down shows what it goes into."""
    from mlplatform.catalog.tree import tree_lines

    direction = "both" if up and down else "down" if down else "up"
    with session.workspace().catalog() as catalog:
        _warn(catalog.folded.unreadable)
        dataset, column = catalog.split_name(name)
        hops = catalog.lineage(dataset, column, direction=direction, depth=depth, version=version)  # type: ignore[arg-type] # one of Direction
    if as_json:
        found = {"dataset": dataset, "column": column, "direction": direction}
        print_json({**found, "edges": [hop.as_dict() for hop in hops]})
        return
    click.echo("\n".join(tree_lines(dataset, column, hops)) or f"no lineage of {name} is recorded in that direction")


@click.command("runs")
@click.argument("run_id", metavar="[ID]", required=False)
@click.option("--pipeline", help="Only runs of this pipeline.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many runs.")
@json_option
@click.pass_obj
@guarded
def runs_command(session: _Session, run_id: str | None, pipeline: str | None, limit: int, as_json: bool) -> None:
    """List the runs, newest first. With an ID (its beginning will do) show that run."""
    with session.workspace().catalog() as catalog:
        _warn(catalog.folded.unreadable)
        if run_id is not None:
            record = catalog.run(run_id)
            print_json(record.as_dict()) if as_json else _print_run(record)
            return
        found = catalog.runs(pipeline, limit)
    print_json({"runs": [asdict(run) for run in found]}) if as_json else _print_runs(found)


def _print_runs(found: Iterable[RunSummary]) -> None:
    print_table(
        ("run", "pipeline", "state", "engine", "started", "took", "rows", "outputs"),
        [
            (
                run.run_id,
                run.pipeline,
                f"{run.state} {run.error}" if run.error is not None else run.state,
                run.engine,
                time_text(run.started_at),
                seconds_text(run.seconds),
                count_text(run.rows_written),
                ", ".join(run.outputs) or None,
            )
            for run in found
        ],
        right=("took", "rows"),
    )


def _print_run(record: RunRecord) -> None:
    print_pairs(
        [
            ("run", record.run_id),
            ("pipeline", f"{record.pipeline} ({record.spec_path})"),
            ("state", record.state),
            ("engine", record.engine),
            ("started", time_text(record.started_at)),
            ("took", seconds_text(record.seconds)),
            ("params", ", ".join(f"{name}={value}" for name, value in record.params.items()) or None),
        ]
    )
    _print_section(
        ("input", "version", "files", "rows", "size", "origin"),
        [(part.name, _version(part.version), count_text(part.files), count_text(part.rows),
          bytes_text(part.size_bytes), part.dataset or part.origin) for part in record.inputs],
    )  # fmt: skip
    _print_section(
        ("step", "kind", "rows", "took"),
        [(part.name, part.kind, count_text(part.rows_out), seconds_text(part.seconds)) for part in record.steps],
    )
    _print_section(
        ("output", "version", "mode", "rows", "quarantined", "files", "size"),
        [(part.dataset, _version(part.version), f"{part.mode}, skipped" if part.skipped else part.mode,
          count_text(part.rows_written), count_text(part.rows_quarantined), count_text(part.files),
          bytes_text(part.bytes)) for part in record.outputs],
    )  # fmt: skip
    _print_section(("error", "message"), [(part.get("code"), part.get("message")) for part in record.errors])


def _print_section(headers: tuple[str, ...], rows: list[tuple[str | None, ...]]) -> None:
    if rows:
        click.echo()
        print_table(headers, rows, right=("version", "files", "rows", "size", "took", "quarantined"))


def _version(version: int | None) -> str | None:
    return None if version is None else str(version)


def _warn(unreadable: Iterable[Unreadable]) -> None:
    """What could not be read goes to standard error: it is never left out in silence."""
    for entry in unreadable:
        click.echo(f"unreadable  {entry.path}: {entry.reason}", err=True)
