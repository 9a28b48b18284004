"""What every transform gets, and gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from mlplatform.errors import PlanError, PlatformError, Span, raise_all, repr_name
from mlplatform.plan.places import identifier_span
from mlplatform.spec.located import Located
from mlplatform.spec.params import Values
from mlplatform.types import STRING, Schema, missing_column


@dataclass(frozen=True, slots=True)
class Context:
    """A step to lower: its name, the schemas of its inputs, the values of its parameters."""

    step: Located
    inputs: Mapping[str, Schema]
    values: Values


@dataclass(frozen=True, slots=True)
class Lowered:
    """The tree that a step became.

    `texts` are the spec's SQL texts in it, to place the binder's errors; `metrics` is what it counts (see `Query`).
    """

    tree: exp.Query
    inputs: tuple[str, ...]
    texts: tuple[Located, ...] = ()
    reach: str | None = None
    metrics: exp.Query | None = None


def table(name: str, alias: str | None = None) -> exp.Table:
    """An input as a table."""
    return exp.Table(
        this=exp.to_identifier(name, quoted=True),
        alias=exp.TableAlias(this=exp.to_identifier(alias)) if alias is not None else None,
    )


def column(name: str, side: str | None = None) -> exp.Column:
    """A column, of a side where one is given."""
    return exp.Column(
        this=exp.to_identifier(name, quoted=True), table=exp.to_identifier(side) if side is not None else None
    )


def named(value: exp.Expr, name: str) -> exp.Expr:
    """An expression under a name."""
    if isinstance(value, exp.Column) and value.name == name:
        return value
    return exp.alias_(value, name, quoted=True)


def check_columns(tree: exp.Expr, text: Located, known: Sequence[str], *, step: Located) -> list[PlatformError]:
    """An error for every plain column of an expression that is not among `known` (case ignored)."""
    lowered = {name.lower() for name in known}
    bound = {part.name.lower() for scope in tree.find_all(exp.Lambda) for part in scope.expressions}
    return [
        missing_column(node.parts[0].name, Schema.of((name, STRING) for name in known),
                       at=identifier_span(node.parts[0], text), where=f" in step {repr_name(step)}")
        for node in tree.find_all(exp.Column)
        if not isinstance(node.this, exp.Star) and node.parts[0].name.lower() not in lowered | bound
    ]  # fmt: skip


def require_columns(names: Sequence[str], schema: Schema, *, step: Located, of: str) -> None:
    """Raise for every name that `schema` lacks, at the name's own place."""
    raise_all(
        [
            missing_column(name, schema, at=_at(name, step), where=f" of {repr_name(of)} in step {repr_name(step)}")
            for name in names
            if name not in schema
        ]
    )


def collision(name: str, step: Located, *, at: Span | None = None) -> PlanError:
    """The error for a column name that a step would give twice."""
    return PlanError(
        "E_COLUMN_COLLISION",
        f"both inputs of step {repr_name(step)} have a column {repr_name(name)}",
        at=at or step.at,
        hint="name the right columns to keep with `columns: [a, {out: b}]`, or set a `prefix`",
    )


def right_columns(
    columns: Sequence[Located | dict[Located, Located]] | None,
    prefix: str | None,
    *,
    right: Schema,
    default: Sequence[str],
    step: Located,
    of: str,
) -> list[tuple[str, str]]:
    """(name in the output, right column) for each right column that a join adds (docs/mining.md M20)."""
    pairs: list[tuple[Located | str, Located | str]] = []
    for item in columns if columns is not None else default:
        pairs.extend([(item, item)] if isinstance(item, str) else list(item.items()))
    require_columns([source for _, source in pairs], right, step=step, of=of)
    return [(f"{prefix or ''}{out}", right[source].name) for out, source in pairs]


def _at(name: str, step: Located) -> Span:
    return name.at if isinstance(name, Located) else step.at
