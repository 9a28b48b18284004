"""DuckDB's table functions over the files of a scan, every option given."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sqlglot import exp

from mlplatform.engines.duckdb.read_text import cast, text_type
from mlplatform.scan import CsvOptions, DataFile, FileScan, JsonOptions

NANOSECONDS = ("TIMESTAMP_NS", "TIMESTAMPTZ_NS")


def source(scan: FileScan, files: Sequence[DataFile], **more: exp.Expr) -> exp.Expr:
    """The table function over some files of the scan; `more` are further arguments."""
    return {"parquet": _parquet, "csv": _csv, "json": _json}[scan.format](scan, files, more)


def _parquet(scan: FileScan, files: Sequence[DataFile], more: Mapping[str, exp.Expr]) -> exp.Expr:
    if scan.is_uniform:
        return call("read_parquet", files, more)
    union = call("read_parquet", files, {"union_by_name": exp.true(), **more})
    # Joined by name to an empty relation that has every column: what no file has, reads as null.
    stored = {name.lower(): kind for name, kind in scan.stored}
    columns = [column for column in scan.schema if column.name not in scan.partition_columns]
    nulls = [
        exp.alias_(cast(exp.null(), column.type), column.name, quoted=True)
        for column in columns
        if stored.get(column.name.lower()) not in NANOSECONDS
    ]
    if not nulls:
        return union
    empty = exp.select(*nulls).where(exp.false())
    both = exp.Union(this=empty, expression=exp.select("*").from_(union), distinct=False, by_name=True)
    return both.subquery("files")


def _csv(scan: FileScan, files: Sequence[DataFile], more: Mapping[str, exp.Expr]) -> exp.Expr:
    options = scan.csv or CsvOptions()
    own = [column for column in scan.schema if column.name not in scan.partition_columns]
    names = files[0].columns or tuple(column.name for column in own)
    types = {column.name.lower(): text_type(column.type, options) for column in own}
    given: dict[str, exp.Expr] = {
        "auto_detect": exp.false(),
        "columns": struct({name: exp.Literal.string(types.get(name.lower(), "VARCHAR")) for name in names}),
        "delim": exp.Literal.string(options.delimiter),
        "quote": exp.Literal.string(options.quote),
        "escape": exp.Literal.string(options.escape),
        "header": exp.Boolean(this=options.header),
        "skip": exp.Literal.number(options.skip),
        "nullstr": exp.Array(expressions=[exp.Literal.string(value) for value in options.null_values]),
        "encoding": exp.Literal.string(options.encoding),
        "compression": exp.Literal.string(options.compression),
        "comment": exp.Literal.string(""),
        "strict_mode": exp.Boolean(this=not options.has_mixed_line_ends),
        "null_padding": exp.false(),
        "allow_quoted_nulls": exp.false(),
    }
    if options.timestamp_format is not None:
        given["timestampformat"] = exp.Literal.string(options.timestamp_format)
    if options.date_format is not None:
        given["dateformat"] = exp.Literal.string(options.date_format)
    return call("read_csv", files, {**given, **more})


_LAYOUTS = {"lines": "newline_delimited", "array": "array", "values": "unstructured"}


def _json(scan: FileScan, files: Sequence[DataFile], more: Mapping[str, exp.Expr]) -> exp.Expr:
    options = scan.json or JsonOptions()
    own = [column for column in scan.schema if column.name not in scan.partition_columns]
    given: dict[str, exp.Expr] = {
        "auto_detect": exp.false(),
        "columns": struct({column.name: exp.Literal.string(text_type(column.type, None)) for column in own}),
        "format": exp.Literal.string(_LAYOUTS[options.layout]),
        "records": exp.true(),
        # "none" is a word for it in read_csv only, before DuckDB 2.
        "compression": exp.Literal.string("uncompressed" if options.compression == "none" else options.compression),
    }
    return call("read_json", files, {**given, **more})


def call(function: str, files: Sequence[DataFile], more: Mapping[str, exp.Expr]) -> exp.Table:
    """A table function over files, with named arguments; paths are taken as they are."""
    paths = exp.Array(expressions=[exp.Literal.string(_literal_path(file.uri)) for file in files])
    named = [exp.EQ(this=exp.to_identifier(name), expression=value) for name, value in more.items()]
    return exp.Table(this=exp.Anonymous(this=function, expressions=[paths, *named]))


def struct(values: Mapping[str, exp.Expr]) -> exp.Struct:
    """A struct literal."""
    pairs = [exp.PropertyEQ(this=exp.Literal.string(name), expression=value) for name, value in values.items()]
    return exp.Struct(expressions=pairs)


def _literal_path(uri: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", uri)
