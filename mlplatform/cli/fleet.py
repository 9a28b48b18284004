"""`mlp fleet`: a synthetic fleet to try things on."""

from __future__ import annotations

import re
import time as clock
from pathlib import Path
from typing import Literal

import click

from mlplatform.cli.session import guarded
from mlplatform.cli.tables import bytes_text, count_text, print_table
from mlplatform.errors import UsageError


@click.group("fleet")
def fleet_group() -> None:
    """Synthetic logs of vehicles, with planted events whose truth is known."""


@fleet_group.command("generate")
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--seed", default=0, show_default=True, help="Every number follows from it.")
@click.option("--drives", default=20, show_default=True, help="Count of logs.")
@click.option("--minutes", default=2, show_default=True, help="Length of each.")
@click.option(
    "--time", type=click.Choice(["ns", "timestamp"]), default="ns", show_default=True,
    help="Times as bigint of nanoseconds, or as timestamps.",
)  # fmt: skip
@click.option("--streams", help="Streams to write, with commas between; default all but `approaches`.")
@click.option("--part", default="1/1", show_default=True, help="2/5 writes the second of five parts.")
@guarded
def generate_command(
    out: Path, seed: int, drives: int, minutes: int, time: Literal["ns", "timestamp"], streams: str | None, part: str
) -> None:
    """Write the tables of a fleet below OUT as Parquet files, one folder a table."""
    from mlplatform.fleet import STREAMS, Fleet, generate

    wanted = [name.strip() for name in streams.split(",") if name.strip()] if streams else STREAMS
    fleet = Fleet(seed=seed, drives=drives, minutes=minutes, time=time)
    began = clock.perf_counter()
    written = generate(fleet, out, streams=wanted, part=_part(part))
    rows = [(each.table, str(len(each.files)), count_text(each.rows), bytes_text(each.size_bytes)) for each in written]
    print_table(("table", "files", "rows", "size"), rows, right=("files", "rows", "size"))
    click.echo(f"{sum(each.rows for each in written):,} rows in {clock.perf_counter() - began:.1f} s in {out}")


def _part(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None:
        raise UsageError("E_USAGE", f'"{text}" is no part', hint="write 1/4 for the first of four")
    return int(found[1]), int(found[2])
