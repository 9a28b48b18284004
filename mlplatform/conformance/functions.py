"""Python functions that the cases call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def double(batch: pa.RecordBatch) -> pa.RecordBatch:
    """`v` twice, `k` as it is; it minds neither nulls nor an empty batch."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pa.RecordBatch.from_arrays([batch["k"], pc.multiply(batch["v"], 2)], names=["k", "v"])


def each_twice(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Every batch two times: more rows come out than went in."""
    for batch in batches:
        yield batch
        yield batch


def nothing(batch: pa.RecordBatch) -> None:
    """No row, whatever comes."""


def fail_at_two(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Raises ValueError for a batch with `v` = 2."""
    if 2 in batch["v"].to_pylist():
        message = "two"
        raise ValueError(message)
    return batch


def wrong_type(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A text where a whole number was declared."""
    import pyarrow as pa

    return pa.RecordBatch.from_arrays([batch["k"], batch["k"]], names=["k", "v"])


class Offset:
    """Adds what `setup` decided, so that a worker without setup would fail."""

    def setup(self) -> None:
        """Once on each worker."""
        self.offset = 100

    def process(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """`v` + 100."""
        import pyarrow as pa
        import pyarrow.compute as pc

        return pa.RecordBatch.from_arrays([batch["k"], pc.add(batch["v"], self.offset)], names=["k", "v"])
