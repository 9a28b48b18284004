"""Keys of exchanges: in which type values meet, and whether rows already lie by them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlglot import exp

from mlplatform.engines.beam.planning.draft import Draft, pinned
from mlplatform.engines.beam.planning.pieces import Key, Keyed, Piece, cast, column
from mlplatform.engines.beam.stages import Hash

_SMALL_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_HUGE_INTEGERS = ("UBIGINT", "HUGEINT")
_FLOATS = ("FLOAT", "DOUBLE")
_TIMES = ("DATE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP")
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")


def meeting_type(left: str, right: str) -> str | None:
    """The type in which equal values of both types hash alike; None where nobody can say.

    One and the same for all integers, so that rows that lie by a key need no other exchange for a wider one.
    """
    if left == right and left not in _SMALL_INTEGERS and left not in _FLOATS and not left.startswith("DECIMAL"):
        return None if left == '"NULL"' else left
    both = (left, right)
    if all(kind in _SMALL_INTEGERS for kind in both):
        return "BIGINT"
    if all(kind in _SMALL_INTEGERS + _HUGE_INTEGERS for kind in both):
        return "HUGEINT"
    if all(kind in _FLOATS for kind in both):
        return "DOUBLE"
    if "DOUBLE" in both and all(kind in (*_SMALL_INTEGERS, "DOUBLE") for kind in both):
        return "DOUBLE"
    if all(kind in _TIMES for kind in both):
        return "TIMESTAMP"
    return _meeting_decimal(left, right)


def _meeting_decimal(left: str, right: str) -> str | None:
    found = [_DECIMAL.fullmatch(_as_decimal(kind)) for kind in (left, right)]
    if any(match is None for match in found):
        return None
    sizes = [(int(match[1]), int(match[2])) for match in found if match is not None]
    scale = max(scale for _, scale in sizes)
    digits = max(precision - scale for precision, scale in sizes) + scale
    return f"DECIMAL(38,{scale})" if digits <= 38 else None


def _as_decimal(kind: str) -> str:
    return "DECIMAL(19,0)" if kind in _SMALL_INTEGERS else kind


def _key(name: str, own: str, kind: str) -> exp.Expr:
    """A stage's column as a key: cast to the type where values meet."""
    value: exp.Expr = column(name)
    return value if own == kind and pinned(own) == own else cast(value, kind)


def with_keys(draft: Draft, piece: Piece, keys: Sequence[exp.Expr]) -> tuple[Piece, list[str]]:
    """The piece with every key as a column, and the columns' names."""
    names: list[str] = []
    added: list[tuple[str, exp.Expr]] = []
    for key in keys:
        if isinstance(key, exp.Column) and key.name in piece.names:
            names.append(key.name)
        else:
            names.append(f"_key{len(piece.names) + len(added)}")
            added.append((names[-1], key.copy()))
    if added:
        piece = draft.select(piece, [*((name, column(name)) for name in piece.names), *added])
    return piece, names


def exchanged(draft: Draft, piece: Piece, names: Sequence[str], kinds: Sequence[str], word: str) -> Piece:
    """The rows of a piece where rows with equal keys lie in one bucket."""

    def hashed(origins: Mapping[str, str]) -> Hash:
        return Hash(
            tuple(_key(origins[name], piece.type_of(name), kind) for name, kind in zip(names, kinds, strict=True))
        )

    keys = tuple(Key(frozenset([name]), kind) for name, kind in zip(names, kinds, strict=True))
    return replace(draft.moved(piece, hashed, word), layout=Keyed(keys))


def own_kinds(piece: Piece, names: Sequence[str]) -> list[str] | None:
    """The types in which the values of these columns meet themselves; None where one cannot be a key."""
    kinds = [meeting_type(piece.type_of(name), piece.type_of(name)) for name in names]
    return None if None in kinds else [kind for kind in kinds if kind is not None]
