"""TPC-H's tables as Parquet files, made once for each scale."""

from __future__ import annotations

import sys
from pathlib import Path

from measure import BENCH, make

TABLES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")


def tpch_home(scale: float, tables: tuple[str, ...] = TABLES) -> Path:
    """The folder of a scale; `data` in it holds a folder of files for each of the tables."""
    home = BENCH / f"tpch-{scale:g}"
    missing = [table for table in tables if not (home / "made" / table).exists()]
    if missing:
        generator = Path(sys.executable).with_name("tpchgen-cli")
        make(str(generator), "parquet", "--scale-factor", f"{scale:g}", "--parts", "4", "--tables", ",".join(missing),
             "--overwrite", "--quiet", "--output-dir", str(home / "data"))  # fmt: skip
    if (home / "made").is_file():  # an older layout of this folder
        (home / "made").unlink()
    (home / "made").mkdir(parents=True, exist_ok=True)
    for table in missing:
        (home / "made" / table).touch()
    return home
