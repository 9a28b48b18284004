"""Conditions and measures over one row, as transforms in time read them: NaN is null (docs/mining.md M7, M12)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlglot import exp

from mlplatform.errors import PlanError, raise_all, repr_name
from mlplatform.plan.portable.kinds import NULL, REAL, is_number
from mlplatform.plan.portable.typed import Probe
from mlplatform.plan.sqltext import DIALECT, parse_expression
from mlplatform.plan.transforms.in_time.canonical import is_nan
from mlplatform.plan.transforms.in_time.timeline import whole
from mlplatform.plan.transforms.lowering import Context, check_columns
from mlplatform.spec.located import Located
from mlplatform.types import BOOLEAN, FLOAT, DataType, Schema, quoted, to_duckdb

Kinds = Callable[[Sequence[exp.Expr]], list[DataType | None]]
_DOUBLE = exp.DataType.build("DOUBLE", dialect=DIALECT)
_COMPARISONS = (
    exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Between, exp.In,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the expressions of a step over one input; `probe` tells their types."""

    schema: Schema
    context: Context
    probe: Probe

    def condition(self, text: Located, key: str) -> exp.Expr:
        """A boolean in which a NaN makes a comparison null.

        Raises: PlanError E_SQL, E_SQL_FORBIDDEN, E_COLUMN_MISSING, E_TYPE.
        """
        tree = self._parsed(text)
        kind = self._kinds([tree])[0]
        if kind not in (None, BOOLEAN, NULL):
            raise self._wrong(text, key, kind, "a condition", "compare it with something")
        return without_nan(tree, self.schema, self._kinds)

    def measure(self, text: Located, key: str) -> exp.Expr:
        """A double that is null where the expression is NaN; the two zeros are one.

        Raises: PlanError E_SQL, E_SQL_FORBIDDEN, E_COLUMN_MISSING, E_TYPE.
        """
        tree = self._parsed(text)
        kind = self._kinds([tree])[0]
        if kind is not None and kind != NULL and not is_number(kind):
            raise self._wrong(text, key, kind, "a number", "cast it")
        wide = exp.cast(exp.paren(without_nan(tree, self.schema, self._kinds)), _DOUBLE.copy())
        zero = exp.cast(whole(0), _DOUBLE.copy())
        value = exp.Add(this=wide, expression=zero)
        return value if _is_number_of_one(tree) else nan_is_null(value)

    def _parsed(self, text: Located) -> exp.Expr:
        tree = parse_expression(text, self.context.values)
        raise_all(check_columns(tree, text, self.schema.names, step=self.context.step))
        return tree

    def _kinds(self, values: Sequence[exp.Expr]) -> list[DataType | None]:
        columns = [f"CAST(NULL AS {to_duckdb(each.type)}) AS {quoted(each.name)}" for each in self.schema]
        source = f" FROM (SELECT {', '.join(columns)}) AS r"
        found = self.probe.many([each.sql(DIALECT) for each in values], source)
        return [each.kind if each is not None else None for each in found]

    def _wrong(self, text: Located, key: str, kind: DataType | None, what: str, hint: str) -> PlanError:
        message = f"{key} of step {repr_name(self.context.step)} is {kind}, not {what}"
        return PlanError("E_TYPE", message, at=text.at, hint=hint)


def floats_in(trees: Sequence[exp.Expr], schema: Schema) -> list[str]:
    """The columns of floats that expressions read."""
    names = (schema[each.name].name for tree in trees for each in tree.find_all(exp.Column) if each.name in schema)
    return sorted({name for name in names if schema[name].type in REAL})


def without_nan(tree: exp.Expr, schema: Schema, kinds: Kinds) -> exp.Expr:
    """The expression with every float column null where it is NaN, and so every float that a comparison computes.

    `isnan(column)` and `isfinite(column)` still see the NaN: they ask for it. A 32-bit float is widened first.
    """
    holder = exp.Paren(this=tree.copy())
    computed = _computed_floats(holder, kinds)
    for asked in list(holder.find_all(exp.IsNan)):
        asked.replace(exp.paren(is_nan(asked.this)))
    for each in list(holder.find_all(exp.Column)):
        kind = schema[each.name].type if not each.table and each.name in schema else None
        if kind in REAL and not _asks_for_nan(each.parent) and not _is_bound(each):
            each.replace(nan_is_null(each.copy(), exp.cast(each.copy(), _DOUBLE.copy()) if kind == FLOAT else None))
    for value in reversed(computed):  # the inner ones first
        value.replace(nan_is_null(exp.paren(value.copy()), exp.cast(value.copy(), _DOUBLE.copy())))
    found: exp.Expr = holder.this
    return found


def _asks_for_nan(node: exp.Expr | None) -> bool:
    return isinstance(node, exp.IsInf) or (isinstance(node, exp.Anonymous) and str(node.name).lower() == "isfinite")


def nan_is_null(value: exp.Expr, wide: exp.Expr | None = None) -> exp.Expr:
    """A float, or another form of it, where it is no NaN; else null."""
    return exp.Case(ifs=[exp.If(this=exp.Not(this=is_nan(value)), true=wide or value.copy())])


def _computed_floats(tree: exp.Expr, kinds: Kinds) -> list[exp.Expr]:
    """What comparisons compare, other than columns and constants, where it is a float; outer before inner ones."""
    compared = [value for node in tree.find_all(*_COMPARISONS, bfs=False) for value in _operands(node)]
    plain = (exp.Literal, exp.Null, exp.Boolean)
    values = [each for each in compared if not isinstance(each, plain) and not _is_name(each)]
    return [each for each, kind in zip(values, kinds(values), strict=True) if kind in REAL] if values else []


def _operands(node: exp.Expr) -> list[exp.Expr]:
    if isinstance(node, exp.Between):
        return [node.this, node.args["low"], node.args["high"]]
    return [node.this, *node.expressions] if isinstance(node, exp.In) else [node.this, node.expression]


def _is_name(value: exp.Expr) -> bool:
    return isinstance(value, exp.Column) and not value.table


def _is_number_of_one(value: exp.Expr) -> bool:
    """Whether a value is a column's or a constant's, perhaps without its sign: what is no NaN makes none of it."""
    while isinstance(value, exp.Neg | exp.Paren | exp.Abs):
        value = value.this
    return isinstance(value, exp.Literal) or _is_name(value)


def _is_bound(name: exp.Column) -> bool:
    """Whether a name is that of an element, in `x -> …`."""
    around = name.find_ancestor(exp.Lambda)
    return around is not None and name.name.lower() in {each.name.lower() for each in around.expressions}
