"""A function call as DuckDB sees it: its name there and its arguments, whatever class the parser made of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import sqlglot
from sqlglot import exp

from mlplatform.plan.sqltext import DIALECT

_CALL = re.compile(r"\s*([A-Za-z_][A-Za-z_0-9]*)\s*\((.*)\)\s*", re.DOTALL)
_MARK = "__mlp_"
# Words of the syntax that the parser counts as functions.
_NOT_CALLS: tuple[type[exp.Expr], ...] = (
    exp.Cast, exp.TryCast, exp.Case, exp.If, exp.And, exp.Or, exp.Xor, exp.Not, exp.Array, exp.Struct, exp.Map,
    exp.ToMap, exp.VarMap, exp.Exists, exp.Extract, exp.List, exp.Any, exp.All,
)  # fmt: skip


@dataclass(slots=True)
class RawCall:
    """`name(distinct args order by order)`; the arguments are the tree's own nodes."""

    name: str
    args: list[exp.Expr]
    is_distinct: bool = False
    order: list[exp.Ordered] = field(default_factory=list)
    ignores_nulls: bool = False


def is_call(node: exp.Expr) -> bool:
    """Whether the node is a call of a function, not an operator that the parser counts among them."""
    return isinstance(node, exp.Func) and not isinstance(node, _NOT_CALLS)


def call_of(node: exp.Expr) -> RawCall:
    """The call that DuckDB would be given for a node."""
    call = RawCall("", [])
    if isinstance(node, exp.Anonymous):
        call.name = str(node.name).lower()
        call.args = _plain(list(node.expressions), call)
        return call
    children: list[exp.Expr] = []
    shell = node.__class__(**{key: _shell(value, call, children) for key, value in node.args.items()})
    match = _CALL.fullmatch(shell.sql(DIALECT))
    if match is None:
        return RawCall(node.key, children)
    call.name = match[1].lower()
    if call.name == "cast":  # date(x) is printed as a cast
        call.name, call.args = node.key, children[:1]
    elif match[2].strip():
        parsed = sqlglot.parse_one(f"{_MARK}call({match[2]})", dialect=DIALECT)
        call.args = [_restored(arg, children) for arg in parsed.expressions]
    return call


def _plain(values: list[exp.Expr], call: RawCall) -> list[exp.Expr]:
    """The arguments without the words about them, which go to the call."""
    found: list[exp.Expr] = []
    for value in values:
        match value:
            case exp.Order():
                call.order += value.expressions
                found += _plain([value.this], call)
            case exp.Distinct():
                call.is_distinct = True
                found += _plain(value.expressions, call)
            case exp.IgnoreNulls():
                call.ignores_nulls = True
                found += _plain([value.this], call)
            case exp.RespectNulls():
                found += _plain([value.this], call)
            case _:
                found.append(value)
    return found


def _shell(value: object, call: RawCall, children: list[exp.Expr]) -> object:
    """An argument of a node as a name that stands for it."""
    if isinstance(value, list):
        return [part for item in value for part in _as_list(_shell(item, call, children))]
    if not isinstance(value, exp.Expr):
        return value
    if isinstance(value, exp.DataType | exp.Var | exp.Star | exp.Literal | exp.Boolean):
        children.append(value)
        return value.copy()
    marks = [_mark(child, children) for child in _plain([value], call)]
    return marks[0] if len(marks) == 1 else marks


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _mark(child: exp.Expr, children: list[exp.Expr]) -> exp.Expr:
    children.append(child)
    return exp.column(f"{_MARK}{len(children) - 1}", quoted=True)


def _restored(arg: exp.Expr, children: list[exp.Expr]) -> exp.Expr:
    if isinstance(arg, exp.Column) and arg.name.startswith(_MARK):
        return children[int(arg.name[len(_MARK) :])]
    if isinstance(arg, exp.Cast) and len(children) == 1:  # bool_and(x) is printed with a cast of x to what it is
        return children[0]
    same = (child for child in children if isinstance(child, exp.Literal) and child == arg)
    return next(same, arg)
