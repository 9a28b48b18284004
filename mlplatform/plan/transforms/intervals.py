"""The intervals transform: an expression over sets of intervals (docs/mining.md, intervals).

A set is a pair: what is true, and what is known. Operators that look at each moment by itself (`and or not minus
count_ge`) become one sweep however they are nested; pair operators become one as-of join each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from mlplatform.errors import PlanError, PlatformError, assert_never, raise_all, repr_name
from mlplatform.plan.transforms import interval_sets as sets
from mlplatform.plan.transforms.in_time.metrics import counted, input_counts, output_counts
from mlplatform.plan.transforms.in_time.spans import END, START, Spans, checks, if_checked, spans
from mlplatform.plan.transforms.in_time.timeline import (
    Timeline,
    check_same_clock,
    check_same_keys,
    duration_ticks,
    from_ticks,
    whole,
    with_ctes,
)
from mlplatform.plan.transforms.interval_expr import Both, Count, Expression, Name, Not, Pair, parse_intervals
from mlplatform.plan.transforms.interval_sets import FALSE, STATE, TRUE, UNKNOWN, Counted, Ctes, Sweep
from mlplatform.plan.transforms.lowering import Context, Lowered, column, named, table
from mlplatform.spec.durations import to_ticks
from mlplatform.spec.located import Located
from mlplatform.spec.temporal import IntervalInput, IntervalsStep
from mlplatform.types import BIGINT, BOOLEAN, STRING

_TRUTH = "truth"
_WORDS = {TRUE: "true", FALSE: "false", UNKNOWN: "unknown"}


@dataclass(frozen=True, slots=True)
class _Rows(Spans):
    """An input's intervals; `truth` says of each whether it is a true one, None where all are."""

    truth: str | None = None


@dataclass(frozen=True, slots=True)
class _Operand:
    rows: _Rows
    coverage: _Rows | None

    @property
    def is_covered(self) -> bool:
        """Whether it says more of what is known than what is true."""
        return self.coverage is not None or self.rows.truth is not None


@dataclass(slots=True)
class _Algebra:
    """The step with its names resolved, and the queries made so far."""

    step: IntervalsStep
    by: tuple[str, ...]
    operands: dict[str, _Operand]
    ctes: Ctes = field(default_factory=list)
    read: dict[str, str] = field(default_factory=dict)

    @property
    def first(self) -> _Rows:
        """The input whose names and types the result has."""
        return next(iter(self.operands.values())).rows

    @property
    def tick_ns(self) -> int:
        """Nanoseconds in a tick."""
        return self.first.tick_ns


def lower(step: IntervalsStep, context: Context) -> Lowered:
    """The intervals in which the expression is true; with `all_spans` also those in which it is false or unknown."""
    tree = parse_intervals(step.expr, [str(name) for name in step.inputs])
    algebra = _resolve(step, tree, context)
    raise_all(list(_uncovered(tree, algebra.operands)))
    only_true = step.emit == "true_spans"
    if isinstance(tree, Pair):
        rows = _pair(tree, algebra)
        state: exp.Expr = whole(TRUE)
    else:
        rows = _swept(tree, algebra, only_true=only_true)
        state = column(STATE)
    query = if_checked(_projected(algebra, rows, state, only_true))
    given = list(_all_rows(algebra.operands.values()))
    inputs = dict.fromkeys(str(each.input) for each in given)
    metrics = _metrics(algebra, context, only_true=only_true)
    return Lowered(with_ctes(query, [checks(given), *algebra.ctes]), tuple(inputs), (), "partition", metrics)


# --- names and types -------------------------------------------------------------------------------------------------


def _resolve(step: IntervalsStep, tree: Expression, context: Context) -> _Algebra:
    used = dict.fromkeys(name.text for name in _names(tree))
    operands = {}
    for name, given in step.inputs.items():
        if str(name) not in used:
            at = name.at
            raise PlanError("E_VALUE", f"input {repr_name(name)} is not in the expression", at=at, hint="leave it away")
        source, coverage = (given.from_, given.coverage) if isinstance(given, IntervalInput) else (given, None)
        operands[str(name)] = _Operand(
            _rows(source, step, context), None if coverage is None else _rows(coverage, step, context)
        )
    _check_alike(list(_all_rows(operands.values())), context.step)
    first = next(iter(operands.values())).rows
    return _Algebra(step, first.by, operands)


def _rows(source: Located, step: IntervalsStep, context: Context) -> _Rows:
    found = spans(source, by=step.by, start=step.start, end=step.end, context=context)
    schema = found.schema
    truth = schema[_TRUTH].name if _TRUTH in schema else None
    if truth is not None and schema[truth].type not in (STRING, BOOLEAN):
        raise PlanError(
            "E_TYPE",
            f"column {repr_name(truth)} of {repr_name(source)} is {schema[truth].type}, not string or boolean",
            at=source.at,
            hint="it would say which intervals are true: rename or cast it in the step before",
        )
    return _Rows(source, schema, found.by, found.start, found.end, truth)


def _check_alike(rows: Sequence[_Rows], step: Located) -> None:
    first = rows[0]
    for other in rows[1:]:
        words = f"in {repr_name(first.input)}", f"in {repr_name(other.input)}"
        check_same_clock((first.start, first.kind), (other.start, other.kind), step, words)
        check_same_keys(list(zip(first.by, other.by, strict=True)), first.schema, other.schema, step)


def _all_rows(operands: Iterable[_Operand]) -> Iterator[_Rows]:
    for operand in operands:
        yield operand.rows
        if operand.coverage is not None:
            yield operand.coverage


def _parts(tree: Expression) -> tuple[Expression, ...]:  # noqa: RET503  (assert_never never returns)
    match tree:
        case Name():
            return ()
        case Not():
            return (tree.item,)
        case Both():
            return (tree.left, tree.right)
        case Count():
            return tree.items
        case Pair():
            return (tree.a, tree.b)
        case _:
            assert_never(tree)


def _names(tree: Expression) -> Iterator[Name]:
    if isinstance(tree, Name):
        yield tree
    for part in _parts(tree):
        yield from _names(part)


def _uncovered(tree: Expression, operands: dict[str, _Operand], negated: bool = False) -> Iterator[PlatformError]:
    """An error for each operand of a negation of which nobody says when it could be known."""
    if negated and isinstance(tree, Name) and not operands[tree.text].is_covered:
        yield PlanError(
            "E_COVERAGE_MISSING",
            f"{repr_name(tree.text)} is negated, and nothing says when it could be known",
            at=tree.at,
            hint=f"give its coverage: {tree.text}: {{from: {operands[tree.text].rows.input}, coverage: …}}",
        )
    if negated and isinstance(tree, Pair):
        yield PlanError(
            "E_COVERAGE_MISSING",
            f"{tree.word}(…) is negated, and nothing is known outside of its intervals",
            at=tree.at,
            hint="make it a step of its own, and give that its coverage",
        )
    for place, part in enumerate(_parts(tree)):
        is_right = isinstance(tree, Both) and tree.word == "minus" and place == 1
        below = negated and not isinstance(tree, Pair)
        yield from _uncovered(part, operands, below or isinstance(tree, Not) or is_right)


# --- queries ---------------------------------------------------------------------------------------------------------


def _intervals(rows: _Rows, algebra: _Algebra) -> str:
    """The name of a query with an input's intervals in ticks; those of no length hold nothing and are gone (M11)."""
    if rows.input in algebra.read:
        return algebra.read[rows.input]
    name = f"_mlp_in{len(algebra.read)}"
    algebra.read[str(rows.input)] = name
    keys = [named(column(own), out) for own, out in zip(rows.by, algebra.by, strict=True)]
    algebra.ctes.append((name, rows.rows([*keys, *_states(rows)], keeps_empty=False)))
    return name


def _states(rows: _Rows) -> list[exp.Expr]:
    if rows.truth is None:
        return []
    cases = [exp.If(this=_says(rows, word), true=whole(state)) for state, word in _WORDS.items() if state != UNKNOWN]
    return [named(exp.Case(ifs=cases, default=whole(UNKNOWN)), STATE)]


def _says(rows: _Rows, word: str) -> exp.Expr:
    truth = column(rows.truth or "")
    if rows.schema[truth.name].type == BOOLEAN:
        return truth if word == "true" else exp.Not(this=truth)
    return truth.eq(exp.Literal.string(word))


def _true_rows(rows: _Rows, algebra: _Algebra) -> str:
    """The name of a query with an input's true intervals."""
    source = _intervals(rows, algebra)
    if rows.truth is None:
        return source
    name = f"{source}_true"
    if name not in dict(algebra.ctes):
        query = exp.select(*(column(each) for each in (*algebra.by, START, END))).from_(table(source))
        algebra.ctes.append((name, query.where(column(STATE).eq(TRUE), copy=False)))
    return name


def _swept(tree: Expression, algebra: _Algebra, *, only_true: bool = True) -> str:
    """The name of a query with the intervals of an expression of set operators, sorted out and merged."""
    sweep = Sweep(algebra.by, "")
    truth = _truth(tree, sweep, algebra, {})
    sweep.prefix = f"_mlp_s{len(algebra.ctes)}"
    algebra.ctes += sweep.queries(truth, only_true=only_true)
    return algebra.ctes[-1][0]


def _truth(  # noqa: RET503  (assert_never never returns)
    tree: Expression, sweep: Sweep, algebra: _Algebra, known: dict[str, exp.Expr]
) -> exp.Expr:
    """Whether the expression holds at a moment: a boolean of SQL, null where it is unknown."""
    match tree:
        case Name():
            if tree.text not in known:
                known[tree.text] = _operand(algebra.operands[tree.text], sweep, algebra)
            return known[tree.text].copy()
        case Pair():
            is_open = sweep.open(1)[0]
            sweep.rows.append(Counted(_pair(tree, algebra), whole(sweep.counted - 1)))
            return exp.Case(ifs=[exp.If(this=is_open, true=exp.true())])
        case Not():
            return exp.Not(this=exp.paren(_truth(tree.item, sweep, algebra, known)))
        case Count():
            return sweep.at_least(tree.least, [_truth(item, sweep, algebra, known) for item in tree.items])
        case Both():
            left, right = (exp.paren(_truth(part, sweep, algebra, known)) for part in (tree.left, tree.right))
            if tree.word == "or":
                return exp.Or(this=left, expression=right)
            return exp.And(this=left, expression=exp.Not(this=right) if tree.word == "minus" else right)
        case _:
            assert_never(tree)


def _operand(operand: _Operand, sweep: Sweep, algebra: _Algebra) -> exp.Expr:
    rows, coverage = operand.rows, operand.coverage
    first, source = sweep.counted, _intervals(rows, algebra)
    cases = []
    if rows.truth is None:
        sweep.rows.append(Counted(source, whole(first)))
        cases = [exp.If(this=sweep.open(1)[0], true=exp.true())]
    else:
        which = exp.Add(this=column(STATE), expression=whole(first))
        sweep.rows.append(Counted(source, which))
        states = sweep.open(3)
        cases = [exp.If(this=states[TRUE], true=exp.true()), exp.If(this=states[FALSE], true=exp.false()),
                 exp.If(this=states[UNKNOWN], true=exp.null())]  # fmt: skip
    if coverage is not None:
        sweep.rows.append(Counted(_true_rows(coverage, algebra), whole(sweep.counted)))
        cases.append(exp.If(this=sweep.open(1)[0], true=exp.false()))
    return exp.Case(ifs=cases)


def _pair(tree: Pair, algebra: _Algebra) -> str:
    """The name of a query with the intervals of a pair operator."""
    a, b = _pair_side(tree.a, algebra), _pair_side(tree.b, algebra)
    limit = 0 if tree.limit is None else to_ticks(tree.limit[0], algebra.tick_ns, tree.limit[1])
    match tree.word:
        case "then":
            query = sets.then(a, b, algebra.by, limit)
        case "during":
            query = sets.during(a, b, algebra.by)
        case "starts_within":
            query = sets.starts_within(a, b, algebra.by, limit)
        case _:
            assert_never(tree.word)
    name = f"_mlp_p{len(algebra.ctes)}"
    algebra.ctes.append((name, query))
    return name


def _pair_side(tree: Expression, algebra: _Algebra) -> str:
    if isinstance(tree, Name):
        return _true_rows(algebra.operands[tree.text].rows, algebra)
    return _pair(tree, algebra) if isinstance(tree, Pair) else _swept(tree, algebra)


def _projected(algebra: _Algebra, rows: str, state: exp.Expr, only_true: bool) -> exp.Select:
    step, first = algebra.step, algebra.first
    suffix = "ns" if first.kind == BIGINT else "ts"
    start, end = str(step.start or f"start_{suffix}"), str(step.end or f"end_{suffix}")
    values: list[exp.Expr] = [*(column(name) for name in algebra.by)]
    values += [named(from_ticks(column(START), first.kind), start), named(from_ticks(column(END), first.kind), end)]
    if not only_true:
        cases = [exp.If(this=state.copy().eq(each), true=exp.Literal.string(word)) for each, word in _WORDS.items()]
        values.append(named(exp.Case(ifs=cases[:2], default=exp.Literal.string(_WORDS[UNKNOWN])), _TRUTH))
    tree = exp.select(*values).from_(table(rows))
    shortest = duration_ticks(step.min_duration, algebra.tick_ns)
    if shortest > 0:
        length = exp.Sub(this=column(END), expression=column(START))
        is_long = exp.GTE(this=length, expression=whole(shortest))
        tree = tree.where(is_long if only_true else exp.or_(state.copy().neq(TRUE), is_long), copy=False)
    return tree


def _metrics(algebra: _Algebra, context: Context, *, only_true: bool) -> exp.Query:
    """Intervals in, those that take no part, and the intervals found; unknown ones where they are told."""
    counts = {} if only_true else {"n_unknown": column(_TRUTH).eq(exp.Literal.string(_WORDS[UNKNOWN]))}
    lines = {
        name: Timeline(operand.rows.input, operand.rows.schema, operand.rows.by, operand.rows.start)
        for name, operand in algebra.operands.items()
    }
    parts = {f"in_{name}": input_counts(line, f"_{name}") for name, line in lines.items()}
    return counted({**parts, "made": output_counts(context.step, counts)})
