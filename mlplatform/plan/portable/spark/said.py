"""The Spark SQL of a Query node, and what of a plan Spark cannot run with the same rows and types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
from sqlglot import exp

from mlplatform.errors import PlanError, PlatformError, Span, repr_name
from mlplatform.plan.nodes import CheckedPlan, Query
from mlplatform.plan.places import word_span
from mlplatform.plan.portable.functions import BY_NAME
from mlplatform.plan.portable.kinds import NULL
from mlplatform.plan.portable.model import Refused
from mlplatform.plan.portable.normal import normal
from mlplatform.plan.portable.spark.build import SPARK, to_type
from mlplatform.plan.portable.spark.casts import cast
from mlplatform.plan.portable.spark.queries import Queries
from mlplatform.plan.portable.typed import Probe, Types, type_query
from mlplatform.types import Schema

# What the text is written for: a session that sets these has the rows and types of the contract.
SETTINGS: Mapping[str, str] = {
    "spark.sql.ansi.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.caseSensitive": "false",
    "spark.sql.decimalOperations.allowPrecisionLoss": "false",
    "spark.sql.legacy.timeParserPolicy": "CORRECTED",
    "spark.sql.mapKeyDedupPolicy": "EXCEPTION",
    "spark.sql.parser.escapedStringLiterals": "false",
}
_ENGINES_THAT_CAN = "beam, duckdb"


def spark_sql(query: Query, inputs: Mapping[str, Schema], *, probe: Probe | None = None) -> str:
    """Spark SQL over temporary views of the inputs' names; exactly the query's columns, order and types.

    Args:
        inputs: the schemas of the query's inputs. A dot in a name is written as two underscores, as in `view_name`.
        probe: one to share among many queries.
    Raises: PlanError E_NOT_SUPPORTED, or a group, for what Spark cannot say with the same rows and types.
    """
    if probe is None:
        with Probe() as own:
            return spark_sql(query, inputs, probe=own)
    tree, refused = _said(query, inputs, probe)
    if refused or tree is None:
        raise _errors(query, refused)[0]
    return str(tree.sql(SPARK, identify=True, pretty=True))


def view_name(name: str) -> str:
    """The name of the temporary view that stands for an input."""
    return name.replace(".", "__")


def check_spark(plan: CheckedPlan) -> list[PlatformError]:
    """An error for each function or operator of the plan that Spark has no certified form for, at its place."""
    queries = [node for node in plan.nodes.values() if isinstance(node, Query)]
    if not queries:
        return []
    errors: list[PlatformError] = []
    with Probe() as probe:
        for query in queries:
            inputs = {name: plan.nodes[name].schema for name in query.inputs}
            errors += _errors(query, _said(query, inputs, probe)[1])
    return errors


def _said(
    query: Query, inputs: Mapping[str, Schema], probe: Probe
) -> tuple[exp.Expr | None, Sequence[Refused | PlanError]]:
    try:
        tree = normal(query.tree, inputs)
        types = type_query(tree, inputs, probe)
        queries = Queries(types)
        said = queries.say(tree)
        refused = queries.speaker.refused
        return (_pinned(said, types, tree, query.schema) if not refused else None), refused
    except (Refused, PlanError) as error:
        return None, [error]
    except duckdb.Error as error:
        first = str(error).split("\n")[0]
        return None, [PlanError("E_NOT_SUPPORTED", f"the types of the query are not known: {first}")]


def _pinned(said: exp.Expr, types: Types, tree: exp.Query, schema: Schema) -> exp.Expr:
    """The query with the schema's names and types."""
    columns = types.columns(tree)
    names = [exp.to_identifier(f"c{place}", quoted=True) for place in range(len(columns))]
    inner = said if isinstance(said, exp.Subquery) else exp.Subquery(this=said)
    inner.set("alias", exp.TableAlias(this=exp.to_identifier("said", quoted=True), columns=names))
    projection = []
    for place, (column, (_, kind)) in enumerate(zip(schema, columns, strict=True)):
        value: exp.Expr = exp.column(f"c{place}", quoted=True)
        value = to_type(value if kind.kind == NULL else cast(value, kind.kind, column.type), column.type)
        projection.append(exp.alias_(value, column.name, quoted=True))
    return exp.select(*projection).from_(inner)


def _errors(query: Query, refused: Sequence[Refused | PlanError]) -> list[PlatformError]:
    found: dict[str, PlatformError] = {}
    for each in refused:
        if isinstance(each, PlanError):
            found[each.message] = PlanError(
                each.code, f"step {repr_name(query.name)}: {each.message}", at=query.at, hint=each.hint
            )
            continue
        found[each.what] = PlanError(
            "E_NOT_SUPPORTED",
            f"step {repr_name(query.name)} uses {each.what}, which is not certified for spark",
            at=_place(each.what, query),
            hint=each.why,
            notes=[f"engines that have it: {_ENGINES_THAT_CAN}"],
        )
    return list(found.values())


def _place(what: str, query: Query) -> Span | None:
    row = BY_NAME.get(what)
    names = [what, *((row.name, *row.aliases) if row is not None else ())]
    spans = (word_span(name, query.texts) for name in names)
    return next((span for span in spans if span is not None), None) or (
        query.texts[0].at if len(query.texts) == 1 else query.at
    )
