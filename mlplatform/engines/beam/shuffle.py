"""Rows on their way between stages: Arrow tables as bytes, and split by the hash of their keys."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


def encode(table: pa.Table) -> bytes:
    """A table as one Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def decode(data: bytes | memoryview) -> pa.Table:
    """The table that `encode` wrote."""
    return pa.ipc.open_stream(pa.py_buffer(data)).read_all()


def tagged(position: int, table: pa.Table) -> bytes:
    """A table of a stage's input at `position`, in the form in which an exchange carries it."""
    return position.to_bytes(2, "big") + encode(table)


def untagged(data: bytes) -> tuple[int, pa.Table]:
    """The position and the table of `tagged`."""
    return int.from_bytes(data[:2], "big"), decode(memoryview(data)[2:])


def parted(numbered: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """Rows by bucket, for each bucket that has rows.

    Args:
        numbered: rows with their bucket's number as the last column, a smallint: so sorting is cheap.
    """
    numbers = numbered.column(numbered.num_columns - 1).to_numpy()
    order = np.argsort(numbers, kind="stable")
    sorted_rows = numbered.select(range(numbered.num_columns - 1)).take(pa.array(order))
    ordered = numbers[order]
    starts = [0, *(np.flatnonzero(np.diff(ordered)) + 1)] if len(ordered) else []
    for start, end in zip(starts, [*starts[1:], len(ordered)], strict=True):
        yield int(ordered[start]), sorted_rows.slice(start, end - start)
