"""Migrations make the models' tables, up and down, and refuse what they do not know."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql

from mlplatform.catalog import migrate as migrations
from mlplatform.catalog.connect import connect, creating, reading
from mlplatform.catalog.migrate import HEAD, downgrade, migrate, revision
from mlplatform.catalog.models import metadata
from mlplatform.catalog.store import open_catalog
from mlplatform.errors import CatalogError


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/state/catalog.db"


def test_upgrade_makes_exactly_the_models_tables(url: str) -> None:
    engine = connect(url)
    assert migrate(engine) is True
    assert migrate(engine) is False
    with reading(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert revision(connection) == HEAD
    engine.dispose()


def test_down_and_up_again(url: str) -> None:
    engine = connect(url)
    migrate(engine)
    downgrade(engine, "base")
    with reading(engine) as connection:
        assert sa.inspect(connection).get_table_names() == ["alembic_version"]
    migrate(engine)
    with reading(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_head_is_the_newest_script() -> None:
    assert ScriptDirectory.from_config(migrations._config()).get_current_head() == HEAD


def test_migrations_are_package_data() -> None:
    folder = files("mlplatform.catalog") / "migrations"
    assert (folder / "env.py").is_file()
    assert (folder / "script.py.mako").is_file()
    assert any(part.name.startswith(HEAD) for part in (folder / "versions").iterdir())


def test_a_catalog_of_a_newer_release_is_refused_and_left_alone(url: str) -> None:
    open_catalog(url, journal=None).close()
    engine = connect(url)
    with creating(engine) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(CatalogError) as caught:
        open_catalog(url, journal=None)
    assert caught.value.code == "E_CATALOG"
    assert f"is at revision 9999; this release knows up to {HEAD}" in caught.value.message
    assert "upgrade mlplatform" in str(caught.value.hint)
    with reading(engine) as connection:
        assert revision(connection) == "9999"
    engine.dispose()


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(CatalogError) as caught:
        open_catalog(f"sqlite:///{tmp_path}/catalog.db", journal=None)
    assert caught.value.code == "E_CATALOG"
    assert "mlp catalog sync" in str(caught.value.hint)


@pytest.mark.parametrize("url", ["nonsense", "oracle9://host/db", ""])
def test_urls_that_cannot_be_used(url: str) -> None:
    with pytest.raises(CatalogError) as caught:
        open_catalog(url, journal=None)
    assert caught.value.code == "E_CATALOG"
    assert "sqlite:///" in str(caught.value.hint)


def test_an_up_to_date_catalog_opens_without_alembic(url: str) -> None:
    open_catalog(url, journal=None).close()
    code = (
        "import sys; from mlplatform.catalog.store import open_catalog; "
        f"open_catalog({url!r}, journal=None).close(); print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_sqlite_is_set_up_for_many_processes(url: str) -> None:
    engine = connect(url)
    migrate(engine)
    with reading(engine) as connection:
        settings = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "busy_timeout", "foreign_keys")
        ]
    assert settings == ["wal", 5000, 1]
    engine.dispose()


def test_the_tables_can_be_made_on_postgres() -> None:
    texts = [
        str(sa.schema.CreateTable(table).compile(dialect=postgresql.dialect())) for table in metadata.sorted_tables
    ]
    assert len(texts) == len(metadata.tables)


def test_a_catalog_in_memory() -> None:
    with open_catalog("sqlite://", journal=None) as catalog:
        assert catalog.datasets() == ()
