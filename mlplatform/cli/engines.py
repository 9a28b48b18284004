"""`mlp verify`: one spec on several engines."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mlplatform.cli.session import (
    Session,
    guarded,
    json_option,
    parameters,
    params_option,
    print_json,
    spec_argument,
)


@click.command("verify")
@spec_argument
@params_option
@click.option("--engines", required=True, metavar="A,B,…", help="Engines to compare; the others are held to the first.")
@click.option(
    "--sample",
    type=click.IntRange(min=0),
    default=100_000,
    show_default=True,
    metavar="ROWS",
    help="A source of more rows is cut to about so many, by hash of what it is joined on; 0 takes all.",
)
@click.option("--step", "steps", multiple=True, metavar="STEP", help="Compare this step too; '*' for all.")
@json_option
@click.pass_obj
@guarded
def verify_command(
    session: Session, spec: Path, params: tuple[str, ...], engines: str, sample: int, steps: tuple[str, ...],
    as_json: bool,
) -> None:  # fmt: skip
    """Run a sample on each engine into scratch warehouses and compare rows and types; ends with 1 on a difference."""
    names = [name.strip() for name in engines.split(",") if name.strip()]
    if len(set(names)) < 2:
        raise click.BadParameter("name two engines or more, with commas between", param_hint="--engines")
    found = session.workspace(spec).verify(spec, names, sample=sample, steps=steps, params=parameters(params))
    if as_json:
        print_json(found.as_dict())
    else:
        click.echo(str(found))
    if not found.is_same:
        sys.exit(1)
