"""What the Spark engine leaves in tables and files: the tests of the embedded engine's write modes, on Spark."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.services.runs import Runs
from tests.services.spark_runs import spark_runs
from tests.services.test_write_modes import (
    test_a_failed_run_says_what_it_committed,
    test_a_full_refresh_of_a_merged_table_keeps_the_new_rows_only,
    test_a_source_can_be_pinned_to_a_version,
    test_append_adds_each_load_once,
    test_exports_replace_one_file,
    test_merge_by_key_and_sequence,
    test_merge_refuses_keys_that_stand_twice,
    test_only_partitions_that_can_hold_a_row_are_read,
    test_overwrite_replaces_and_versions_stay,
    test_replace_partitions_touches_only_those_given,
    test_schema_policies,
)

__all__ = [
    "test_a_failed_run_says_what_it_committed",
    "test_a_full_refresh_of_a_merged_table_keeps_the_new_rows_only",
    "test_a_source_can_be_pinned_to_a_version",
    "test_append_adds_each_load_once",
    "test_exports_replace_one_file",
    "test_merge_by_key_and_sequence",
    "test_merge_refuses_keys_that_stand_twice",
    "test_only_partitions_that_can_hold_a_row_are_read",
    "test_overwrite_replaces_and_versions_stay",
    "test_replace_partitions_touches_only_those_given",
    "test_schema_policies",
]


pytestmark = pytest.mark.slow


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """A fresh workspace on Spark."""
    return spark_runs(tmp_path)
