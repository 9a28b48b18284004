"""The grammar of `serve:`, how an output is published for look-ups; see `model.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mlplatform.errors import PlatformError, Span, SpecError, repr_name
from mlplatform.spec.entry import entry
from mlplatform.spec.located import Located, span_of

if TYPE_CHECKING:
    from mlplatform.spec.model import OutputSpec

_NOWHERE = Span("", 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSpec:
    """A look-up by other columns than the key."""

    columns: tuple[Located, ...] = entry(doc="columns to look up by")
    order_by: tuple[Located, ...] = entry((), doc="order of a look-up's rows: columns, each with asc or desc")
    max_rows: int = entry(5000, doc="most rows of one look-up; more are an error of the publication")


@dataclass(frozen=True, slots=True, kw_only=True)
class SloSpec:
    """What is promised of look-ups, for `mlp plan` and `mlp serve bench`."""

    rate: float | None = entry(None, doc="look-ups a second")
    p99: Located | None = entry(None, doc="99 of 100 look-ups take at most so long", check="duration")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSpec:
    """How the output's versions are published."""

    key: tuple[Located, ...] | None = entry(None, doc="columns that identify a row; default unique_key")
    columns: tuple[Located, ...] | None = entry(None, doc="columns to publish, those of the key besides; default all")
    indexes: dict[Located, IndexSpec] = entry(factory=dict, doc="name: {columns, order_by, max_rows}")
    sql: bool = entry(False, doc="also answer filters and small SQL")
    row_format: Literal["json", "msgpack"] = entry("json", doc="form in which rows are kept ready")
    publish: Literal["on_commit", "manual"] = entry("on_commit", doc="publish each commit, or only when asked")
    keep_versions: int = entry(3, doc="packs to keep besides those that are pinned")
    max_staleness: Located = entry(Located("10m", _NOWHERE), doc="oldest answer of a query", check="duration")
    negative_filter: bool | Literal["auto"] = entry("auto", doc="filter for keys that are not there; auto = if large")
    max_pack_bytes: Located = entry(Located("32GiB", _NOWHERE), doc="largest pack that is published", check="size")
    max_shrink: float = entry(0.5, doc="least share of the rows before that a new pack may have")
    allow_empty: bool = entry(False, doc="publish a table without rows")
    slo: SloSpec = entry(factory=SloSpec, doc="{rate, p99} that is promised")


def check_serve(output: OutputSpec, *, is_file: bool) -> Iterator[PlatformError]:
    """What is wrong between the keys of an output's `serve`."""
    serve = output.serve
    if serve is None:
        return
    at = output.name.at
    if is_file:
        message = f'"serve" has a meaning for datasets only, not for the file {repr_name(output.name)}'
        yield SpecError("E_KEY_CONFLICT", message, at=at, hint="remove it, or name a dataset")
        return
    if serve.key is None and not output.unique_key:
        yield SpecError("E_KEY_MISSING", f"output {repr_name(output.name)} is served without a key", at=at,
                        hint="add key: [column, …] under serve")  # fmt: skip
    yield from _columns("key", serve.key, at)
    yield from _columns("columns", serve.columns, at)
    for name, index in serve.indexes.items():
        yield from _columns(f"columns of index {name}", index.columns, name.at)
        yield from _orders(index.order_by)
        yield from _least(f"max_rows of index {name}", index.max_rows, 1, name.at)
    yield from _least("keep_versions", serve.keep_versions, 1, at)
    if isinstance(serve.max_shrink, float) and not 0 <= serve.max_shrink <= 1:
        yield SpecError("E_VALUE", '"max_shrink" is a share, from 0 to 1', at=at, hint="write 0.5 for half of the rows")
    if isinstance(serve.slo.rate, float) and serve.slo.rate <= 0:
        yield SpecError("E_VALUE", '"rate" is look-ups a second, more than 0', at=at, hint="leave it out, or raise it")


def served_columns(output: OutputSpec) -> list[tuple[str, tuple[Located, ...]]]:
    """The columns that `serve` names, by the word under which they stand."""
    serve = output.serve
    if serve is None:
        return []
    found = [("serve.key", serve.key or ()), ("serve.columns", serve.columns or ())]
    for name, index in serve.indexes.items():
        found.append((f"serve.indexes.{name}", index.columns))
        found.append((f"serve.indexes.{name}.order_by", tuple(map(ordered_column, index.order_by))))
    return found


def served_keys(output: OutputSpec) -> tuple[Located, ...]:
    """Columns that a look-up goes by: those of the key and of every index."""
    serve = output.serve
    if serve is None:
        return ()
    key = serve.key if serve.key is not None else output.unique_key or ()
    return (*key, *(column for index in serve.indexes.values() for column in index.columns))


def ordered_column(text: Located) -> Located:
    """The column of an `order_by` text."""
    return Located(text.strip().partition(" ")[0], span_of(text) or _NOWHERE)


def _columns(word: str, columns: Sequence[Located] | None, at: Span) -> Iterator[PlatformError]:
    if columns is None:
        return
    if not columns:
        yield SpecError("E_VALUE", f"{repr_name(word)} is empty", at=at, hint="name columns, or leave the key out")
    seen: set[str] = set()
    for column in columns:
        if column.lower() in seen:
            message = f"{repr_name(column)} stands twice in {repr_name(word)}"
            yield SpecError("E_NAME_DUPLICATE", message, at=span_of(column) or at, hint="remove one")
        seen.add(column.lower())


def _orders(order_by: Sequence[Located]) -> Iterator[PlatformError]:
    for text in order_by:
        direction = text.strip().partition(" ")[2].strip().lower()
        if direction not in ("", "asc", "desc"):
            yield SpecError("E_VALUE", f"{repr_name(text)} is no order", at=span_of(text),
                            hint="write a column, with asc or desc behind it")  # fmt: skip


def _least(word: str, value: Any, least: int, at: Span) -> Iterator[PlatformError]:  # Any: a number, or a `${…}`
    if isinstance(value, int) and value < least:
        yield SpecError("E_VALUE", f"{repr_name(word)} is at least {least}", at=at, hint=f"write {least} or more")
