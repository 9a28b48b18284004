"""The spec language, version 1, as frozen values: what a YAML file holds once it is read.

The reader (`reader.py`) and the JSON Schema (`schema.py`) are both driven by these classes: a field is a key, its
annotation is the key's type, its docs are in `entry(doc=…)`. Every text is a `Located`, so each later error can name
its place. Grammar: docs/spec.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mlplatform.errors import Span
from mlplatform.spec.entry import entry
from mlplatform.spec.located import Located
from mlplatform.spec.serve import ServeSpec
from mlplatform.spec.temporal import TEMPORAL, TemporalStep

Rows = tuple[dict[str, Any], ...]  # Any: YAML values; typed once the columns are known
Mode = Literal["append", "overwrite", "merge", "replace_partitions"]
SchemaChange = Literal["fail", "append_new_columns", "sync_all_columns", "ignore"]


# --- head ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """A typed value of a run."""

    type: Located | None = entry(None, doc="type of the value; the default's type when absent", check="type")
    default: Any = entry(None, doc="value when a run gives none; without it the run must give one")
    description: Located | None = entry(None, doc="what the parameter is for")
    has_default: bool = False
    at: Span | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """Rows to read: a connector with its options, or a dataset of the catalog. Exactly one of the two is given.

    `options` is a value of the connector's `Options` class, None for a dataset.
    """

    connector: Located | None = entry(None, doc="name of the connector: files, delta, …", check="connector")
    dataset: Located | None = entry(None, doc="name of a dataset of the catalog", check="dataset")
    version: int | None = entry(None, doc="version of the dataset; the latest when absent")
    changes_since: Located | None = entry(None, doc="only the changes since a version or the last run", pending=True)
    options: Any = None  # Any: the connector's own Options class
    at: Span | None = None


# --- steps ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryStep:
    """`from` and its clauses, applied in the order in which they stand here."""

    from_: Located = entry(doc="source or step to read", check="name", name="from")
    filter: Located | None = entry(None, doc="rows to keep: an expression that is true", check="sql")
    group_by: tuple[Located, ...] | dict[Located, Located] | None = entry(
        None, doc="columns to group by, or name: expression", check="sql"
    )
    aggregate: dict[Located, Located] | None = entry(None, doc="name: aggregate expression", check="sql")
    having: Located | None = entry(None, doc="groups to keep: an expression over keys and aggregates", check="sql")
    select: tuple[Located, ...] | dict[Located, Located | None] | None = entry(
        None, doc="columns of the result: names, or name: expression", check="sql"
    )
    distinct: bool = entry(False, doc="keep one of equal rows")
    order_by: tuple[Located, ...] | Located | None = entry(None, doc="expressions, each with asc or desc", check="sql")
    limit: int | None = entry(None, doc="at most so many rows; needs order_by")


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlStep:
    """One SELECT in DuckDB's dialect over sources and steps."""

    sql: Located = entry(doc="a SELECT over sources and steps", check="sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinStep:
    """An equi- or condition join of two inputs."""

    left: Located = entry(doc="source or step on the left", check="name")
    right: Located = entry(doc="source or step on the right", check="name")
    using: tuple[Located, ...] | None = entry(None, doc="columns of one name that must be equal; kept once")
    condition: Located | None = entry(None, doc="join condition over l and r (or the inputs' names)", check="sql")
    how: Literal["inner", "left", "right", "full", "semi", "anti", "cross"] = entry("inner", doc="kind of join")
    columns: tuple[Located | dict[Located, Located], ...] | None = entry(
        None, doc="columns of the right side to keep: names, or {out: column}"
    )
    prefix: Located | None = entry(None, doc="text put before the names of the right side's columns")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnionStep:
    """The rows of several inputs, one after the other."""

    inputs: tuple[Located, ...] = entry(doc="sources or steps, two or more", check="name")
    by_name: bool = entry(True, doc="match columns by name; a column that an input lacks is null")
    distinct: bool = entry(False, doc="keep one of equal rows")


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupeStep:
    """One row for each key."""

    from_: Located = entry(doc="source or step to read", check="name", name="from")
    key: tuple[Located, ...] = entry(doc="columns that identify a row")
    keep: Literal["first", "last"] = entry("first", doc="which row of a key stays, by order_by")
    order_by: tuple[Located, ...] | Located | None = entry(
        None, doc="what decides; ties fall to the remaining columns", check="sql"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonStep:
    """A function from Arrow RecordBatches to RecordBatches, or a class with `setup` and `process`."""

    function: Located = entry(doc="module:name of the function or class")
    from_: Located = entry(doc="source or step to read", check="name", name="from")
    schema: dict[Located, Located] = entry(doc="columns that the function gives: name: type", check="type")
    resources: dict[Located, Any] | None = entry(None, doc="what a worker needs", pending=True)


SqlOperator = QueryStep | SqlStep | JoinStep | UnionStep | DedupeStep | TemporalStep
Operator = SqlOperator | PythonStep

# Word in YAML → class. The query operator is recognised by `from` and has no word of its own.
OPERATORS: dict[str, type] = {
    "join": JoinStep,
    "union": UnionStep,
    "dedupe": DedupeStep,
    "python": PythonStep,
    **TEMPORAL,
}
PENDING_OPERATORS = ("kinematics", "pairs", "sample", "split", "knn", "snapshot", "export", "forget")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """A named step with its one operator."""

    name: Located
    operator: Operator
    description: Located | None = entry(None, doc="what the step does")


# --- outputs ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSpec:
    """How the rows of a step are written; `name` is a dataset or a path."""

    name: Located
    from_: Located = entry(doc="source or step whose rows are written", check="name", name="from")
    mode: Mode = entry("overwrite", doc="how rows are written")
    unique_key: tuple[Located, ...] | None = entry(None, doc="columns that identify a row (merge)")
    sequence_by: tuple[Located, ...] | Located | None = entry(None, doc="of rows with one key the greatest wins")
    partition_by: tuple[Located, ...] = entry((), doc="columns that split the table into folders")
    on_schema_change: SchemaChange = entry("fail", doc="what happens when the columns differ from the table's")
    description: Located | None = entry(None, doc="what one row is")
    columns: dict[Located, Located | None] | None = entry(
        None, doc="column: description; in a flow mapping the description may hold commas"
    )
    owner: Located | None = entry(None, doc="who answers for the dataset; default the pipeline's owner")
    tags: tuple[Located, ...] = entry((), doc="words to find the dataset by")
    expectations: tuple[Any, ...] | None = entry(None, doc="what the rows must satisfy", pending=True)
    serve: ServeSpec | None = entry(None, doc="publish for look-ups")
    maintain: dict[Located, Any] | None = entry(None, doc="compaction and retention", pending=True)
    cdc: dict[Located, Any] | None = entry(None, doc="change data options", pending=True)
    max_quarantined: Any = entry(None, doc="most rows set aside before the run stops", pending=True)
    provenance: bool | None = entry(None, doc="keep the source position of each row", pending=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """Which engine runs the pipeline when the command does not say."""

    default: Located | None = entry(None, doc="duckdb, beam, spark or auto")
    options: dict[Located, dict[Located, Any]] = entry(factory=dict, doc="options by engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSpec:
    """Input rows and expected rows."""

    __test__ = False  # not a test class of pytest

    name: Located
    params: dict[Located, Any] = entry(factory=dict, doc="parameters of the test's run")
    given: dict[Located, Rows] = entry(factory=dict, doc="rows by source, and tables as they stood before")
    expect: dict[Located, Rows] = entry(doc="rows by output or step")
    match: Literal["exact", "subset"] = entry("exact", doc="exact = all columns and rows; subset = columns named")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One pipeline, read and checked for form; names between its parts are checked too, columns are not yet.

    `broken` names the params, sources, steps, outputs and tests that were left out because of their errors.
    """

    path: str
    text: str
    broken: frozenset[str] = frozenset()
    version: int = entry(doc="version of the language: 1")
    pipeline: Located = entry(doc="name of the pipeline", check="identifier")
    description: Located | None = entry(None, doc="what the pipeline is for")
    owner: Located | None = entry(None, doc="who answers for it")
    tags: tuple[Located, ...] = entry((), doc="words to find it by")
    params: dict[Located, Param] = entry(factory=dict, doc="typed values of a run")
    sources: dict[Located, SourceSpec] = entry(factory=dict, doc="what is read")
    steps: dict[Located, StepSpec] = entry(factory=dict, doc="how rows are made")
    outputs: dict[Located, OutputSpec] = entry(factory=dict, doc="what is written")
    engine: EngineSpec = entry(factory=EngineSpec, doc="which engine runs it")
    tests: dict[Located, TestSpec] = entry(factory=dict, doc="the spec's own tests")
