"""The join operator."""

from __future__ import annotations

from sqlglot import exp

from mlplatform.errors import PlanError, raise_all, repr_name
from mlplatform.plan.sqltext import parse_expression
from mlplatform.plan.transforms.lowering import (
    Context,
    Lowered,
    collision,
    column,
    named,
    require_columns,
    right_columns,
    table,
)  # fmt: skip
from mlplatform.spec.model import JoinStep
from mlplatform.types import Schema


def lower(step: JoinStep, context: Context) -> Lowered:
    """left ⋈ right with every output column named: left columns, then the right's that are kept.

    With `using` the key columns stand once, taken from the side that has them. Columns that clash are an error.
    """
    left, right = context.inputs[step.left], context.inputs[step.right]
    _check_keys(step, left, right, context)
    kept = _kept(step, left, right, context)
    using = {name.lower() for name in step.using or ()}
    projection = [
        named(_key(name, step.how) if name.lower() in using else column(name, "l"), name) for name in left.names
    ]
    projection += [named(column(source, "r"), out) for out, source in kept]
    tree = exp.select(*projection).from_(table(step.left, "l"))
    on = _on(step, context)
    tree = tree.join(table(step.right, "r"), on=on, join_type="" if step.how == "inner" else step.how, copy=False)
    return Lowered(tree, (str(step.left), str(step.right)), (step.condition,) if step.condition is not None else ())


def _check_keys(step: JoinStep, left: Schema, right: Schema, context: Context) -> None:
    given = [word for word, value in (("using", step.using), ("condition", step.condition)) if value is not None]
    if len(given) != (0 if step.how == "cross" else 1):
        wanted = "neither `using` nor `condition`" if step.how == "cross" else "either `using` or `condition`"
        raise PlanError("E_KEY_CONFLICT", f"a {step.how} join takes {wanted}", at=context.step.at)
    require_columns(step.using or (), left, step=context.step, of=step.left)
    require_columns(step.using or (), right, step=context.step, of=step.right)


def _kept(step: JoinStep, left: Schema, right: Schema, context: Context) -> list[tuple[str, str]]:
    if step.how in ("semi", "anti"):
        return []
    using = {name.lower() for name in step.using or ()}
    default = [name for name in right.names if name.lower() not in using]
    kept = right_columns(step.columns, step.prefix, right=right, default=default, step=context.step, of=step.right)
    taken = {name.lower() for name in left.names}
    raise_all([collision(out, context.step) for out, _ in kept if out.lower() in taken])
    return kept


def _key(name: str, how: str) -> exp.Expr:
    if how == "right":
        return column(name, "r")
    return exp.func("coalesce", column(name, "l"), column(name, "r")) if how == "full" else column(name, "l")


def _on(step: JoinStep, context: Context) -> exp.Expr | None:
    if step.using is not None:
        return exp.and_(*(column(name, "l").eq(column(name, "r")) for name in step.using))
    if step.condition is None:
        return None
    condition = parse_expression(step.condition, context.values)
    sides = {str(step.left): "l", str(step.right): "r"} if step.left != step.right else {}
    for node in condition.find_all(exp.Column):
        if node.table in sides and node.table not in ("l", "r"):
            node.set("table", exp.to_identifier(sides[node.table]))
        elif (
            not node.table
            and len(node.parts) == 1
            and node.name in context.inputs[step.left]
            and node.name in context.inputs[step.right]
        ):
            raise PlanError("E_SQL", f"column {repr_name(node.name)} is on both sides", at=step.condition.at,
                            hint=f"write l.{node.name} or r.{node.name}")  # fmt: skip
    return condition
