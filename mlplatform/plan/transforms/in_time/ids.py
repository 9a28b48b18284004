"""Ids of what was mined (docs/mining.md M16): the same event has the same id on every engine and in every run."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from mlplatform.plan.transforms.in_time.canonical import encoded
from mlplatform.types import BIGINT, STRING, DataType

LENGTH = 32
Part = tuple[exp.Expr, DataType]


def mined_id(
    kind: exp.Expr | str, version: int, *, by: Sequence[Part], at: Sequence[exp.Expr], more: Sequence[Part] = ()
) -> exp.Expr:
    """The first 32 hex digits of the SHA-256 of `kind|version|by…|at…|more…`, each part in canonical text (M14).

    Args:
        kind: what was mined: an expression of text, or the text itself.
        by: the keys with their types, in the order of the spec.
        at: bigints of ticks: start and end of an event, the start of a session.
        more: parts that tell events of one time apart, such as the sorted ids of actors.
    """
    what = exp.Literal.string(kind) if isinstance(kind, str) else kind
    parts = [(what, STRING), (exp.Literal.number(version), BIGINT), *by, *((tick, BIGINT) for tick in at), *more]
    texts: list[exp.Expr] = []
    for value, type_ in parts:
        texts += [exp.Literal.string("|")] if texts else []
        texts.append(encoded(value, type_))
    return exp.func("left", exp.func("sha256", exp.Concat(expressions=texts)), exp.Literal.number(LENGTH))
