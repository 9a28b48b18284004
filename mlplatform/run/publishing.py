"""Publishing the versions that a run committed, and what publishing will take, for `plan`.

`serving` is loaded only when an output has `serve:`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplatform.errors import ErrorGroup, PlatformError, PublishError, SpecError, all_errors, repr_name
from mlplatform.limits import Limits
from mlplatform.spec.durations import parse_duration, parse_size, size_text
from mlplatform.spec.model import OutputSpec
from mlplatform.spec.serve import ServeSpec
from mlplatform.tables.snapshot import Snapshot, open_snapshot
from mlplatform.types import Schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlplatform.catalog.records import OutputRecord
    from mlplatform.run.changes import Change
    from mlplatform.run.config import Config
    from serving.packs.options import PackOptions
    from serving.publish.publish import Published, Publisher

# Measured on 1 KB rows, and what a row takes in a pack besides its text (keys, pages, the columns once more).
_ROWS_PER_S = 100_000
_BYTES_PER_STORED = 8
_EXAMPLE_EXTRA = "mlplatform[serving]"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a workspace publishes to: the pack store's folder, the catalog's URL, what building may use."""

    store: Path
    catalog: str
    limits: Limits


def place_of(config: Config, limits: Limits, env: Mapping[str, str]) -> Place:
    """The place of a workspace: `serving: {store: …}` or `MLP_SERVING_STORE`, else `packs/` beside the warehouse."""
    told = env.get("MLP_SERVING_STORE") or config.serving.get("store")
    store = config.root / Path(str(told)).expanduser() if told else Path(config.warehouse).parent / "packs"
    return Place(store, config.catalog, limits)


def pack_options(output: OutputSpec, schema: Schema) -> PackOptions:
    """The options of an output with `serve:`; names as the schema spells them."""
    from serving.packs.options import IndexOptions, PackOptions, SloOptions

    serve = _serve(output)
    indexes = tuple(
        IndexOptions(
            name=str(name), columns=_spelled(index.columns, schema), max_rows=index.max_rows,
            order_by=tuple(_ordered(text, schema) for text in index.order_by),
        )
        for name, index in serve.indexes.items()
    )  # fmt: skip
    filters = {True: "on", False: "off", "auto": "auto"}
    return PackOptions(
        table=str(output.name),
        key=_spelled(serve.key if serve.key is not None else output.unique_key or (), schema),
        columns=None if serve.columns is None else _spelled(serve.columns, schema),
        indexes=indexes,
        sql=serve.sql,
        row_format=serve.row_format,
        publish=serve.publish,
        keep_versions=serve.keep_versions,
        max_staleness_s=parse_duration(serve.max_staleness).ns / 1e9,
        negative_filter=filters[serve.negative_filter],  # type: ignore[arg-type]  # one of its words
        max_pack_bytes=parse_size(serve.max_pack_bytes),
        max_shrink=float(serve.max_shrink),
        allow_empty=serve.allow_empty,
        slo=SloOptions(
            rate=serve.slo.rate, p99_s=None if serve.slo.p99 is None else parse_duration(serve.slo.p99).ns / 1e9
        ),
    )


@contextmanager
def opened(place: Place) -> Iterator[Publisher]:
    """A publisher of this place, with the catalog open.

    Raises: UsageError E_EXTRA_MISSING; CatalogError E_CATALOG.
    """
    check_extra()
    from mlplatform.catalog.connect import connect
    from mlplatform.catalog.migrate import migrate
    from serving.publish.ledger import CatalogLedger
    from serving.publish.publish import Publisher
    from serving.publish.store import FolderStore

    engine = connect(place.catalog)
    try:
        migrate(engine)
        yield Publisher(
            store=FolderStore(place.store), limits=place.limits, ledger=CatalogLedger(engine),
            scratch=place.limits.temp_folder,
        )  # fmt: skip
    finally:
        engine.dispose()


def check_extra() -> None:
    """Raise UsageError E_EXTRA_MISSING when the libraries of serving are not installed."""
    from importlib.util import find_spec

    from mlplatform.errors import UsageError

    missing = [name for name in ("lmdb", "orjson", "msgspec", "xxhash", "rbloom") if find_spec(name) is None]
    if missing:
        raise UsageError(
            "E_EXTRA_MISSING", f"publishing needs {', '.join(missing)}", hint=f'pip install "{_EXAMPLE_EXTRA}"'
        )


def publish_outputs(
    changes: Sequence[Change], outputs: Iterable[OutputRecord], place: Place, run_id: str
) -> dict[str, Any]:  # Any: JSON
    """Publish what a run committed and `serve:` asks for, one output after the other; what was done, by output.

    Raises: PublishError E_PUBLISH for each output that could not be published, after all were tried; their committed
        versions stay, and so do the packs that were current.
    """
    wanted = {change.sink.name: change.sink.output for change in changes if _is_on_commit(change.sink.output)}
    done: dict[str, Any] = {}  # Any: JSON
    errors: list[PublishError] = []
    for record in outputs:
        if record.dataset not in wanted or record.version is None:
            continue
        try:
            done[record.dataset] = _as_json(_publish(wanted[record.dataset], record, place, run_id))
        except PlatformError as error:
            errors.append(_unpublished(record, error))
    if errors:
        raise errors[0] if len(errors) == 1 else ErrorGroup(errors)
    return done


def serve_lines(change: Change) -> list[str]:
    """What publishing an output will take, for `plan`: estimates, and warnings where limits would be broken."""
    serve = change.sink.output.serve
    if serve is None:
        return []
    estimate = pack_estimate(change)
    when = "each commit" if serve.publish == "on_commit" else "when asked"
    if estimate is None:
        return [f"is published {when}; how large its pack will be is not known before the first run"]
    rows, size, limit = estimate["rows"], estimate["pack_bytes"], parse_size(serve.max_pack_bytes)
    disk = size * (serve.keep_versions + 1)
    lines = [f"is published {when}: about {rows:,} rows, {size_text(size)} a pack, {estimate['build_s']:.0f} s to "
             f"build, {size_text(disk)} of disk for {serve.keep_versions} versions (estimates)"]  # fmt: skip
    if size > limit:
        lines.append(f"WARNING: the pack would be larger than max_pack_bytes ({size_text(limit)})")
    return lines


def pack_estimate(change: Change) -> dict[str, Any] | None:  # Any: JSON
    """Rows, bytes and seconds of an output's next pack, from the table as it stands; None where there is none."""
    serve, table = change.sink.output.serve, change.snapshot
    if serve is None or table is None or table.rows is None:
        return None
    size = table.size_bytes * _BYTES_PER_STORED * _share(serve, change) * (1.5 if serve.sql else 1.0)
    size *= 1 + 0.4 * len(serve.indexes)
    return {"rows": table.rows, "pack_bytes": int(size), "build_s": round(1 + table.rows / _ROWS_PER_S, 1)}


def _share(serve: ServeSpec, change: Change) -> float:
    count = len(change.target.schema)
    return 1.0 if serve.columns is None or count == 0 else min(1.0, (len(serve.columns) + 2) / count)


def _is_on_commit(output: OutputSpec) -> bool:
    return output.serve is not None and output.serve.publish == "on_commit"


def _publish(output: OutputSpec, record: OutputRecord, place: Place, run_id: str) -> Published:
    with opened(place) as publisher:
        from serving.publish.publish import publish

        snapshot = _committed(record)
        return publish(publisher, snapshot, pack_options(output, snapshot.schema), run_id=run_id)


def _committed(record: OutputRecord) -> Snapshot:
    snapshot = open_snapshot(record.uri, version=record.version, name=record.dataset)
    if snapshot is None:
        raise SpecError("E_DATASET_MISSING", f"there is no table at {record.uri}")
    return snapshot


def _unpublished(record: OutputRecord, error: PlatformError) -> PublishError:
    first = all_errors(error)[0]
    return PublishError(
        "E_PUBLISH",
        f"{repr_name(record.dataset)} was committed as version {record.version} but not published: "
        f"{first.code} {first.message}",
        at=first.at,
        hint=first.hint or f"mend it, then `mlp serve publish {record.dataset}`; the version before is served on",
        notes=first.notes,
    )


def _as_json(done: Published) -> dict[str, Any]:  # Any: JSON
    return {"version": done.version, "pack_id": done.pack_id, "status": done.status, "rows": done.rows,
            "bytes": done.size_bytes, "seconds": round(done.seconds, 3)}  # fmt: skip


def _serve(output: OutputSpec) -> ServeSpec:
    if output.serve is None:
        raise SpecError("E_INTERNAL", f"output {repr_name(output.name)} is not served")
    return output.serve


def _spelled(names: Sequence[str], schema: Schema) -> tuple[str, ...]:
    return tuple(schema[name].name for name in names)


def _ordered(text: str, schema: Schema) -> str:
    column, _, direction = text.strip().partition(" ")
    return f"{schema[column].name} {direction.strip().lower()}".strip()


__all__ = ["Place", "opened", "pack_options", "place_of", "publish_outputs", "serve_lines"]
