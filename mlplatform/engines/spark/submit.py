"""The application for `spark-submit`: `mlp run --engine spark` inside a session that spark-submit made.

    spark-submit --master … --packages io.delta:delta-spark_4.2_2.13:4.4.0 \
        $(python -m mlplatform.engines.spark.submit --path) SPEC -p month=2

Arguments are those of `mlp run`. The packages are needed only where the spec reads Delta tables by delta-spark; without
them the pinned files of a table are read themselves, with the same rows.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def main(arguments: list[str]) -> None:
    """Run the command; it ends the process with the command's exit status."""
    if arguments == ["--path"]:
        print(Path(__file__).resolve())
        return
    command = importlib.import_module("mlplatform.cli").main  # by name: engines know nothing of the command line
    command(["run", "--engine", "spark", "--no-progress", *arguments])


if __name__ == "__main__":
    here = str(Path(__file__).resolve().parent)
    # Spark puts the script's folder first: modules of ours would stand for others of their names.
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != Path(here)]
    main(sys.argv[1:])
