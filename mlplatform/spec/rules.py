"""Rules between the keys of one part: which need each other, and which exclude each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from posixpath import normpath
from typing import Any, Literal

from mlplatform.errors import PlatformError, Span, SpecError, did_you_mean, repr_name
from mlplatform.spec.located import Located, span_of
from mlplatform.spec.model import DedupeStep, JoinStep, OutputSpec, QueryStep, UnionStep
from mlplatform.spec.placeholders import placeholders
from mlplatform.spec.serve import check_serve

FileFormat = Literal["parquet", "csv", "json"]

# Ending of a path → the file format that is written. `.json` is an array, the others of JSON are lines.
FILE_ENDINGS: dict[str, FileFormat] = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".json": "json",
    ".ndjson": "json",
    ".jsonl": "json",
}


def is_path(name: str) -> bool:
    """Whether an output's name is a path of a file, not a dataset."""
    return "/" in name or name.lower().endswith(tuple(FILE_ENDINGS))


def file_format(path: str) -> FileFormat:
    """The format that the path's ending asks for, in whatever case; the path is one of `is_path` and checked."""
    return FILE_ENDINGS["." + path.rpartition(".")[2].lower()]


def check_files(outputs: Iterable[OutputSpec]) -> Iterator[PlatformError]:
    """An error at each output that writes a file which an output before it writes too."""
    first: dict[str, Located] = {}
    for name in (output.name for output in outputs if is_path(output.name)):
        before = first.setdefault(normpath(name), name)
        if before is not name:
            message = f"outputs {repr_name(before)} and {repr_name(name)} are one file"
            yield SpecError("E_NAME_DUPLICATE", message, at=name.at, hint="give one of them another name")


def check_operator(operator: Any, at: Span) -> Iterator[PlatformError]:  # Any: model.Operator
    """What is wrong between the keys of an operator; `at` is its word."""
    match operator:
        case JoinStep():
            yield from _check_join(operator, at)
        case UnionStep(inputs=inputs) if len(inputs) < 2:
            place = inputs[0].at if inputs else at
            yield SpecError("E_VALUE", '"inputs" of a union needs two or more', at=place, hint="add another input")
        case QueryStep():
            yield from _check_query(operator, at)
        case DedupeStep(key=()):
            yield _empty("key", at, "name the columns that identify a row")


def check_output(output: OutputSpec) -> Iterator[PlatformError]:
    """What is wrong between the keys of an output; nothing is said while the mode is a `${…}`.

    Call it again after `Values.fill`, which puts the mode in.
    """
    yield from check_serve(output, is_file=is_path(output.name))
    if placeholders(output.mode):
        return
    if is_path(output.name):
        yield from _check_path(output)
        return
    if output.mode == "merge" and not output.unique_key:
        hint = "add unique_key: [column, …]"
        yield SpecError(
            "E_MERGE_KEY", f"output {repr_name(output.name)} merges without a key", at=_mode(output), hint=hint
        )
    if output.mode != "merge":
        for word, value in (("unique_key", output.unique_key), ("sequence_by", output.sequence_by)):
            if value is not None:
                message = f"{repr_name(word)} has a meaning for mode merge only; the mode is {output.mode}"
                yield SpecError(
                    "E_KEY_CONFLICT", message, at=_first(value, output), hint="write mode: merge, or remove it"
                )
    if output.mode == "replace_partitions" and not output.partition_by:
        message = f"output {repr_name(output.name)} replaces partitions but has none"
        yield SpecError("E_PARTITION", message, at=_mode(output), hint="add partition_by: [column, …]")


def _check_path(output: OutputSpec) -> Iterator[PlatformError]:
    name = output.name
    if not name.lower().endswith(tuple(FILE_ENDINGS)):
        ending = "." + name.rsplit("/", 1)[-1].rpartition(".")[2]
        hint = did_you_mean(ending, FILE_ENDINGS) or "end the path in one of them"
        note = f"endings: {' '.join(FILE_ENDINGS)}"
        yield SpecError("E_VALUE", f"path {repr_name(name)} has no known ending", at=name.at, hint=hint, notes=[note])
    if output.mode != "overwrite":
        message = f"a file can only be overwritten, not {_DONE.get(output.mode, output.mode)}"
        yield SpecError("E_KEY_CONFLICT", message, at=_mode(output), hint="write mode: overwrite, or name a dataset")
    for word in ("unique_key", "sequence_by", "partition_by"):
        value = getattr(output, word)  # three keys with one rule
        if value:
            message = f"{repr_name(word)} has a meaning for datasets only, not for the file {repr_name(name)}"
            yield SpecError("E_KEY_CONFLICT", message, at=_first(value, output), hint="remove it, or name a dataset")


_DONE = {"append": "appended to", "merge": "merged into", "replace_partitions": "replaced by partitions"}


def _check_join(join: JoinStep, at: Span) -> Iterator[PlatformError]:
    if join.how == "cross":
        for word, value in (("using", join.using), ("condition", join.condition)):
            if value is not None:
                message = f"a cross join takes no {repr_name(word)}"
                yield SpecError("E_KEY_CONFLICT", message, at=_first(value, join), hint="remove it, or another how")
    elif join.using is not None and join.condition is not None:
        message = '"using" and "condition" exclude each other'
        yield SpecError("E_KEY_CONFLICT", message, at=join.condition.at, hint="keep one of them")
    elif join.condition is None and not join.using and not placeholders(join.how):
        hint = "add using: [column, …], or condition: …, or how: cross"
        yield SpecError("E_KEY_MISSING", "the join has neither using nor condition", at=at, hint=hint)


def _check_query(query: QueryStep, at: Span) -> Iterator[PlatformError]:
    for word, value in (("select", query.select), ("aggregate", query.aggregate)):
        if value is not None and not value:
            yield _empty(word, at)
    if query.having is not None and query.group_by is None and query.aggregate is None:
        hint = "write filter, or add group_by"
        yield SpecError("E_KEY_MISSING", '"having" keeps groups, but nothing is grouped', at=query.having.at, hint=hint)
    if isinstance(query.limit, int) and query.limit < 0:
        yield SpecError("E_VALUE", '"limit" cannot be negative', at=at, hint="write 0 or more")


def _empty(word: str, at: Span, hint: str = "leave the key out, or give it a value") -> PlatformError:
    return SpecError("E_VALUE", f"{repr_name(word)} is empty", at=at, hint=hint)


def _mode(output: OutputSpec) -> Span:
    return span_of(output.mode) or output.name.at


def _first(value: Any, part: Any) -> Span | None:  # Any: a text or texts; any part
    """The place of a text, of the first of several, or of the part that holds them."""
    if isinstance(value, tuple | dict):
        value = next(iter(value), None)
    if isinstance(value, Located):
        return value.at
    name = part.name if isinstance(part, OutputSpec) else part.left
    return span_of(name)
