"""A job as a Beam pipeline, of Create, ParDo, GroupByKey, Flatten and side inputs alone: no JVM is needed for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.coders import Coder
from apache_beam.coders.typecoders import registry
from apache_beam.pvalue import AsIter, PCollection
from sqlglot import exp

from mlplatform.engines.base import WriteTarget
from mlplatform.engines.beam.dofns import (
    CallFunction,
    Keyed,
    MapBucket,
    MapTable,
    ReadSplit,
    ToBuckets,
    ToOneBucket,
    ToSide,
    WriteManifest,
    WriteTables,
)
from mlplatform.engines.beam.fusion import torn
from mlplatform.engines.beam.programs import InputTable, Program
from mlplatform.engines.beam.shipping import modules_beside
from mlplatform.engines.beam.shuffle import decode, encode
from mlplatform.engines.beam.splits import splits
from mlplatform.engines.beam.stages import (
    Apply,
    Broadcast,
    Compute,
    Flatten,
    Forward,
    Hash,
    Input,
    Job,
    Read,
    Single,
    Stage,
    reads,
)
from mlplatform.errors import assert_never, repr_name
from mlplatform.limits import Limits
from mlplatform.plan.nodes import Source

_ROWS = "rows"

Collected = PCollection[Any]  # Any: Arrow tables, reports, or what goes through an exchange


class TableCoder(Coder):
    """Arrow tables between stages that a runner does not fuse."""

    def encode(self, value: pa.Table) -> bytes:
        """Arrow IPC."""
        return encode(value)

    def decode(self, encoded: bytes) -> pa.Table:
        """From Arrow IPC."""
        return decode(encoded)

    def is_deterministic(self) -> bool:
        """It is no key."""
        return False


@dataclass(frozen=True, slots=True)
class Shipment:
    """What every worker is told: its limits, the run that it works for, where the manifest goes, sizes of splits.

    `ordered` names the targets whose rows are written in the order in which their stage gives them.
    """

    limits: Limits
    run: str
    manifest: str
    split_bytes: int
    ordered: frozenset[str] = frozenset()


def build(
    pipeline: beam.Pipeline, job: Job, sources: Mapping[str, Source], targets: Sequence[WriteTarget], shipment: Shipment
) -> None:
    """Add a job to a pipeline. `targets` name its outputs; reports of their files end in the manifest."""
    registry.register_coder(pa.Table, TableCoder)
    builder = _Builder(pipeline, job, sources, targets, shipment)
    for stage in job.stages.values():
        builder.add(stage)
    reports = [builder.write(target) for target in targets]
    seed = pipeline | "no reports" >> beam.Create([(0, b"")], reshuffle=False).with_output_types(Keyed)
    keyed = [part | f"report {number}" >> beam.Map(_keyed).with_output_types(Keyed)
             for number, part in enumerate(reports)]  # fmt: skip
    together = (seed, *keyed) | "reports" >> beam.Flatten() | "all reports" >> beam.GroupByKey()
    together | "manifest" >> beam.ParDo(WriteManifest(shipment.manifest))


def _keyed(report: bytes) -> Keyed:
    return 0, report


class _Builder:
    def __init__(
        self,
        pipeline: beam.Pipeline,
        job: Job,
        sources: Mapping[str, Source],
        targets: Sequence[WriteTarget],
        shipment: Shipment,
    ) -> None:
        self.pipeline, self.job, self.sources, self.shipment = pipeline, job, sources, shipment
        self.rows: dict[str, Collected] = {}
        self.written = _written_in_place(job, targets)
        self.torn = torn(job)

    def add(self, stage: Stage) -> None:
        """A stage's rows; of a stage that writes them itself, its reports."""
        match stage:
            case Read():
                self.rows[stage.name] = self._read(stage)
            case Compute():
                self.rows[stage.name] = self._compute(stage)
            case Apply():
                call = CallFunction(stage.function, stage.name, modules_beside(stage.function))
                function = beam.ParDo(call).with_output_types(pa.Table)
                self.rows[stage.name] = self.rows[stage.stage] | stage.name >> function
            case Flatten():
                self.rows[stage.name] = tuple(self.rows[name] for name in stage.stages) | stage.name >> beam.Flatten()
            case _:
                assert_never(stage)

    def write(self, target: WriteTarget) -> Collected:
        """Reports of a target's files."""
        stage = self.job.outputs[target.sink]
        if stage in self.written:
            return self.rows[stage]
        rows = InputTable(_ROWS, self.job.stages[stage].columns)
        query = exp.select("*").from_(exp.to_identifier(_ROWS)).sql("duckdb")
        program = self._sent(f"write {target.sink}", _writing(target), query, (rows,), target)
        found: Collected = self.rows[stage] | f"write {target.sink}" >> beam.ParDo(
            WriteTables(program)
        ).with_output_types(bytes)
        return found

    def _read(self, stage: Read) -> Collected:
        parts = splits(self.sources[stage.source], self.shipment.split_bytes)
        program = self._program(stage, (InputTable(stage.source, stage.columns),))
        created = self.pipeline | f"{stage.name} splits" >> beam.Create(parts, reshuffle=len(parts) > 1)
        found: Collected = created | stage.name >> beam.ParDo(ReadSplit(program)).with_output_types(self._gives(stage))
        return found

    def _compute(self, stage: Compute) -> Collected:
        inputs = tuple(InputTable(item.name, self.job.stages[item.stage].columns) for item in stage.inputs)
        program = self._program(stage, inputs)
        places = tuple(place for place, item in enumerate(stage.inputs) if isinstance(item.exchange, Broadcast))
        sides = [AsIter(self._side(stage, stage.inputs[place])) for place in places]
        forward = [place for place, item in enumerate(stage.inputs) if isinstance(item.exchange, Forward)]
        if forward:
            work: beam.DoFn = MapTable(program, forward[0], places)
            given = self.rows[stage.inputs[forward[0]].stage]
            if stage.name in self.torn:
                given = given | f"{stage.name} apart" >> beam.Reshuffle()
        else:
            work, given = MapBucket(program, places), self._buckets(stage)
        found: Collected = given | stage.name >> beam.ParDo(work, *sides).with_output_types(self._gives(stage))
        return found

    def _side(self, stage: Compute, item: Input) -> Collected:
        label = _label(item, stage)
        found: Collected = self.rows[item.stage] | label >> beam.ParDo(ToSide(label)).with_output_types(bytes)
        return found

    def _buckets(self, stage: Compute) -> Collected:
        """Rows by bucket. A bucket that is the only one is there also without rows."""
        parts = [self._keyed(stage, place) for place, item in enumerate(stage.inputs)
                 if isinstance(item.exchange, Hash | Single)]  # fmt: skip
        if not any(isinstance(item.exchange, Hash) for item in stage.inputs):
            seed = beam.Create([(0, b"")], reshuffle=False).with_output_types(Keyed)
            parts.append(self.pipeline | f"{stage.name} seed" >> seed)
        together = tuple(parts) | f"{stage.name} inputs" >> beam.Flatten() if len(parts) > 1 else parts[0]
        found: Collected = together | f"{stage.name} buckets" >> beam.GroupByKey()
        return found

    def _keyed(self, stage: Compute, place: int) -> Collected:
        item = stage.inputs[place]
        label = _label(item, stage)
        work: beam.DoFn = ToOneBucket(place, label)
        if isinstance(item.exchange, Hash) and stage.buckets > 1:
            work = ToBuckets(self._hashing(stage, item, item.exchange), place, label)
        found: Collected = self.rows[item.stage] | label >> beam.ParDo(work).with_output_types(Keyed)
        return found

    def _hashing(self, stage: Compute, item: Input, exchange: Hash) -> Program:
        hashed = exp.Anonymous(this="hash", expressions=[key.copy() for key in exchange.keys])
        number = exp.Mod(this=hashed, expression=exp.Literal.number(stage.buckets))
        bucket = exp.alias_(exp.cast(number, "smallint"), "mlp_bucket")
        sql = exp.select("*", bucket).from_(exp.to_identifier(item.name, quoted=True).sql("duckdb")).sql("duckdb")
        table = InputTable(item.name, self.job.stages[item.stage].columns)
        return self._sent(stage.name, _running(stage), sql, (table,))

    def _program(self, stage: Read | Compute, inputs: tuple[InputTable, ...]) -> Program:
        """The stage's SQL; its rows are written where it is the last before a sink."""
        target = self.written.get(stage.name)
        what = _running(stage) if target is None else _writing(target)
        return self._sent(stage.name, what, stage.query.sql("duckdb"), inputs, target)

    def _sent(
        self, stage: str, what: str, sql: str, inputs: tuple[InputTable, ...], target: WriteTarget | None = None
    ) -> Program:
        keeps_order = target is not None and target.sink in self.shipment.ordered
        return Program(stage, what, sql, self.shipment.limits, self.shipment.run, inputs, target, keeps_order)

    def _gives(self, stage: Stage) -> type:
        return bytes if stage.name in self.written else pa.Table


def _written_in_place(job: Job, targets: Sequence[WriteTarget]) -> dict[str, WriteTarget]:
    """Stages whose rows only one sink wants, written where they are made, without a way through Arrow."""
    uses = Counter(job.outputs[target.sink] for target in targets)
    for stage in job.stages.values():
        uses.update(reads(stage))
    return {
        job.outputs[target.sink]: target
        for target in targets
        if uses[job.outputs[target.sink]] == 1 and _is_whole(job.stages[job.outputs[target.sink]])
    }


def _is_whole(stage: Stage) -> bool:
    """Whether the stage sees many rows at a time: a file for each Arrow table would be too many."""
    if isinstance(stage, Compute):
        return not any(isinstance(item.exchange, Forward) for item in stage.inputs)
    return isinstance(stage, Read)


def _label(item: Input, stage: Compute) -> str:
    return f"{item.stage} to {stage.name} as {item.name}"


def _running(stage: Stage) -> str:
    return f"running step {repr_name(stage.step)}"


def _writing(target: WriteTarget) -> str:
    return f"writing {repr_name(target.sink)}"
