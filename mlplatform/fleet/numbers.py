"""Random numbers that are addressed, not drawn in a row: by seed, drive, stream and minute.

Only the raw output of the counter-based generator is used; what NumPy makes of it may change between releases.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def raw(seed: int, drive: int, stream: int, minute: int, count: int) -> npt.NDArray[np.uint64]:
    """Whole numbers of 64 bits; equal arguments give equal numbers, a larger `count` the same ones and more."""
    return np.random.Philox(key=[seed, drive], counter=[0, 0, stream, minute]).random_raw(count)


def noise(numbers: npt.NDArray[np.uint64], scale: float) -> Floats:
    """Numbers around 0, at most `scale` away, rarer the further away they are (a triangle)."""
    low = (numbers & np.uint64(0xFFFFFFFF)).astype(np.float64)
    high = (numbers >> np.uint64(32)).astype(np.float64)
    return (low + high) * (scale / 2**32) - scale
