"""`mlp init` and `mlp schema`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import click

from mlplatform.cli.session import guarded

_FILES = ("mlplatform.yaml", "pipelines/first.yaml", "data/trips.csv", ".gitignore")


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
@guarded
def init_command(folder: Path) -> None:
    """Make a workspace. It gets mlplatform.yaml, a first pipeline with its data, and a first test."""
    template = resources.files("mlplatform.cli") / "template"
    for name in _FILES:
        target = folder / name
        if target.exists():
            click.echo(f"kept     {target}")
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        source = template.joinpath(*name.replace(".gitignore", "gitignore").split("/"))
        target.write_bytes(source.read_bytes())
        click.echo(f"created  {target}")
    _write_schema(folder / "spec.schema.json")
    click.echo(f"next: mlp test {folder / 'pipelines/first.yaml'} && mlp run {folder / 'pipelines/first.yaml'}")


def _write_schema(target: Path) -> None:
    """The language's JSON Schema, which the first line of a spec points editors to."""
    target.write_bytes((resources.files("mlplatform.spec") / "spec.schema.json").read_bytes())
    click.echo(f"created  {target}")


@click.command("schema")
@guarded
def schema_command() -> None:
    """Print the JSON Schema of the spec language."""
    import json

    from connectors.registry import OptionClasses, connectors
    from mlplatform.spec.schema import json_schema

    click.echo(json.dumps(json_schema(OptionClasses(connectors())), indent=2, ensure_ascii=False))
