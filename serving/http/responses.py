"""Answers as bytes. What a pack's answers share is built once, when the pack is mapped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import xxhash

if TYPE_CHECKING:
    from serving.http.served import Served

Format = Literal["json", "msgpack", "arrow"]
TYPES: dict[Format, bytes] = {
    "json": b"application/json",
    "msgpack": b"application/msgpack",
    "arrow": b"application/vnd.apache.arrow.stream",
}
CLOSE = b"connection: close\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def head_of(served: Served, kind: Format, *, is_pinned: bool, status: bytes = b"200 OK") -> bytes:
    """The headers that all answers of one pack share, up to the open quote of the etag's key part."""
    control = b"private, max-age=31536000, immutable" if is_pinned else b"private, max-age=0, must-revalidate"
    return (
        b"HTTP/1.1 %b\r\ncontent-type: %b\r\nx-dataset-version: %d\r\nx-pack-id: %b\r\nx-cache: PACK\r\nage: %d\r\n"
        b'cache-control: %b\r\nvary: accept, authorization\r\netag: "%b'
        % (status, TYPES[kind], served.version, served.pack_id, served.age_s, control, served.etag)
    )


def etag_part(key: bytes, shape: bytes = b"") -> bytes:
    """The part of an etag that tells keys and projections of one pack apart."""
    return xxhash.xxh3_64_hexdigest(key + b"\0" + shape if shape else key).encode()


def is_match(if_none_match: bytes, etag: bytes) -> bool:
    """Whether a client's list of etags holds this one (given without quotes); weak ones count, as for GET."""
    if if_none_match.strip() == b"*":
        return True
    return any(part.strip().removeprefix(b"W/") == b'"%b"' % etag for part in if_none_match.split(b","))


def accepted(accept: bytes) -> tuple[Format, ...]:
    """Formats that an `accept` header allows, best first; empty when none of ours is. Ranges and q are read."""
    found: list[tuple[float, int, Format]] = []
    for number, part in enumerate(accept.lower().split(b",")[:32]):
        name, *options = (text.strip() for text in part.split(b";"))
        weight = _weight(options)
        if weight <= 0:
            continue
        for place, (kind, text) in enumerate(TYPES.items()):
            if name == text or name == b"*/*" or (name == b"application/*"):
                exact = 0 if name == text else 100 + place
                found.append((-weight, exact + number, kind))
    ordered: dict[Format, None] = {kind: None for _, _, kind in sorted(found)}
    return tuple(ordered)


def _weight(options: list[bytes]) -> float:
    for option in options:
        if option.startswith(b"q="):
            try:
                return min(1.0, max(0.0, float(option[2:])))
            except ValueError:
                return 0.0
    return 1.0
