"""Rows as Arrow IPC streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from serving.http.projection import Shape


def arrow_stream(table: pa.Table, shape: Shape) -> bytes:
    """The table's chosen columns as one stream."""
    import pyarrow as pa

    chosen = table if shape.columns is None else table.select(list(shape.columns))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, chosen.schema) as stream:
        stream.write_table(chosen)
    text: bytes = sink.getvalue().to_pybytes()
    return text


def read_stream(text: bytes) -> pa.Table:
    """The rows of a stream."""
    import pyarrow as pa

    with pa.ipc.open_stream(pa.py_buffer(text)) as stream:
        return stream.read_all()
