"""`mlp sql`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from mlplatform.cli.session import Session, guarded, print_json
from mlplatform.errors import PlanError, repr_name

if TYPE_CHECKING:
    from mlplatform.run.query import Result


@click.command("sql")
@click.argument("query")
@click.option(
    "--format", "style", type=click.Choice(["table", "json", "csv", "arrow"]), default="table", show_default=True
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=40, show_default=True, help="Rows shown by --format table."
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.pass_obj
@guarded
def sql_command(session: Session, query: str, style: str, limit: int, as_json: bool) -> None:
    """Ask the catalog's datasets; read-only."""
    workspace = session.workspace()
    try:
        _print(workspace.sql(query), "json" if as_json else style, limit)
    finally:
        workspace.clear_scratch()


def _print(result: Result, style: str, limit: int) -> None:
    match style:
        case "json":
            names, rows = result.rows()
            _check_names(names)
            print_json({"columns": names, "rows": [dict(zip(names, row, strict=True)) for row in rows]})
        case "csv":
            for line in result.csv_lines():
                click.echo(line)
        case "arrow":
            _print_arrow(result)
        case _:
            result.show(limit)


def _check_names(names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PlanError("E_COLUMN_COLLISION", f"two columns of the query have the name {repr_name(twice)}",
                        hint="name one of them with `as`: an object holds a name once")  # fmt: skip


def _print_arrow(result: Result) -> None:
    import pyarrow as pa

    table = result.to_arrow()
    with pa.ipc.new_stream(sys.stdout.buffer, table.schema) as stream:
        stream.write_table(table)
