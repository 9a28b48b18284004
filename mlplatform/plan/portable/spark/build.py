"""Small pieces of Spark's syntax tree."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from sqlglot import Dialect, exp

from mlplatform.plan.portable.kinds import NULL, image
from mlplatform.plan.portable.model import Refused
from mlplatform.types import DOUBLE, DataType, to_spark

SPARK = Dialect.get_or_raise("spark")


def fn(name: str, *args: exp.Expr) -> exp.Expr:
    """A call, written as it is."""
    return exp.Anonymous(this=name, expressions=list(args))


def number(value: int) -> exp.Expr:
    """A whole number."""
    return exp.Neg(this=exp.Literal.number(-value)) if value < 0 else exp.Literal.number(value)


def text(value: str) -> exp.Expr:
    """A string."""
    return exp.Literal.string(value)


@lru_cache(maxsize=1024)  # to parse a type costs as much as all else about a cast
def _data_type(name: str) -> exp.DataType:
    return exp.DataType.build(name, dialect=SPARK)


def to_type(tree: exp.Expr, kind: DataType, *, is_try: bool = False) -> exp.Expr:
    """Spark's own cast to the image of a kind."""
    target = image(kind)
    if target is None or kind == NULL:
        raise Refused(f"a value of type {kind}")
    data_type = _data_type(to_spark(target)).copy()
    return exp.TryCast(this=tree, to=data_type, safe=True) if is_try else exp.Cast(this=tree, to=data_type)


def case(*branches: tuple[exp.Expr, exp.Expr], default: exp.Expr | None = None) -> exp.Expr:
    """CASE WHEN … THEN … ELSE … END."""
    return exp.Case(ifs=[exp.If(this=when.copy(), true=then.copy()) for when, then in branches], default=default)


def both(kind: type[exp.Binary], first: exp.Expr, second: exp.Expr) -> exp.Expr:
    """`first op second`, each in brackets where it is no atom."""
    return kind(this=_wrapped(first), expression=_wrapped(second))


def _wrapped(tree: exp.Expr) -> exp.Expr:
    is_atom = isinstance(tree, exp.Column | exp.Literal | exp.Anonymous | exp.Cast | exp.Paren | exp.Case | exp.Null)
    return tree.copy() if is_atom else exp.Paren(this=tree.copy())


def lambda_(names: Sequence[str], body: exp.Expr) -> exp.Expr:
    """`x -> body`."""
    return exp.Lambda(this=body, expressions=[exp.to_identifier(name) for name in names])


def is_null(tree: exp.Expr) -> exp.Expr:
    """`tree IS NULL`."""
    return exp.Is(this=_wrapped(tree), expression=exp.null())


def double(value: str) -> exp.Expr:
    """A double from its text, NaN and infinities among them."""
    return to_type(text(value), DOUBLE)
