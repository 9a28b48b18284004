"""Hard brakes over ever more hours of driving, from the synthetic fleet; and how fast the fleet itself is made."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

from measure import BENCH, REPOSITORY, Measured, Side, mlp, once
from report import Listing, size_text
from tpch import clear

HOURS = (10, 100, 1000)
MEMORY = "3GiB"


def measure_brakes(hours: tuple[int, ...] = HOURS) -> Listing:
    """Drive-hours a second: they must not fall as the hours grow."""
    rows = []
    for count in hours:
        home = _prepared(count)
        fresh = partial(clear, home / "warehouse", home / ".mlp")
        run = once(Side(f"{count} hours", mlp("run", "--no-progress", str(home / "hard_brakes.yaml")), fresh))
        rows.append([f"{count:,} drive-hours", f"{count * 0.18:,.1f} million", *_cells(run, count)])
    return Listing(
        title="Hard brakes of a fleet, by hours of driving",
        about="[pipelines/hard_brakes.yaml](../pipelines/hard_brakes.yaml) over the speed of the "
        "[synthetic fleet](fleet.md), 50 samples a second, drives of one hour: rows that stand twice dropped, "
        f"differences across three rows, islands, the truth joined. Two threads and {MEMORY} for the engine; Parquet "
        "to Delta tables, start included. Wanted: it ends, and the hours a second stay.",
        columns=["fleet", "samples", "seconds", "CPU", "peak memory", "drive-hours a second"],
        rows=rows,
        repeat="make bench BENCH='--only brakes'",
    )


def measure_making(hours: int = 20) -> Listing:
    """Megabytes of Parquet that are written each second."""
    rows = []
    for name, streams in (("all streams", ()), ("`imu` alone", ("--streams", "imu"))):
        home = BENCH / "fleet" / "made"
        options = ("--seed", "7", "--drives", str(hours), "--minutes", "60", *streams)
        run = once(Side(name, mlp("fleet", "generate", str(home), *options), partial(clear, home)))
        stored, plain, count = _sizes(home)
        rows.append([
            name, f"{count / 1e6:.1f} million", f"{run.median_s:.1f} s", f"{run.cpu_s:.1f} s",
            size_text(run.peak_bytes), f"{stored / 1e6:,.0f} MB", f"{plain / 1e6:,.0f} MB",
            f"{plain / run.median_s / 1e6:.0f}", f"{plain / run.cpu_s / 1e6:.0f}",
        ])  # fmt: skip
        shutil.rmtree(home)
    return Listing(
        title="The synthetic fleet: how fast it is made",
        about=f"`mlp fleet generate`, {hours} drives of an hour, one process; Parquet as it is stored, with Snappy, "
        "and its pages before compression; megabytes (10⁶) a second are those of the pages. Wanted: 100.",
        columns=(
            "streams",
            "rows",
            "seconds",
            "CPU",
            "peak memory",
            "stored",
            "pages",
            "MB a second",
            "MB a CPU second",
        ),
        rows=rows,
        repeat="make bench BENCH='--only fleet'",
    )


def _cells(run: Measured, hours: int) -> list[str]:
    return [f"{run.median_s:.1f} s", f"{run.cpu_s:.1f} s", size_text(run.peak_bytes), f"{hours / run.median_s:.1f}"]


def _prepared(hours: int) -> Path:
    """A workspace with a fleet of so many drives of one hour, made once."""
    home = BENCH / "fleet" / str(hours)
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(REPOSITORY / "pipelines" / "hard_brakes.yaml", home)
    (home / "mlplatform.yaml").write_text(
        f"warehouse: warehouse\nengine: {{duckdb: {{memory_limit: {MEMORY}, threads: 2}}}}\n", encoding="utf-8"
    )
    data = home / "data" / "fleet"
    if not (data / "made").exists():
        options = ("--seed", "7", "--drives", str(hours), "--minutes", "60", "--streams", "can_speed")
        once(Side("data", mlp("fleet", "generate", str(data), *options)))
        (data / "made").touch()
    return home


def _sizes(home: Path) -> tuple[int, int, int]:
    """Bytes of the files, of their pages before compression, and rows; read in a process of its own."""
    code = (
        "import sys, pathlib, pyarrow.parquet as pq\n"
        "paths = list(pathlib.Path(sys.argv[1]).rglob('*.parquet'))\n"
        "found = [(path.stat().st_size, pq.read_metadata(path)) for path in paths]\n"
        "print(sum(size for size, _ in found),\n"
        "      sum(meta.row_group(n).total_byte_size for _, meta in found for n in range(meta.num_row_groups)),\n"
        "      sum(meta.num_rows for _, meta in found))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(home)], check=True, capture_output=True, text=True)
    stored, plain, rows = (int(word) for word in done.stdout.split())
    return stored, plain, rows
