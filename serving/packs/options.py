"""What `serve:` says of an output, as a value that travels as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

RowFormat = Literal["json", "msgpack"]
NegativeFilter = Literal["auto", "on", "off"]

DEFAULT_MAX_ROWS = 5000
DEFAULT_MAX_PACK_BYTES = 32 * 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexOptions:
    """A look-up by other columns than the key: the rows of one value, in `order_by` and then by key."""

    name: str
    columns: tuple[str, ...]
    order_by: tuple[str, ...] = ()
    max_rows: int = DEFAULT_MAX_ROWS


@dataclass(frozen=True, slots=True, kw_only=True)
class SloOptions:
    """What the publisher promises of look-ups; `rate` is requests a second."""

    rate: float | None = None
    p99_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOptions:
    """How a table is published. `columns` None means all; key columns are always among them.

    `max_shrink` is the least share of the previous pack's rows that a new pack may hold.
    """

    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...] | None = None
    indexes: tuple[IndexOptions, ...] = ()
    sql: bool = False
    row_format: RowFormat = "json"
    publish: Literal["on_commit", "manual"] = "on_commit"
    keep_versions: int = 3
    max_staleness_s: float = 600.0
    negative_filter: NegativeFilter = "auto"
    max_pack_bytes: int = DEFAULT_MAX_PACK_BYTES
    max_shrink: float = 0.5
    allow_empty: bool = False
    slo: SloOptions = SloOptions()

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """The options as JSON; tuples become lists."""
        document = asdict(self)
        listed = {name: list(value) for name, value in document.items() if isinstance(value, tuple)}
        indexes = [{**index, "columns": list(index["columns"]), "order_by": list(index["order_by"])}
                   for index in document["indexes"]]  # fmt: skip
        return {**document, **listed, "indexes": indexes}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> PackOptions:  # Any: JSON
        """The options that `to_json` wrote; keys that this release does not know are left out."""
        known = _known(cls, document)
        for name in ("key", "columns"):
            if known.get(name) is not None:
                known[name] = tuple(known[name])
        known["indexes"] = tuple(_index(index) for index in document.get("indexes", ()))
        known["slo"] = SloOptions(**_known(SloOptions, document.get("slo") or {}))
        return cls(**known)


def _index(document: Mapping[str, Any]) -> IndexOptions:  # Any: JSON
    known = _known(IndexOptions, document)
    return IndexOptions(**{**known, "columns": tuple(known["columns"]), "order_by": tuple(known.get("order_by", ()))})


def _known(kind: type, document: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON
    return {field.name: document[field.name] for field in fields(kind) if field.name in document}
