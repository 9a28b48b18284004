"""Spec → checked plan: resolve the sources, order the steps, lower and bind each, check the outputs.

Every fault of the spec is collected; a step whose input is at fault is passed over in silence, so one mistake is
reported once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path

from mlplatform.collection import no_collection
from mlplatform.errors import PlanError, PlatformError, Span, all_errors, did_you_mean, listed, repr_name
from mlplatform.plan.bind import Binder
from mlplatform.plan.nodes import CheckedPlan, Function, Node, Query, Sink, Source
from mlplatform.plan.places import identifier_span
from mlplatform.plan.sqltext import parse_query, tables_of
from mlplatform.plan.transforms import lower
from mlplatform.plan.transforms.lowering import Context
from mlplatform.scan import Stream
from mlplatform.spec.located import Located, span_of
from mlplatform.spec.model import OPERATORS, Operator, OutputSpec, PythonStep, SourceSpec, Spec, SqlStep
from mlplatform.spec.params import Values
from mlplatform.spec.serve import served_columns, served_keys
from mlplatform.spec.shapes import names_in
from mlplatform.types import FLOATS, Column, List, Map, Schema, Struct, missing_column, parse_type

Resolve = Callable[[Located, SourceSpec], Stream]


def build_plan(
    spec: Spec, values: Values, resolve: Resolve, *, engine: str, needed: Collection[str] | None = None
) -> tuple[CheckedPlan, list[PlatformError]]:
    """The checked plan of a spec, and every error found; with errors the plan lacks the faulty parts and must not run.

    Args:
        resolve: opens a source; what it raises is reported at the source.
        needed: names of the steps and sources to build; None = all of the spec's.
    """
    builder = _Builder(spec, values, resolve, needed)
    # Trees stay alive, and of a thousand steps a collection walks all, over and over.
    with no_collection(), Binder() as binder:
        builder.run(binder)
    plan = CheckedPlan(
        pipeline=str(spec.pipeline),
        path=spec.path,
        nodes=builder.nodes,
        sinks=builder.sinks,
        params=values.shown(),
        engine=engine,
    )
    return plan, builder.errors


class _Builder:
    def __init__(self, spec: Spec, values: Values, resolve: Resolve, needed: Collection[str] | None) -> None:
        self.spec, self.values, self.resolve, self.needed = spec, values, resolve, needed
        self.errors: list[PlatformError] = []
        self.nodes: dict[str, Node] = {}
        self.sinks: dict[str, Sink] = {}

    def run(self, binder: Binder) -> None:
        for name, source in self.spec.sources.items():
            if self._wanted(name):
                self._try(partial(self._source, name, source, binder))
        for step in self._ordered():
            self._try(partial(self._step, step, binder))
        for output in self.spec.outputs.values():
            if str(output.from_) in self.nodes and self._wanted(str(output.from_)):
                self._try(partial(self._sink, output))

    def _wanted(self, name: str) -> bool:
        return self.needed is None or name in self.needed

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except PlatformError as error:
            self.errors.extend(all_errors(error))

    def _source(self, name: Located, source: SourceSpec, binder: Binder) -> None:
        stream = self.resolve(name, source)
        self.nodes[str(name)] = Source(str(name), stream, stream.scan, source.at or name.at)
        binder.define(str(name), stream.schema)

    def _step(self, name: str, binder: Binder) -> None:
        step = self.spec.steps[name]  # type: ignore[index]  # Located is a str
        operator = self.values.fill(step.operator)
        if any(read not in self.nodes for read in self._reads[name]):
            return
        node: Node
        if isinstance(operator, PythonStep):
            node = self._function(step.name, operator, step.description)
        else:
            inputs = {str(read): self.nodes[read].schema for read in self._reads[name]}
            lowered = lower(operator, Context(step.name, inputs, self.values))
            known = [column for schema in inputs.values() for column in schema.names]
            tree, schema = binder.bind(
                lowered.tree, lowered.inputs, step=step.name, texts=lowered.texts, known=dict.fromkeys(known)
            )
            node = Query(
                name, _kind(operator), tree, lowered.inputs, schema, step.name.at, lowered.reach, step.description,
                lowered.texts, lowered.metrics,
            )  # fmt: skip
        self.nodes[name] = node
        binder.define(name, node.schema)

    def _function(self, name: Located, step: PythonStep, description: str | None) -> Function:
        columns = tuple(Column(str(column), parse_type(kind, at=span_of(kind))) for column, kind in step.schema.items())
        if not columns:
            raise PlanError("E_VALUE", f"step {repr_name(name)} declares no columns", at=name.at)
        module, _, attribute = step.function.partition(":")
        if not module or not attribute.isidentifier():
            raise PlanError(
                "E_FUNCTION",
                f"{step.function!r} does not name a function",
                at=span_of(step.function),
                hint="write module:name",
            )
        folder = str(Path(self.spec.path).resolve().parent)
        return Function(str(name), step.function, str(step.from_), Schema(columns), folder, name.at, description)

    def _sink(self, output: OutputSpec) -> None:
        schema = self.nodes[str(output.from_)].schema
        output = self.values.fill(output)
        errors = [
            missing_column(column, schema, at=span_of(column), where=f" in {word} of output {repr_name(output.name)}")
            for word, columns in _named_columns(output)
            for column in columns
            if column not in schema
        ]
        errors += [
            PlanError("E_PARTITION", f"column {repr_name(column)} of type {schema[column].type} cannot partition",
                      at=span_of(column), hint="partition by text, whole numbers, dates, booleans or timestamps")
            for column in output.partition_by
            if column in schema and not _can_partition(schema[column])
        ]  # fmt: skip
        errors += _wrong_look_ups(output, schema)
        if output.partition_by and len(set(output.partition_by)) == len(schema):
            errors.append(
                PlanError(
                    "E_PARTITION", f"output {repr_name(output.name)} has only partition columns", at=output.name.at
                )
            )
        if errors:
            self.errors.extend(errors)
            return
        described = schema.describe({str(column): str(text) for column, text in (output.columns or {}).items()})
        self.sinks[str(output.name)] = Sink(str(output.name), str(output.from_), described, output, output.name.at)

    # --- order -------------------------------------------------------------------------------------------------------

    def _ordered(self) -> list[str]:
        """Steps in an order in which each comes after its inputs; a circle is reported and left out."""
        self._reads: dict[str, tuple[str, ...]] = {}
        for name, step in self.spec.steps.items():
            if self._wanted(name):
                self._try(partial(self._read_names, name, step.operator))
        return list(self._walk())

    def _read_names(self, name: Located, operator: Operator) -> None:
        known = {*self.spec.sources, *self.spec.steps, *self.spec.broken}
        places = _references(operator, self.values)
        for read, at in places.items():
            if read not in known:
                raise PlanError(
                    "E_NAME_UNKNOWN",
                    f"step {repr_name(name)} reads {repr_name(read)}, which is no source or step",
                    at=at,
                    hint=did_you_mean(read, known),
                    notes=[f"sources and steps: {listed(known)}"],
                )
        self._reads[str(name)] = tuple(places)

    def _walk(self) -> Iterator[str]:
        done: set[str] = set()
        for root in self._reads:
            path: list[str] = []
            stack = [(root, False)]
            while stack:
                name, leaving = stack.pop()
                if leaving:
                    path.pop()
                    done.add(name)
                    yield name
                elif name in path:
                    self._circle(path[path.index(name) :])
                elif name not in done and name in self._reads:
                    path.append(name)
                    stack.append((name, True))
                    stack.extend((read, False) for read in reversed(self._reads[name]))

    def _circle(self, names: list[str]) -> None:
        first = self.spec.steps[names[0]].name  # type: ignore[index]  # Located is a str
        text = " → ".join([*names, names[0]])
        self.errors.append(PlanError("E_CYCLE", f"steps depend on each other in a circle: {text}", at=first.at))
        for name in names:
            self._reads[name] = (*self._reads[name], "")  # an input that never comes: the circle is passed over


def _references(operator: Operator, values: Values) -> dict[str, Span | None]:
    """Names that a step reads, each with its place."""
    if isinstance(operator, SqlStep):
        text = operator.sql
        return {name: identifier_span(node, text) for name, node in tables_of(parse_query(text, values)).items()}
    return {str(name): name.at for name in names_in(operator)}


def _kind(operator: Operator) -> str:
    words = {kind: word for word, kind in OPERATORS.items()}
    return words.get(type(operator), type(operator).__name__.removesuffix("Step").lower())


def _named_columns(output: OutputSpec) -> list[tuple[str, tuple[Located, ...]]]:
    sequence = (output.sequence_by,) if isinstance(output.sequence_by, str) else output.sequence_by or ()
    return [
        ("unique_key", output.unique_key or ()),
        ("sequence_by", sequence),
        ("partition_by", output.partition_by),
        ("columns", tuple(output.columns or ())),
        *served_columns(output),
    ]


def _wrong_look_ups(output: OutputSpec, schema: Schema) -> list[PlanError]:
    """An error for each column of a float or nested type that a look-up would go by."""
    hint = "serve by whole numbers, decimals, texts, binaries, booleans, dates or times"
    found = [(column, schema[column].type) for column in served_keys(output) if column in schema]
    return [
        PlanError("E_KEY_TYPE", f"column {repr_name(column)} is {kind}: no look-up can go by it",
                  at=span_of(column) or output.name.at, hint=hint)
        for column, kind in found
        if kind in FLOATS or isinstance(kind, List | Map | Struct)
    ]  # fmt: skip


def _can_partition(column: Column) -> bool:
    return str(column.type) in (
        "string",
        "boolean",
        "tinyint",
        "smallint",
        "int",
        "bigint",
        "date",
        "timestamp",
        "timestamp_ntz",
    )
