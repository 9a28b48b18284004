"""Brings the catalog's tables to this release."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mlplatform.catalog.connect import creating, reading
from mlplatform.errors import CatalogError

if TYPE_CHECKING:
    from alembic.config import Config

# The newest file of migrations/versions; a test keeps it true. Alembic costs most of a second to load, so an up-to-date
# catalog must be told without it.
HEAD = "0003"


def migrate(engine: sa.Engine) -> bool:
    """Make or upgrade the tables; safe when several processes do it at once. True when there were none before.

    Raises: CatalogError E_CATALOG when the catalog is damaged, out of reach, or of a newer release.
    """
    with reading(engine) as connection:
        found = revision(connection)
    if found == HEAD:
        return False
    from alembic import command  # before the lock: others wait for it

    config = _config()
    with creating(engine) as connection:
        found = revision(connection)
        if found == HEAD:
            return False
        _check_known(config, engine, found)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return found is None


def downgrade(engine: sa.Engine, to: str) -> None:
    """Take the tables back to an older revision; `base` drops them all."""
    from alembic import command

    config = _config()
    with creating(engine) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, to)


def revision(connection: sa.Connection) -> str | None:
    """The revision that the database is at, None for an empty one."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version = sa.table("alembic_version", sa.column("version_num", sa.Text))
    found: str | None = connection.scalar(sa.select(version.c.version_num))
    return found


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return config


def _check_known(config: Config, engine: sa.Engine, found: str | None) -> None:
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise CatalogError(
            "E_CATALOG",
            f"the catalog {engine.url.render_as_string()} is at revision {found}; this release knows up to {HEAD}",
            hint="upgrade mlplatform, or name another `catalog` in mlplatform.yaml",
        )
