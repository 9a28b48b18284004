"""A synthetic fleet: logs of vehicles with planted events and faults, whose truth is known in closed form.

The rows follow from the seed alone: every number comes from a counter that is addressed by seed, drive, stream and
minute, so any split of the work makes the same rows. See docs/fleet.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlplatform.errors import UsageError
from mlplatform.fleet.design import MORE_STREAMS, STREAMS, Fleet, Written

__all__ = ["MORE_STREAMS", "STREAMS", "Fleet", "Written", "generate"]


def generate(
    fleet: Fleet, target: str | Path, *, streams: Sequence[str] = STREAMS, part: tuple[int, int] = (1, 1)
) -> list[Written]:
    """Write the fleet's tables as Parquet files below `target`, one folder a table; what was written.

    Args:
        fleet: what to make.
        target: folder; files of the same fleet and part are replaced, others stay.
        streams: which of `STREAMS` and `MORE_STREAMS` to write; `drives`, `coverage` and tables of truth are written
            in any case.
        part: (k, n) writes the k-th of n parts, from 1; together the parts hold the rows of one whole call.
    Raises: UsageError: E_EXTRA_MISSING without NumPy, E_USAGE for an unknown stream or part.
    """
    try:
        import numpy  # noqa: F401  (only whether it is there)
    except ImportError as error:
        raise UsageError(
            "E_EXTRA_MISSING", "the fleet is made with NumPy, which is not installed",
            hint='pip install "mlplatform[fleet]"',
        ) from error  # fmt: skip
    from mlplatform.fleet.write import write_fleet

    return write_fleet(fleet, Path(target), tuple(streams), part)
