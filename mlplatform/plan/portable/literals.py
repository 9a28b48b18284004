"""Constants of a query."""

from __future__ import annotations

from sqlglot import exp

from mlplatform.plan.portable.kinds import HUGEINT, NULL
from mlplatform.types import BIGINT, BOOLEAN, DOUBLE, INT, STRING, DataType, Decimal


def literal_kind(node: exp.Expr) -> DataType | None:
    """The type that DuckDB gives a literal; None for anything else."""
    match node:
        case exp.Null():
            return NULL
        case exp.Boolean():
            return BOOLEAN
        case exp.Literal() if node.is_string:
            return STRING
        case exp.Literal():
            return _number_kind(str(node.this))
    return None


def _number_kind(text: str) -> DataType:
    if "e" in text.lower():
        return DOUBLE
    if "." in text:
        whole, _, fraction = text.partition(".")
        digits = len(whole.lstrip("0") or "0") + len(fraction)
        return Decimal(digits, len(fraction)) if digits <= 38 else DOUBLE
    value = int(text)
    return INT if value < 2**31 else BIGINT if value < 2**63 else HUGEINT


def constant(node: exp.Expr) -> str | None:
    """The text of a string literal, else None."""
    return str(node.this) if isinstance(node, exp.Literal) and node.is_string else None


def whole(node: exp.Expr) -> int | None:
    """The value of a whole-number literal, its sign and brackets seen through; None for anything else."""
    match node:
        case exp.Paren():
            return whole(node.this)
        case exp.Neg():
            inner = whole(node.this)
            return -inner if inner is not None else None
        case exp.Literal() if not node.is_string and str(node.this).isdigit():
            return int(node.this)
    return None
