"""Spark's own golden files as values: the tables they make, their queries, and the types and rows that Spark answers.

A file is a list of blocks: a statement, its schema (`struct<name:type,…>`, empty where it failed), its output as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import sqlglot
from sqlglot import exp

_MAKES_TABLES = re.compile(r"(?i)\s*(create|insert|drop)\b")
_ASKS = re.compile(r"(?i)\s*(select|with|values|\()")


@dataclass(frozen=True, slots=True)
class Answer:
    """What Spark says to one query.

    Attributes:
        number: its place in its file, counted from 1 over all statements.
        types: one for each column; None where Spark refuses the query or fails.
        rows: each value as text, `NULL` for null; of nested values too.
        before: the statements that made its tables.
    """

    file: str
    number: int
    text: str
    types: tuple[str, ...] | None
    rows: tuple[tuple[str, ...], ...]
    before: tuple[str, ...]


def read_answers(path: Path) -> list[Answer]:
    """The answers of a file of results; statements that only set or describe something are left out."""
    blocks = path.read_text(encoding="utf-8").split("-- !query\n")[1:]
    answers: list[Answer] = []
    before: list[str] = []
    for number, block in enumerate(blocks, 1):
        text, _, rest = block.partition("\n-- !query schema\n")
        schema, _, output = rest.partition("\n-- !query output\n")
        if _MAKES_TABLES.match(text):
            before.append(text)
        elif _ASKS.match(text):
            types = None if schema == "struct<>" else tuple(_types(schema))
            rows = () if types is None else tuple(_rows(output))
            answers.append(Answer(path.name.removesuffix(".sql.out"), number, text, types, rows, tuple(before)))
    return answers


def _rows(output: str) -> Iterator[tuple[str, ...]]:
    body = output.rstrip("\n")
    return (tuple(line.split("\t")) for line in body.split("\n")) if body else iter(())


def _types(schema: str) -> Iterator[str]:
    """The types of `struct<name:type,…>` in our words; a name may hold brackets and commas of its own."""
    for column in _split(schema.removeprefix("struct<").removesuffix(">"), ","):
        yield re.sub(r"\barray<", "list<", list(_split(column, ":"))[-1])


def _split(text: str, mark: str) -> Iterator[str]:
    """The parts between marks outside of brackets; `<` is a bracket only after a type's name."""
    open_brackets: list[str] = []
    start = 0
    for place, letter in enumerate(text):
        if letter == "(" or (letter == "<" and text[:place].endswith(("struct", "array", "map"))):
            open_brackets.append(letter)
        elif open_brackets and open_brackets[-1] + letter in ("()", "<>"):
            open_brackets.pop()
        elif letter == mark and not open_brackets:
            yield text[start:place]
            start = place + 1
    yield text[start:]


def in_our_words(text: str) -> str | None:
    """Spark's query in DuckDB's dialect, tables in lower case; None where it cannot even be read.

    A cast stays a cast: Spark's reader of the translator takes it for one that gives null, as it was before ANSI mode.
    """
    try:
        tree = sqlglot.parse_one(text, dialect="spark")
    except sqlglot.ParseError:
        return None
    for cast in list(tree.find_all(exp.TryCast)):
        cast.replace(exp.Cast(**{name: value for name, value in cast.args.items() if name != "safe"}))
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier):
            table.this.set("this", table.name.lower())
    return tree.sql("duckdb")


def write_tables(before: tuple[str, ...], folder: Path) -> dict[str, Path]:
    """The tables that the statements make, each as a Parquet file."""
    files: dict[str, Path] = {}
    with duckdb.connect() as connection:
        for statement in before:
            for one in sqlglot.transpile(statement.replace("using parquet", ""), read="spark", write="duckdb"):
                connection.execute(one)
        names = connection.execute("SELECT table_name FROM information_schema.tables").fetchall()
        for (name,) in names:
            files[name.lower()] = folder / f"{name.lower()}.parquet"
            connection.execute(f"COPY (FROM \"{name}\") TO '{files[name.lower()]}'")
    return files
