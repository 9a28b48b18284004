"""What a row of the function table is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sqlglot import exp

from mlplatform.types import DataType


class Refused(Exception):  # no error of the product: it becomes one, at its place
    """Something that another engine cannot say with the same rows and types."""

    def __init__(self, what: str, why: str | None = None) -> None:
        super().__init__(what, why)
        self.what, self.why = what, why


@dataclass(frozen=True, slots=True)
class Arg:
    """An argument: as Spark says it, its DuckDB kind, and as it stands in DuckDB's tree."""

    tree: exp.Expr
    kind: DataType
    node: exp.Expr


@dataclass(frozen=True, slots=True)
class Call:
    """A call to say in Spark; `kind` is what it gives in DuckDB, `order` is Spark's.

    `attach` adds the call's FILTER or OVER to an aggregate: a form made of several aggregates adds it to each.
    """

    name: str
    args: tuple[Arg, ...]
    kind: DataType
    is_distinct: bool = False
    order: tuple[exp.Ordered, ...] = ()
    ignores_nulls: bool = False
    is_window: bool = False
    attach: Callable[[exp.Expr], exp.Expr] = lambda tree: tree

    def arg(self, number: int) -> Arg | None:
        """An argument that may be absent."""
        return self.args[number] if number < len(self.args) else None


Says = Callable[[Call], exp.Expr]


@dataclass(frozen=True, slots=True)
class Function:
    """One row of the table of functions.

    Attributes:
        says: its form in Spark SQL, of the type that `image` of the call's kind is; None = Spark has no equal.
        case: the conformance case that certifies it: the file's name, or `file: case`.
        note: what of it is certified, or why it is not.
    """

    name: str
    says: Says | None
    case: str = ""
    aliases: tuple[str, ...] = ()
    kind: Literal["scalar", "aggregate", "window"] = "scalar"
    note: str = ""
