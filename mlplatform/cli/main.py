"""The `mlp` command: its commands by name, each loaded only when it is called."""

from __future__ import annotations

import click

from mlplatform.cli.lazy import LazyGroup
from mlplatform.cli.session import Session

_COMMANDS: dict[str, str] = {
    "init": "mlplatform.cli.start:init_command",
    "validate": "mlplatform.cli.pipeline:validate_command",
    "plan": "mlplatform.cli.pipeline:plan_command",
    "run": "mlplatform.cli.pipeline:run_command",
    "test": "mlplatform.cli.pipeline:test_command",
    "verify": "mlplatform.cli.engines:verify_command",
    "render": "mlplatform.cli.pipeline:render_command",
    "sql": "mlplatform.cli.query:sql_command",
    "catalog": "mlplatform.cli.catalog:catalog_group",
    "lineage": "mlplatform.cli.catalog:lineage_command",
    "runs": "mlplatform.cli.catalog:runs_command",
    "serve": "mlplatform.cli.serve:serve_group",
    "fleet": "mlplatform.cli.fleet:fleet_group",
    "schema": "mlplatform.cli.start:schema_command",
    "doctor": "mlplatform.cli.doctor:doctor_command",
}


class _Commands(LazyGroup):
    places = _COMMANDS


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--environment", help="Environment of mlplatform.yaml to use.")
@click.version_option(package_name="mlplatform")
@click.pass_context
def main(context: click.Context, environment: str | None) -> None:
    """One YAML spec: typed before it runs, the same rows on every engine."""
    context.obj = Session(environment)
