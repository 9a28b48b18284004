"""The Spark SQL of a query, and which nodes of a plan are kept."""

from __future__ import annotations

from collections.abc import Mapping

from mlplatform.plan.nodes import Query
from mlplatform.types import Schema, to_spark


def spark_sql(query: Query, inputs: Mapping[str, Schema]) -> str:  # noqa: ARG001
    """The query as Spark SQL, its columns cast to the schema."""
    casts = [f"CAST(`{column.name}` AS {to_spark(column.type)}) AS `{column.name}`" for column in query.schema]
    return f"SELECT {', '.join(casts)} FROM ({query.tree.sql(dialect='spark')})"
