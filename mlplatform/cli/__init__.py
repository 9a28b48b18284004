"""`mlp`: parsing and printing, no logic."""

from mlplatform.cli.main import main

__all__ = ["main"]
