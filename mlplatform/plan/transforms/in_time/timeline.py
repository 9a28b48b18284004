"""Rows in time: what every temporal transform checks and computes alike (docs/mining.md, rules M1 to M6, M18)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from mlplatform.errors import PlanError, Span, repr_name
from mlplatform.plan.portable.asof_ties import ELIGIBLE, REPEATED
from mlplatform.plan.transforms.in_time.canonical import encoded, row_hash
from mlplatform.plan.transforms.lowering import Context, column, named, require_columns, table
from mlplatform.row_faults import CLOSING, opening
from mlplatform.spec.durations import parse_duration, to_ticks
from mlplatform.spec.located import Located, span_of
from mlplatform.spec.temporal import Sides
from mlplatform.types import BIGINT, INTEGERS, TIMESTAMP, TIMESTAMP_NTZ, DataType, Scalar, Schema

TIME, TIE = "_mlp_time", "_mlp_tie"
_KEY_TYPES = ("string", "boolean", "date", "binary", *(kind.name for kind in INTEGERS))
_TICK_NS: dict[DataType, int] = {BIGINT: 1, TIMESTAMP: 1000, TIMESTAMP_NTZ: 1000}


@dataclass(frozen=True, slots=True)
class Timeline:
    """An input's rows in time. Names are the schema's own; `seq` orders rows of one time, null lowest."""

    input: Located
    schema: Schema
    by: tuple[str, ...]
    time: str
    seq: str | None = None

    @property
    def kind(self) -> DataType:
        """The type of the time column."""
        return self.schema[self.time].type

    @property
    def tick_ns(self) -> int:
        """Nanoseconds in a tick of its time: 1, or 1,000 for timestamps."""
        return _TICK_NS[self.kind]

    def ticks(self, side: str | None = None) -> exp.Expr:
        """The time as a bigint of ticks since 1970."""
        return ticks(column(self.time, side), self.tick_ns)


def timeline(source: Located, *, by: Sequence[str], time: str, seq: str | None = None, context: Context) -> Timeline:
    """The rows of an input in time, its columns checked.

    Raises: PlanError E_COLUMN_MISSING, E_KEY_TYPE, E_TIME_TYPE, E_TYPE.
    """
    schema = context.inputs[source]
    require_columns([*by, time, *([seq] if seq is not None else [])], schema, step=context.step, of=source)
    for key in by:
        check_key(key, schema, context.step)
    check_time(time, schema, context.step)
    if seq is not None and schema[seq].type not in INTEGERS:
        raise PlanError(
            "E_TYPE", f"seq {repr_name(seq)} is {schema[seq].type}, not an integer", at=place(seq, context.step)
        )
    return Timeline(
        source,
        schema,
        tuple(schema[key].name for key in by),
        schema[time].name,
        None if seq is None else schema[seq].name,
    )


# --- checks ----------------------------------------------------------------------------------------------------------


def sides(item: Located | Sides) -> tuple[Located, Located]:
    """A name for the left input and one for the right."""
    return (item.left, item.right) if isinstance(item, Sides) else (item, item)


def place(name: str, step: Located) -> Span | None:
    """Where a name stands in the spec; the step where it is a default."""
    return name.at if isinstance(name, Located) and name.at.path else step.at


def check_key(name: str, schema: Schema, step: Located) -> None:
    """Raise PlanError E_KEY_TYPE for a `by` column whose values have no exact equality."""
    kind = schema[name].type
    if not (isinstance(kind, Scalar) and kind.name in _KEY_TYPES):
        raise PlanError(
            "E_KEY_TYPE",
            f"by column {repr_name(name)} is {kind}",
            at=place(name, step),
            hint="keys are string, integer, boolean, date or binary",
        )


def check_same_keys(by: Sequence[tuple[str, str]], left: Schema, right: Schema, step: Located) -> None:
    """Raise PlanError E_TYPE where the two sides of a key cannot be compared."""
    for one, other in by:
        kinds = left[one].type, right[other].type
        if kinds[0] != kinds[1] and not all(kind in INTEGERS for kind in kinds):
            raise PlanError(
                "E_TYPE",
                f"by column {repr_name(one)} is {kinds[0]} on the left and {kinds[1]} on the right",
                at=place(one, step),
                hint="cast one of them first",
            )


def check_time(name: str, schema: Schema, step: Located) -> None:
    """Raise PlanError E_TIME_TYPE for a column that is no time (M1)."""
    kind = schema[name].type
    if kind not in _TICK_NS:
        raise PlanError(
            "E_TIME_TYPE",
            f"time column {repr_name(name)} is {kind}",
            at=place(name, step),
            hint="time is a bigint of nanoseconds or a timestamp: cast it in the step before",
        )


def check_same_clock(
    left: tuple[str, DataType], right: tuple[str, DataType], step: Located, words: tuple[str, str]
) -> None:
    """Raise PlanError E_TIME_MIXED where one time is in nanoseconds and the other a timestamp (M2)."""
    if (left[1] == BIGINT) != (right[1] == BIGINT):
        raise PlanError(
            "E_TIME_MIXED",
            f"time is {left[1]} {words[0]} and {right[1]} {words[1]}",
            at=place(left[0], step),
            hint="convert one side: epoch_ns(ts) or make_timestamp_ns(t_ns)",
        )


def duration_ticks(text: Located, tick_ns: int) -> int:
    """A duration as whole ticks. Raises: SpecError E_DURATION."""
    return to_ticks(parse_duration(text, at=span_of(text)), tick_ns, span_of(text))


def tolerance_ticks(text: Located | None, tick_ns: int, step: Located, key: str = "tolerance") -> int | None:
    """A tolerance as whole ticks, None for `unbounded`; one that is not given is E_TOLERANCE_MISSING (M18)."""
    if text is None:
        choice = ", or `tolerance: unbounded` when any distance will do" if key == "tolerance" else ""
        raise PlanError(
            "E_TOLERANCE_MISSING",
            f"step {repr_name(step)} bridges time without a {key}",
            at=step.at,
            hint=f"write `{key}: 1h`{choice}",
        )
    return None if text == "unbounded" else duration_ticks(text, tick_ns)


# --- expressions -----------------------------------------------------------------------------------------------------


def ticks(value: exp.Expr, tick_ns: int) -> exp.Expr:
    """A time as a bigint of ticks since 1970."""
    return value if tick_ns == 1 else exp.func("epoch_us", value)


def from_ticks(value: exp.Expr, kind: DataType) -> exp.Expr:
    """A bigint of ticks as a time of this type."""
    if kind == BIGINT:
        return value
    made = exp.func("make_timestamp", value)
    return exp.cast(made, exp.DataType.build("TIMESTAMPTZ", dialect="duckdb")) if kind == TIMESTAMP else made


def whole(value: int) -> exp.Expr:
    """A whole number, in parentheses where it is negative."""
    return exp.Literal.number(str(value)) if value >= 0 else exp.paren(exp.Neg(this=exp.Literal.number(str(-value))))


def is_known(names: Sequence[str], side: str | None = None) -> list[exp.Expr]:
    """A condition for each column: it is not null."""
    return [column(name, side).is_(exp.null()).not_() for name in names]


def fail_if(
    condition: exp.Expr, code: str, message: str, hint: str, *, row: Sequence[tuple[str, exp.Expr, DataType]]
) -> exp.Expr:
    """A condition for WHERE or HAVING that is always true, or fails the run with this error.

    `row` names the values that tell people which row it is.
    """
    parts: list[exp.Expr] = [exp.Literal.string(opening(code, message, hint))]
    for number, (name, value, kind) in enumerate(row):
        parts += [exp.Literal.string(f"{', ' if number else ''}{name} = "), encoded(value, kind)]
    raised = exp.func("error", exp.Concat(expressions=[*parts, exp.Literal.string(CLOSING)]))
    failed = exp.cast(raised, exp.DataType.build("BOOLEAN", dialect="duckdb"))
    return exp.Case(ifs=[exp.If(this=condition, true=failed)], default=exp.true())


# --- order -----------------------------------------------------------------------------------------------------------


def eligible(line: Timeline, conditions: Sequence[exp.Expr] = (), extra: Sequence[exp.Expr] = ()) -> exp.Select:
    """The input's rows with keys, a time and the conditions, their time in ticks as `_mlp_time` (M6)."""
    values = [*(column(name) for name in line.schema.names), named(line.ticks(), TIME), *extra]
    known = is_known([*line.by, line.time])
    return exp.select(*values).from_(table(line.input)).where(*known, *conditions, copy=False)


def repeated(line: Timeline, rows: str) -> exp.Select:
    """(by, time, seq) that several rows of `rows` have."""
    order = order_columns(line)
    tree = exp.select(*(column(name) for name in order)).from_(table(rows))
    tree = tree.group_by(*(column(name) for name in order), copy=False)
    return tree.having(exp.Count(this=exp.Star()) > 1, copy=False)


def order_columns(line: Timeline) -> list[str]:
    """by, time and seq: what must be equal for two rows to tie."""
    return [*line.by, TIME, *([line.seq] if line.seq is not None else [])]


def tied(line: Timeline, rows: str, ties: str, *, values: Sequence[exp.Expr], is_tied: bool) -> exp.Select:
    """The rows, as `e`, whose (by, time, seq) is among `ties`, or is not."""
    # No column is called so: where one is, `d.t_ns` may be read as a field of the column `d`.
    other = "_mlp_d"
    same = exp.and_(
        *(exp.NullSafeEQ(this=column(name, "e"), expression=column(name, other)) for name in order_columns(line))
    )
    tree = exp.select(*values).from_(table(rows, "e"))
    return tree.join(table(ties, other), on=same, join_type="semi" if is_tied else "anti", copy=False)


def in_order(
    line: Timeline, conditions: Sequence[exp.Expr] = (), extra: Sequence[exp.Expr] = ()
) -> list[tuple[str, exp.Query]]:
    """CTEs that give `_mlp_rows`: eligible rows with all that M4's order needs; only rows that tie are hashed.

    `extra` are named expressions over the input. Order them by `total_order`.
    """
    rows = eligible(line, conditions, extra)
    names = [item.alias_or_name for item in rows.expressions]
    kept = [column(name, "e") for name in names]
    text = exp.DataType.build("VARCHAR", dialect="duckdb")
    untied = [*kept, named(exp.cast(exp.null(), text), TIE)]
    hashed = [*(value.copy() for value in kept), named(row_hash(line.schema, "e"), TIE)]
    both = exp.union(
        tied(line, ELIGIBLE, REPEATED, values=untied, is_tied=False),
        tied(line, ELIGIBLE, REPEATED, values=hashed, is_tied=True),
        distinct=False,
        copy=False,
    )
    return [(ELIGIBLE, rows), (REPEATED, repeated(line, ELIGIBLE)), ("_mlp_rows", both)]


def total_order(line: Timeline, side: str | None = None, *, descending: bool = False) -> exp.Order:
    """Time, seq (null lowest), then the hash of rows that tie (M4)."""
    names = [TIME, *([line.seq] if line.seq is not None else []), TIE]
    return exp.Order(
        expressions=[
            exp.Ordered(this=column(name, side), desc=descending, nulls_first=not descending) for name in names
        ]
    )


def with_ctes(tree: exp.Query, ctes: Sequence[tuple[str, exp.Query]]) -> exp.Query:
    """A query over named queries, each of which may read those before it.

    Eligible rows are read several times, and to read them again costs less than to store them.
    """
    for alias, body in ctes:
        is_read_again = alias == ELIGIBLE and body.find(exp.Explode, exp.Join) is None
        tree = tree.with_(alias, as_=body, materialized=False if is_read_again else None, copy=False)
    return tree
