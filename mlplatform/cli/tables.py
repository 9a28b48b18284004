"""Rows printed as a table, and numbers, sizes and times as people read them."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence

import click

from mlplatform.spec.durations import size_text

_NOTHING = "-"


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str | None]], *, right: Collection[str] = ()) -> None:
    """Print rows under their headers: plain aligned text, or drawn by rich on a terminal.

    Args:
        headers: one for each cell of a row.
        rows: cells; None prints as a dash.
        right: headers of the columns that are aligned to the right.
    """
    cells = [[_NOTHING if cell is None else cell for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(headers, cells, right)
    else:
        for line in plain_lines(headers, cells, right=right):
            click.echo(line)


def plain_lines(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()) -> list[str]:
    """The table as lines without trailing blanks; line breaks inside a cell become blanks."""
    table = [list(headers), *[[" ".join(cell.split()) for cell in row] for row in rows]]
    widths = [max(len(row[number]) for row in table) for number in range(len(headers))]
    return [
        "  ".join(
            cell.rjust(width) if header in right else cell.ljust(width)
            for cell, width, header in zip(row, widths, headers, strict=True)
        ).rstrip()
        for row in table
    ]


def _print_rich(headers: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for header in headers:
        table.add_column(header, justify="right" if header in right else "left", overflow="fold")
    for row in rows:
        # Text, since a cell may hold what rich takes for markup: `list[int]`.
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def print_pairs(pairs: Iterable[tuple[str, str | None]]) -> None:
    """Print names and values under each other; pairs whose value is None are left out."""
    shown = [(name, value) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"{name.ljust(width)}  {value}")


def count_text(count: int | None) -> str | None:
    """A number with its thousands set apart.

    >>> count_text(1234567)
    '1,234,567'
    """
    return None if count is None else f"{count:,}"


def bytes_text(size_bytes: int | None) -> str | None:
    """A size, where there is one."""
    return None if size_bytes is None else size_text(size_bytes)


def time_text(iso: str | None) -> str | None:
    """A UTC time to the second.

    >>> time_text("2026-11-05T10:00:02.500000+00:00")
    '2026-11-05 10:00:02Z'
    """
    return None if iso is None else f"{iso[:10]} {iso[11:19]}Z"


def seconds_text(seconds: float | None) -> str | None:
    """A duration in seconds.

    >>> seconds_text(2.5)
    '2.5 s'
    """
    return None if seconds is None else f"{seconds:.1f} s"
