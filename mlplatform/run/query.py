"""SQL over the warehouse: read-only, at the datasets' present versions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from mlplatform.duckdb_session import connect, run_error, streamed_error
from mlplatform.engines.duckdb.read import relation
from mlplatform.errors import PlanError, SourceError, Span, did_you_mean, listed, repr_name
from mlplatform.limits import Limits
from mlplatform.plan.bind import bind_error
from mlplatform.plan.portable import check_portable
from mlplatform.plan.sqltext import tables_of
from mlplatform.run.sources import dataset_uri, datasets_in
from mlplatform.spec.located import Located
from mlplatform.tables.snapshot import open_snapshot

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

_SHOWN_ROWS = 40
_CSV_ROWS = 10_000
_QUOTED = re.compile(r'[",\r\n]')


@dataclass(frozen=True, slots=True)
class Result:
    """A query that runs when its rows are asked for."""

    query: str
    warehouse: str
    limits: Limits

    def to_arrow(self) -> pa.Table:
        """All rows as an Arrow table."""
        with self.opened() as relation_:
            return relation_.to_arrow_table()

    def to_pandas(self) -> pd.DataFrame:
        """All rows as a pandas frame (pandas must be installed)."""
        frame: pd.DataFrame = self.to_arrow().to_pandas()
        return frame

    def to_polars(self) -> pl.DataFrame:
        """All rows as a polars frame (polars must be installed)."""
        import polars as pl

        frame = pl.from_arrow(self.to_arrow())
        assert isinstance(frame, pl.DataFrame)
        return frame

    def rows(self) -> tuple[list[str], list[tuple[Any, ...]]]:  # Any: Python values of the columns
        """Column names, and all rows as tuples."""
        with self.opened() as relation_:
            return list(relation_.columns), relation_.fetchall()

    def csv_lines(self) -> Iterator[str]:
        """The rows as CSV with a header, values as exported files hold them: null is nothing, empty text is `""`."""
        with self.opened() as relation_:
            yield ",".join(map(_csv_field, relation_.columns))
            texts = relation_.project("CAST(COLUMNS(*) AS VARCHAR)").to_arrow_reader(_CSV_ROWS)
            try:
                for batch in texts:
                    for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                        yield ",".join("" if text is None else _csv_field(text) for text in row)
            except OSError as error:
                raise streamed_error(error) from error

    def show(self, limit: int = _SHOWN_ROWS) -> None:
        """Print the first rows."""
        with self.opened() as relation_:
            print(relation_.limit(limit))

    def _repr_html_(self) -> str:
        with self.opened() as relation_:
            names = list(relation_.columns)
            rows = relation_.limit(_SHOWN_ROWS + 1).fetchall()
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row) + "</tr>" for row in rows[:_SHOWN_ROWS]
        )
        more = f"<p>first {_SHOWN_ROWS} rows</p>" if len(rows) > _SHOWN_ROWS else ""
        return f"<table><tr>{head}</tr>{body}</table>{more}"

    @contextmanager
    def opened(self) -> Iterator[duckdb.DuckDBPyRelation]:
        """The bound relation on a connection that ends with the block.

        Raises: PlanError E_SQL, E_SQL_FORBIDDEN, E_COLUMN_MISSING; SourceError E_DATASET_MISSING; EngineError.
        """
        text = Located(self.query, Span("query", 1, 1, 1, self.query.split("\n")[0]))
        tree = _parsed(text)
        with connect(self.limits) as connection:
            connection.execute("SET preserve_insertion_order = true")
            known = [column for name in tables_of(tree) for column in self._view(connection, name, text)]
            try:
                yield connection.sql(tree.sql("duckdb"))
            except duckdb.BinderException as error:
                raise bind_error(
                    error, step=Located("query", text.at), texts=[text], known=list(dict.fromkeys(known))
                ) from error
            except duckdb.Error as error:
                raise run_error(error, "running the query") from error

    def _view(self, connection: duckdb.DuckDBPyConnection, name: str, text: Located) -> tuple[str, ...]:
        """Define a dataset as a view; gives its columns."""
        schema, _, dataset = name.partition(".")
        snapshot = (
            open_snapshot(dataset_uri(self.warehouse, name), name=name) if dataset and "." not in dataset else None
        )
        if snapshot is None:
            known = datasets_in(self.warehouse)
            raise SourceError("E_DATASET_MISSING", f"there is no dataset {repr_name(name)}", at=text.at,
                              hint=did_you_mean(name, known), notes=[f"datasets: {listed(known)}"])  # fmt: skip
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {exp.to_identifier(schema, quoted=True).sql('duckdb')}")
        connection.execute(f"CREATE VIEW {table_sql(name)} AS {relation(snapshot.scan()).sql('duckdb')}")
        return snapshot.schema.names


def _csv_field(text: str) -> str:
    """The text, in quotes where it must be."""
    return '"' + text.replace('"', '""') + '"' if not text or _QUOTED.search(text) else text


def table_sql(name: str) -> str:
    """A dotted name with each part quoted."""
    return ".".join(exp.to_identifier(part, quoted=True).sql("duckdb") for part in name.split("."))


def _parsed(text: Located) -> exp.Query:
    try:
        trees = sqlglot.parse(text, dialect="duckdb")
    except SqlglotError as error:
        raise PlanError("E_SQL", f"the query cannot be parsed: {str(error).splitlines()[0]}") from error
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise PlanError("E_SQL_FORBIDDEN", "`mlp sql` takes one SELECT and changes nothing")
    check_portable(trees[0], text)
    return trees[0]
