"""The catalog's tables, as SQLAlchemy Core; a change here needs a migration beside it.

Times are UTC microseconds. Flags that say "latest" or "current" are derived: `write.refresh` makes them again from the
versions and runs, so the order in which records arrive does not matter.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, Table, Text

# Named constraints can be dropped by a migration on both databases.
metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


def _run_id(*, is_key: bool = True) -> Column[str]:
    return Column("run_id", Text, ForeignKey("run.run_id", ondelete="CASCADE"), primary_key=is_key, nullable=False)


def _dataset_id(*, is_key: bool = True) -> Column[int]:
    reference = ForeignKey("dataset.id", ondelete="CASCADE")
    return Column("dataset_id", Integer, reference, primary_key=is_key, nullable=False)


dataset = Table(
    "dataset",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("table_id", Text),  # Delta's id: a table made anew under an old name has another one
    Column("uri", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("description", Text),
    Column("latest_version", BigInteger),
    Column("problem", Text),  # why the table cannot be read, if it cannot
    Column("deleted_us", BigInteger),
)

dataset_version = Table(
    "dataset_version",
    metadata,
    _dataset_id(),
    Column("version", BigInteger, primary_key=True),
    Column("committed_us", BigInteger),
    Column("run_id", Text, index=True),  # no foreign key: the log may name a run that was never recorded
    Column("mode", Text),
    Column("spec_hash", Text),
    Column("load_id", Text),
    Column("schema", Text),  # of dataset_column; None where unknown
    Column("partition_by", JSON, nullable=False),
    # the whole table at this version, None where unknown …
    Column("rows", BigInteger),
    Column("bytes", BigInteger),
    Column("files", BigInteger),
    # … and what this commit added
    Column("rows_written", BigInteger),
    Column("bytes_written", BigInteger),
    Column("files_written", BigInteger),
)

# Versions that have the same columns share them: `schema` is the fingerprint of all rows of one schema.
dataset_column = Table(
    "dataset_column",
    metadata,
    Column("schema", Text, primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("nullable", Boolean, nullable=False),
    Column("description", Text),
)

run = Table(
    "run",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("pipeline", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("engine", Text, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger),
    Column("seconds", Float),
    Column("spec_path", Text, nullable=False),
    Column("spec_text", Text, nullable=False),
    Column("spec_hash", Text, nullable=False),
    Column("params", JSON, nullable=False),
    Column("owner", Text),
    Column("tags", JSON, nullable=False),
    Column("description", Text),
    Column("errors", JSON, nullable=False),
    Column("usage", JSON, nullable=False),
    Index(None, "pipeline", "started_us"),
    Index(None, "started_us"),
)

step_run = Table(
    "step_run",
    metadata,
    _run_id(),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("rows_out", BigInteger),
    Column("seconds", Float),
)

run_input = Table(
    "run_input",
    metadata,
    _run_id(),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("dataset", Text, index=True),
    Column("version", BigInteger),
    Column("files", BigInteger),
    Column("rows", BigInteger),
    Column("size_bytes", BigInteger),
)

run_output = Table(
    "run_output",
    metadata,
    _run_id(),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("dataset", Text, nullable=False, index=True),
    Column("uri", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("version", BigInteger),
    Column("rows_written", BigInteger, nullable=False),
    Column("rows_quarantined", BigInteger, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("skipped", Boolean, nullable=False),
    Column("description", Text),
    Column("owner", Text),
    Column("tags", JSON, nullable=False),
    Column("partition_by", JSON, nullable=False),
    Column("schema", Text),
    Column("table_rows", BigInteger),
    Column("table_files", BigInteger),
    Column("table_bytes", BigInteger),
)

# A column of a dataset or source, numbered: a walk over numbers is several times as fast as one over names.
lineage_node = Table(
    "lineage_node",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("name", Text, nullable=False),
    Index(None, "dataset", "name", unique=True),
)

lineage_edge = Table(
    "lineage_edge",
    metadata,
    Column("id", Integer, primary_key=True),
    _run_id(is_key=False),
    Column("output_id", Integer, ForeignKey("lineage_node.id"), nullable=False),
    Column("input_id", Integer, ForeignKey("lineage_node.id"), nullable=False),
    Column("input_version", BigInteger),
    Column("kind", Text, nullable=False),
    Column("subtype", Text, nullable=False),
    Column("opaque", Boolean, nullable=False),
    Column("is_current", Boolean, nullable=False),  # of the run that made the output what it is now
    Index(None, "output_id", "is_current", "input_id"),
    Index(None, "input_id", "is_current", "output_id"),
    Index(None, "run_id", "output_id"),
)

owner = Table(
    "owner",
    metadata,
    Column("object_kind", Text, primary_key=True),  # dataset | pipeline
    Column("object", Text, primary_key=True),
    Column("name", Text, nullable=False),
)

tag = Table(
    "tag",
    metadata,
    Column("object_kind", Text, primary_key=True),
    Column("object", Text, primary_key=True),
    Column("tag", Text, primary_key=True),
)

# What a dataset is found by, in lower case, one row for each kind of thing: 10,000 datasets of 100 columns are searched
# in 20,000 short texts instead of a million rows.
search_text = Table(
    "search_text",
    metadata,
    _dataset_id(),
    Column("field", Text, primary_key=True),  # name | description | owner | tag | column | comment
    Column("text", Text, nullable=False),
)

# --- serving: what was published; the pack store holds the packs themselves and says which one is current -------------

pack = Table(
    "pack",
    metadata,
    Column("dataset", Text, primary_key=True),
    Column("pack_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # ready | failed
    Column("rows", BigInteger),
    Column("bytes", BigInteger),
    Column("seconds", Float),
    Column("at_us", BigInteger, nullable=False),
    Column("error", Text),
    Index(None, "dataset", "version"),
)

pack_announcement = Table(
    "pack_announcement",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("pack_id", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),  # publish | rollback | release
    Column("held", Boolean, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Index(None, "dataset", "sequence"),
)

pack_pin = Table(
    "pack_pin",
    metadata,
    Column("dataset", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("pack_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("pinned_us", BigInteger, nullable=False),
    Column("until_us", BigInteger),
)

serving_audit = Table(
    "serving_audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("details", JSON, nullable=False),
    Index(None, "object", "at_us"),
)

serving_tenant = Table(
    "serving_tenant",
    metadata,
    Column("id", Text, primary_key=True),
    Column("terms", JSON, nullable=False),  # grants, rates, limits; no token
    Column("changed_us", BigInteger, nullable=False),
)

serving_token = Table(
    "serving_token",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, ForeignKey("serving_tenant.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("sha256", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("used_us", BigInteger),
)
