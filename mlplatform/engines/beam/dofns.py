"""What runs on workers: one DoFn for each way in which rows come to a stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics.metric import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from mlplatform.engines.beam.kernel import Fault, Kernel
from mlplatform.engines.beam.programs import Program, Split
from mlplatform.engines.beam.shipping import with_modules
from mlplatform.engines.beam.shuffle import decode, encode, parted, tagged, untagged
from mlplatform.engines.beam.write import copy_rows, write_manifest
from mlplatform.engines.duckdb.read_faults import source_error
from mlplatform.engines.functions import apply, load_function, made
from mlplatform.engines.pinned import check_unchanged
from mlplatform.engines.worker_errors import carried
from mlplatform.plan.nodes import Function, Source
from mlplatform.scan import FileScan

METRICS = "mlplatform"
_FLUSH_BYTES = 256 << 20
_BATCH_ROWS = 65_536

Keyed = tuple[int, bytes]
Rows = Any  # Any: an Arrow table or, of a stage that writes, the report of its files


class Stage:
    """A program and its kernel on one worker; `broadcast` inputs are loaded once."""

    def __init__(self, program: Program, broadcast: tuple[int, ...] = ()) -> None:
        self.program, self.broadcast = program, broadcast
        self.kernel: Kernel | None = None
        self._is_loaded, self._writes = False, 0

    def open(self) -> Kernel:
        """The kernel, opened where it is not."""
        if self.kernel is None:
            self.kernel = Kernel(self.program)
        return self.kernel

    def close(self) -> None:
        """Close the kernel."""
        if self.kernel is not None:
            self.kernel.close()
        self.kernel = None

    def load(self, sides: tuple[Iterable[bytes], ...]) -> None:
        """The rows of side inputs: the same for all elements of a job."""
        if self._is_loaded:
            return
        for position, side in zip(self.broadcast, sides, strict=True):
            gathered = self.open().gather(self.program.inputs[position])
            for data in side:
                gathered.add(decode(data))
            gathered.done()
        self._is_loaded = True

    def emit(self, fault: Fault | None = None) -> Iterator[Rows]:
        """The rows of the stage's SQL; or, where it writes them, a report of the files."""
        kernel, counter = self.open(), Metrics.counter(METRICS, f"rows {self.program.stage}")
        if self.program.target is not None:
            found = copy_rows(kernel, self.program, self.program.target, self._writes, fault)
            self._writes += 1
            if found is not None:
                yield found
            return
        for rows in kernel.rows(self.program.sql, fault):
            counter.inc(rows.num_rows)
            yield rows


class ReadSplit(beam.DoFn):
    """Splits of a source to the rows of its stage."""

    def __init__(self, program: Program) -> None:
        self._stage = Stage(program)

    def setup(self) -> None:
        """Open the kernel."""
        with carried():
            self._stage.open()

    def teardown(self) -> None:
        """Close the kernel."""
        self._stage.close()

    def process(self, element: Split) -> Iterator[Rows]:
        """Rows of one split; nothing of them is kept."""

        def fault(error: Exception) -> Any:  # Any: an error of ours, or None
            return _fault(error, element.node)

        with carried():
            check_unchanged(element.node)
            kernel = self._stage.open()
            name = self._stage.program.inputs[0].name
            kernel.view(name, element.sql, fault)
            yield from self._stage.emit(fault)
            kernel.forget(name)
            check_unchanged(element.node)


def _fault(error: Exception, node: Source) -> Any:  # Any: an error of ours, or None
    return source_error(error, node.scan, node.at) if isinstance(node.scan, FileScan) else None


class MapTable(beam.DoFn):
    """SQL over one Arrow table at a time, and over broadcast inputs."""

    def __init__(self, program: Program, forward: int, broadcast: tuple[int, ...]) -> None:
        self._stage, self._forward = Stage(program, broadcast), forward

    def setup(self) -> None:
        """Open the kernel."""
        with carried():
            self._stage.open()

    def teardown(self) -> None:
        """Close the kernel."""
        self._stage.close()

    def process(self, element: pa.Table, *sides: Iterable[bytes]) -> Iterator[Rows]:
        """Rows of one table."""
        with carried():
            self._stage.load(sides)
            self._stage.open().give(self._stage.program.inputs[self._forward], [element])
            yield from self._stage.emit()


class MapBucket(beam.DoFn):
    """SQL over all the rows of one bucket, and over broadcast inputs."""

    def __init__(self, program: Program, broadcast: tuple[int, ...]) -> None:
        self._stage = Stage(program, broadcast)

    def setup(self) -> None:
        """Open the kernel."""
        with carried():
            self._stage.open()

    def teardown(self) -> None:
        """Close the kernel."""
        self._stage.close()

    def process(self, element: tuple[int, Iterable[bytes]], *sides: Iterable[bytes]) -> Iterator[Rows]:
        """Rows of one bucket, which may be larger than memory."""
        with carried():
            self._stage.load(sides)
            kernel, program = self._stage.open(), self._stage.program
            gathered = {position: kernel.gather(table) for position, table in enumerate(program.inputs)
                        if position not in self._stage.broadcast}  # fmt: skip
            for data in element[1]:
                if data:  # the seed of a single bucket is empty
                    position, rows = untagged(data)
                    gathered[position].add(rows)
            for part in gathered.values():
                part.done()
            yield from self._stage.emit()
            for position in gathered:
                kernel.forget(program.inputs[position].name)


class ToBuckets(beam.DoFn):
    """Tables to (bucket, rows), by the hash of keys; the bytes are counted for the exchange."""

    def __init__(self, program: Program, position: int, exchange: str) -> None:
        self._stage, self._position, self._exchange = Stage(program), position, exchange

    def setup(self) -> None:
        """Open the kernel."""
        with carried():
            self._stage.open()

    def teardown(self) -> None:
        """Close the kernel."""
        self._stage.close()

    def process(self, element: pa.Table) -> Iterator[Keyed]:
        """One message for each bucket that has rows."""
        with carried():
            kernel, program = self._stage.open(), self._stage.program
            kernel.give(program.inputs[0], [element])
            with kernel.running():
                numbered = kernel.connection.sql(program.sql).to_arrow_table()
            for bucket, rows in parted(numbered):
                yield bucket, _counted(tagged(self._position, rows), self._exchange)


class ToOneBucket(beam.DoFn):
    """Tables to bucket 0."""

    def __init__(self, position: int, exchange: str) -> None:
        self._position, self._exchange = position, exchange

    def process(self, element: pa.Table) -> Iterator[Keyed]:
        """One message."""
        yield 0, _counted(tagged(self._position, element), self._exchange)


class ToSide(beam.DoFn):
    """Tables to messages that every worker gets."""

    def __init__(self, exchange: str) -> None:
        self._exchange = exchange

    def process(self, element: pa.Table) -> Iterator[bytes]:
        """One message."""
        yield _counted(encode(element), self._exchange)


def _counted(data: bytes, exchange: str) -> bytes:
    Metrics.counter(METRICS, f"bytes {exchange}").inc(len(data))
    return data


class CallFunction(beam.DoFn):
    """A user's function over tables; its class is made, and its `setup` called, once."""

    def __init__(self, node: Function, stage: str, modules: Mapping[str, bytes]) -> None:
        self._node, self._stage, self._modules = node, stage, modules
        self._function: Callable[..., Any] | None = None  # Any: the user's own

    def setup(self) -> None:
        """Find the function."""
        with carried():
            self._node = with_modules(self._node, self._modules)
            self._function = made(self._node, load_function(self._node))

    def process(self, element: pa.Table) -> Iterator[pa.Table]:
        """The function's rows for one table."""
        with carried():
            assert self._function is not None
            counter = Metrics.counter(METRICS, f"rows {self._stage}")
            given = iter(element.to_batches(max_chunksize=_BATCH_ROWS))
            for batch in apply(self._node, self._function, given):
                if batch.num_rows:
                    counter.inc(batch.num_rows)
                    yield pa.Table.from_batches([batch])


class WriteTables(beam.DoFn):
    """Tables of a bundle to files; reports of them."""

    def __init__(self, program: Program) -> None:
        self._stage = Stage(program)
        self._kept: list[pa.Table] = []
        self._size = 0

    def setup(self) -> None:
        """Open the kernel."""
        with carried():
            self._stage.open()

    def teardown(self) -> None:
        """Close the kernel."""
        self._stage.close()

    def start_bundle(self) -> None:
        """Nothing of another bundle is kept."""
        self._kept, self._size = [], 0

    def process(self, element: pa.Table) -> Iterator[bytes]:
        """Reports of the files of what is full."""
        self._kept.append(element)
        self._size += element.nbytes
        if self._size >= _FLUSH_BYTES:
            yield from self._flushed()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Reports of the files of the rest."""
        for found in self._flushed():
            yield WindowedValue(found, GlobalWindow().max_timestamp(), (GlobalWindow(),))

    def _flushed(self) -> Iterator[bytes]:
        with carried():
            if self._kept:
                self._stage.open().give(self._stage.program.inputs[0], self._kept)
                yield from self._stage.emit()
            self._kept, self._size = [], 0


class WriteManifest(beam.DoFn):
    """All reports into one file."""

    def __init__(self, path: str) -> None:
        self._path = path

    def process(self, element: tuple[int, Iterable[bytes]]) -> None:
        """The one bucket of reports, which holds an empty seed too."""
        write_manifest(self._path, sorted(found for found in element[1] if found))
