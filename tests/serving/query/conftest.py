"""Queries in SQL are refused on DuckDB 1 (Python 3.10), whose trees are others (docs/serving/queries.md)."""

from __future__ import annotations

import duckdb

collect_ignore_glob = ["test_*.py"] if int(duckdb.__version__.partition(".")[0]) < 2 else []
