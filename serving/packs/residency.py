"""Which part of a file is in memory, from a sample of its pages."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from pathlib import Path


def resident_part(path: Path, samples: int, draw: Callable[[], float]) -> float:
    """The part of the sampled pages that is in memory; 1 where the system does not tell or the file is gone.

    Args:
        draw: numbers from 0 (included) to 1 (excluded).
    """
    import pyarrow as pa

    try:
        mincore = ctypes.CDLL(None, use_errno=True).mincore
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            # A view of the mapping tells where it lies; no byte of it is read.
            view = pa.py_buffer(mapped)
            count = -(-view.size // mmap.PAGESIZE)
            vector = (ctypes.c_ubyte * 1)()
            found = 0
            for _ in range(samples):
                address = ctypes.c_void_p(view.address + int(draw() * count) * mmap.PAGESIZE)
                is_known = mincore(address, ctypes.c_size_t(mmap.PAGESIZE), vector) == 0
                found += not is_known or bool(vector[0] & 1)
            del view
    except (AttributeError, OSError, ValueError):  # no such call, no such file, an empty file
        return 1.0
    return found / samples
