"""Alembic's entry: runs on the connection, and inside the transaction, that `migrate` opened."""

from __future__ import annotations

from alembic import context

from mlplatform.catalog.models import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
