"""`mlp serve publish|status|rollback|release|pin|unpin|verify|purge`: packs and which of them is current."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlplatform.cli.session import Session, guarded, json_option, print_json
from mlplatform.cli.tables import bytes_text, count_text, print_table, seconds_text, time_text
from mlplatform.errors import SourceError, UsageError, repr_name
from mlplatform.spec.durations import counted

if TYPE_CHECKING:
    from mlplatform.tables.snapshot import Snapshot
    from mlplatform.workspace import Workspace
    from serving.packs.manifest import Manifest
    from serving.packs.options import PackOptions
    from serving.publish.publish import Publisher

_table = click.argument("table")
_version = click.argument("version", type=click.IntRange(min=0))


@click.command("publish")
@_table
@click.option("--spec", type=click.Path(path_type=Path), help="Spec whose `serve:` to use; default: the last one used.")
@click.option("--version", type=click.IntRange(min=0), help="Version to publish; the latest when absent.")
@click.option("--force", is_flag=True, help="Also a pack that shrank, or one that is older than the current one.")
@json_option
@click.pass_obj
@guarded
def publish_command(
    session: Session, table: str, spec: Path | None, version: int | None, force: bool, as_json: bool
) -> None:
    """Build the pack of TABLE's version, check it, and make it current."""
    from serving.publish.publish import publish

    workspace = session.workspace(spec)
    with _publisher(workspace) as publisher:
        snapshot = _snapshot(workspace, table, version)
        done = publish(publisher, snapshot, _options(workspace, publisher, snapshot, spec), force=force)
    if as_json:
        print_json(asdict(done))
        return
    took = f", {seconds_text(done.seconds)}" if done.seconds else ""
    click.echo(f"{table}  version {done.version}  {_SAID[done.status]}  {counted(done.rows, 'row')}, "
               f"{bytes_text(done.size_bytes)}{took}  pack {done.pack_id}")  # fmt: skip


_SAID = {
    "announced": "is current",
    "held": "built, not announced: a rollback holds (`mlp serve release` ends it)",
    "unchanged": "was current already",
}


@click.command("status")
@click.argument("table", required=False)
@json_option
@click.pass_obj
@guarded
def status_command(session: Session, table: str | None, as_json: bool) -> None:
    """List the packs of TABLE, or of all tables, newest first."""
    with _publisher(session.workspace()) as publisher:
        names = [table] if table is not None else publisher.store.names()
        found = [_status(publisher, name) for name in names]
    if table is not None and not found[0]["packs"]:
        raise SourceError("E_PACK_MISSING", f"{repr_name(table)} was never published",
                          hint="add `serve:` to its output and run it, or `mlp serve publish --spec …`")  # fmt: skip
    if as_json:
        print_json({"tables": found})
        return
    rows = [(one["table"], str(pack["version"]), pack["state"], count_text(pack["rows"]), bytes_text(pack["bytes"]),
             time_text(pack["created_at"]), pack["pack_id"], pack["pinned"])
            for one in found for pack in one["packs"]]  # fmt: skip
    print_table(("table", "version", "state", "rows", "size", "built", "pack", "pinned"), rows,
                right=("version", "rows", "size"))  # fmt: skip


@click.command("rollback")
@_table
@_version
@json_option
@click.pass_obj
@guarded
def rollback_command(session: Session, table: str, version: int, as_json: bool) -> None:
    """Make an older VERSION of TABLE current, and hold it there until `release`."""
    from serving.publish.publish import rollback

    with _publisher(session.workspace()) as publisher:
        current = rollback(publisher, table, version)
    _said(asdict(current), f"{table}  version {version}  is current and held", as_json=as_json)


@click.command("release")
@_table
@json_option
@click.pass_obj
@guarded
def release_command(session: Session, table: str, as_json: bool) -> None:
    """End a rollback of TABLE: the newest pack becomes current."""
    from serving.publish.publish import release

    with _publisher(session.workspace()) as publisher:
        current = release(publisher, table)
    _said(asdict(current), f"{table}  version {current.version}  is current", as_json=as_json)


@click.command("pin")
@_table
@_version
@click.option("--until", type=click.DateTime(), help="Last moment, UTC; for good when absent.")
@click.option("--reason", required=True, help="Why it stays.")
@json_option
@click.pass_obj
@guarded
def pin_command(session: Session, table: str, version: int, until: datetime | None, reason: str, as_json: bool) -> None:
    """Keep VERSION of TABLE: its pack and its Delta files."""
    from serving.publish.publish import pin

    end = None if until is None else until.replace(tzinfo=timezone.utc).isoformat()
    with _publisher(session.workspace()) as publisher:
        made = pin(publisher, table, version, reason=reason, until=end)
    _said(asdict(made), f"{table}  version {version}  pinned{f' until {time_text(end)}' if end else ''}",
          as_json=as_json)  # fmt: skip


@click.command("unpin")
@_table
@_version
@json_option
@click.pass_obj
@guarded
def unpin_command(session: Session, table: str, version: int, as_json: bool) -> None:
    """Take the pin of VERSION away; its pack goes with the next publication."""
    from serving.publish.publish import unpin

    with _publisher(session.workspace()) as publisher:
        unpin(publisher, table, version)
    _said({"table": table, "version": version}, f"{table}  version {version}  is not pinned", as_json=as_json)


@click.command("verify")
@_table
@click.option("--version", type=click.IntRange(min=0), help="Version to compare; the current one when absent.")
@click.option("--keys", type=click.IntRange(min=1), default=1000, show_default=True, help="Keys to compare.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which keys are drawn.")
@json_option
@click.pass_obj
@guarded
def verify_command(session: Session, table: str, version: int | None, keys: int, seed: int, as_json: bool) -> None:
    """Compare sampled answers of TABLE's pack with its Delta version, in every format; exit 1 when one differs."""
    from serving.packs.pack import open_pack
    from serving.packs.validate import compare
    from serving.publish.current import pack_of_version, read_current
    from serving.publish.store import FolderStore, missing_pack

    workspace = session.workspace()
    store = FolderStore(workspace.publishing(workspace.config.state / "tmp").store)
    current, _ = read_current(store, table)
    if current is None:
        raise missing_pack(table, "that is current")
    wanted = current.version if version is None else version
    folder = store.path(table, pack_of_version(store, table, wanted, current))
    with open_pack(folder, verify=True) as pack:
        found = compare(pack, _snapshot(workspace, table, wanted), keys, seed=seed)
    document = {"table": table, "version": wanted, **asdict(found), "equal": found.is_equal}
    text = f"{found.keys} keys in {', '.join(found.formats)}: "
    wrong = (*found.different, *found.missing)
    said = "all equal" if found.is_equal else f"{len(wrong)} DIFFER: {'; '.join(wrong[:10])}"
    _said(document, f"{table}  version {wanted}  {text}{said}", as_json=as_json)
    if not found.is_equal:
        sys.exit(1)


@click.command("purge")
@_table
@click.option("--before", type=click.IntRange(min=1), required=True, help="Versions below this one go.")
@click.option("--reason", required=True, help="Whose request it was; it is written into the audit.")
@json_option
@click.pass_obj
@guarded
def purge_command(session: Session, table: str, before: int, reason: str, as_json: bool) -> None:
    """Delete the packs of TABLE below a version for good, pinned ones too, on every host."""
    from serving.publish.publish import purge

    with _publisher(session.workspace()) as publisher:
        gone = purge(publisher, table, before, reason=reason)
    text = f"{table}  {counted(len(gone), 'pack')} below version {before} deleted"
    _said({"table": table, "before": before, "deleted": list(gone)}, text, as_json=as_json)


# --- parts ------------------------------------------------------------------------------------------------------------


@contextmanager
def _publisher(workspace: Workspace) -> Iterator[Publisher]:
    import shutil

    from mlplatform.run.identity import new_run_id, utc_now
    from mlplatform.run.publishing import opened

    scratch = workspace.config.state / "tmp" / new_run_id(utc_now())
    try:
        with opened(workspace.publishing(scratch)) as publisher:
            yield publisher
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _snapshot(workspace: Workspace, table: str, version: int | None) -> Snapshot:
    from mlplatform.run.sources import dataset_uri
    from mlplatform.tables.snapshot import open_snapshot
    from serving.publish.store import checked_table

    found = open_snapshot(dataset_uri(workspace.warehouse, checked_table(table)), version=version, name=table)
    if found is None:
        raise SourceError("E_DATASET_MISSING", f"there is no dataset {repr_name(table)}")
    return found


def _options(workspace: Workspace, publisher: Publisher, snapshot: Snapshot, spec: Path | None) -> PackOptions:
    """What the spec says, else what the table was published with last."""
    from mlplatform.run.publishing import pack_options
    from serving.publish.current import read_options

    table = snapshot.name
    if spec is not None:
        plan = workspace.validate(spec)
        sink = plan.checked.sinks.get(table)
        if sink is None or sink.output.serve is None:
            raise UsageError("E_USAGE", f"{spec} has no output {repr_name(table)} with `serve:`")
        return pack_options(sink.output, snapshot.schema)
    options = read_options(publisher.store, table)
    if options is None:
        raise UsageError("E_USAGE", f"nothing says how {repr_name(table)} is published",
                         hint="name the spec that has its `serve:`: --spec …")  # fmt: skip
    return options


def _status(publisher: Publisher, table: str) -> dict[str, Any]:  # Any: JSON
    from serving.publish.current import live_pins, manifest_of, read_current
    from serving.publish.store import checked_table

    store = publisher.store
    current, _ = read_current(store, checked_table(table))
    pins = {pin.pack_id: pin for pin in live_pins(store, table, publisher.now().isoformat()).values()}
    manifests = [manifest_of(store, table, name) for name in store.names(table)]
    packs = [
        {
            **_pack(one),
            "state": _state(one, current),
            "pinned": pins[one.pack_id].reason if one.pack_id in pins else None,
        }
        for one in sorted(manifests, key=lambda one: (one.version, one.created_at), reverse=True)
    ]
    return {"table": table, "current": None if current is None else asdict(current), "packs": packs}


def _pack(one: Manifest) -> dict[str, Any]:  # Any: JSON
    return {"version": one.version, "pack_id": one.pack_id, "rows": one.rows, "bytes": one.size_bytes,
            "created_at": one.created_at}  # fmt: skip


def _state(one: Manifest, current: Any) -> str:  # Any: Current | None
    if current is None or current.pack_id != one.pack_id:
        return "kept"
    return "current, held" if current.held else "current"


def _said(document: dict[str, Any], text: str, *, as_json: bool) -> None:  # Any: JSON
    print_json(document) if as_json else click.echo(text)
