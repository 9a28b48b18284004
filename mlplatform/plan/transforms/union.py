"""The union operator."""

from __future__ import annotations

from sqlglot import exp

from mlplatform.errors import PlanError, repr_name
from mlplatform.plan.transforms.lowering import Context, Lowered, column, named, table
from mlplatform.spec.located import Located
from mlplatform.spec.model import UnionStep
from mlplatform.types import FLOATS, INTEGERS, DataType, Decimal, Scalar, Schema, to_duckdb


def lower(step: UnionStep, context: Context) -> Lowered:
    """All rows of the inputs, duplicates kept unless `distinct`.

    By name: the columns of all inputs in the order of first appearance, null where an input lacks one. By position: the
    first input's names. Numbers widen; other types must agree.
    """
    if len(step.inputs) < 2:
        raise PlanError("E_VALUE", "a union takes two inputs or more", at=context.step.at)
    schemas = [(name, context.inputs[name]) for name in step.inputs]
    columns = _by_name(schemas, context.step) if step.by_name else _by_position(schemas, context.step)
    parts: list[exp.Query] = [_part(name, schema, columns, step.by_name) for name, schema in schemas]
    tree = parts[0]
    for part in parts[1:]:
        tree = exp.union(tree, part, distinct=step.distinct, copy=False)
    return Lowered(tree, tuple(dict.fromkeys(str(name) for name in step.inputs)))


def _by_name(schemas: list[tuple[Located, Schema]], step: Located) -> dict[str, DataType]:
    columns: dict[str, tuple[str, DataType]] = {}
    for name, schema in schemas:
        for item in schema:
            known = columns.get(item.name.lower())
            kind = item.type if known is None else _common(known[1], item.type, item.name, name, step)
            columns[item.name.lower()] = (known[0] if known is not None else item.name, kind)
    return dict(columns.values())


def _by_position(schemas: list[tuple[Located, Schema]], step: Located) -> dict[str, DataType]:
    first_name, first = schemas[0]
    kinds = [item.type for item in first]
    for name, schema in schemas[1:]:
        if len(schema) != len(first):
            raise PlanError(
                "E_TYPE",
                f"{repr_name(name)} has {len(schema)} columns, {repr_name(first_name)} {len(first)}",
                at=name.at,
                hint="write `by_name: true`, or select the same columns",
            )
        kinds = [_common(kind, item.type, item.name, name, step) for kind, item in zip(kinds, schema, strict=True)]
    return dict(zip(first.names, kinds, strict=True))


def _common(first: DataType, second: DataType, column_name: str, where: Located, step: Located) -> DataType:
    if first == second:
        return first
    widened = _wider(first, second)
    if widened is None:
        raise PlanError(
            "E_TYPE",
            f"column {repr_name(column_name)} of step {repr_name(step)} is {first} in one input, {second} in another",
            at=where.at,
            hint="cast one of them first",
        )
    return widened


def _wider(first: DataType, second: DataType) -> DataType | None:
    if isinstance(first, Decimal) and isinstance(second, Decimal):
        scale = max(first.scale, second.scale)
        precision = max(first.precision - first.scale, second.precision - second.scale) + scale
        return Decimal(precision, scale) if precision <= 38 else None
    order: list[Scalar] = [*INTEGERS, *FLOATS]
    if isinstance(first, Scalar) and isinstance(second, Scalar) and first in order and second in order:
        both_integer = first in INTEGERS and second in INTEGERS
        widest = max(first, second, key=order.index)
        return widest if both_integer or (first in FLOATS and second in FLOATS) else FLOATS[-1]
    return None


def _part(name: str, schema: Schema, columns: dict[str, DataType], by_name: bool) -> exp.Select:
    projection = []
    for position, (out, kind) in enumerate(columns.items()):
        item = schema.find(out) if by_name else schema.columns[position]
        value: exp.Expr = column(item.name) if item is not None else exp.null()
        if item is None or item.type != kind:
            value = exp.cast(value, exp.DataType.build(to_duckdb(kind), dialect="duckdb"))
        projection.append(named(value, out))
    return exp.select(*projection).from_(table(name))
