"""Runs in Feast's own environment: a view of a Parquet file, put into Redis. `feast_store.py FOLDER REDIS`."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.repo_config import RepoConfig
from feast.types import Float64, Int64

FEATURES = 20


def main(folder: Path, address: str) -> None:
    """Register the view and fill the online store."""
    said = f"""
project: peer
registry: {folder}/registry.db
provider: local
online_store: {{type: redis, connection_string: "{address}"}}
offline_store: {{type: file}}
entity_key_serialization_version: 3
"""
    (folder / "feature_store.yaml").write_text(said)
    store = FeatureStore(repo_path=str(folder))
    assert isinstance(store.config, RepoConfig)
    row = Entity(name="row", join_keys=["id"])
    source = FileSource(path=str(folder / "rows.parquet"), timestamp_field="at")
    schema = [Field(name="id", dtype=Int64), *(Field(name=f"f{number}", dtype=Float64) for number in range(FEATURES))]
    view = FeatureView(name="rows", entities=[row], schema=schema, source=source, ttl=timedelta(days=3650))
    store.apply([row, view])
    store.materialize(datetime(2020, 1, 1, tzinfo=timezone.utc), datetime(2030, 1, 1, tzinfo=timezone.utc))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
