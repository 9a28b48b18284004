"""A group of commands by name, each loaded only when it is called."""

from __future__ import annotations

import importlib

import click


class LazyGroup(click.Group):
    """A group whose class attribute `places` says where each command stands, as `module:attribute`."""

    places: dict[str, str] = {}  # noqa: RUF012  (each group gives its own, none changes it)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's signature)
        """The names in the order of `places`."""
        return list(self.places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  (click's)
        """Load a command; None for a name that there is not."""
        if cmd_name not in self.places:
            return None
        module, _, attribute = self.places[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command
