"""The keys of a `files` source, and what all its formats share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from connectors.base import SourceContext
from connectors.filesystem import FileInfo
from connectors.sampling import Compression, compression_of
from mlplatform.errors import PlanError, SourceError, Span, did_you_mean, listed, repr_name
from mlplatform.scan import DataFile
from mlplatform.spec.entry import entry
from mlplatform.spec.located import Located, span_of
from mlplatform.types import DataType, Schema, missing_column

Format = Literal["parquet", "csv", "json", "ndjson"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesOptions:
    """What a `files` source may say."""

    path: Located | tuple[Located, ...] = entry(doc="file, folder or glob (`*`, `**`, `?`, `[…]`), or a list of them")
    format: Format | None = entry(None, doc="form of the files; by their ending when absent")
    schema: dict[Located, Located] | None = entry(
        None, doc="column: type, for all or some of the columns", check="type"
    )
    hive_partitions: bool | Literal["auto"] = entry(
        "auto", doc="whether folders named `key=value` are columns; auto = when all files have the same keys"
    )
    partition_types: dict[Located, Located] | None = entry(
        None, doc="partition key: type; text as it is when absent", check="type"
    )
    missing: Literal["fail", "skip"] = entry("fail", doc="what happens when nothing matches; skip = no rows")
    delimiter: Located | None = entry(None, doc="CSV: what separates fields; found in the file when absent")
    quote: Located | None = entry(None, doc='CSV: what encloses a field; found in the file when absent, else `"`')
    escape: Located | None = entry(None, doc="CSV: what stands before a quote inside quotes; default the quote itself")
    header: bool | None = entry(None, doc="CSV: whether the first line names the columns; found when absent")
    skip: int = entry(0, doc="CSV: lines before the header or the first row")
    null_values: tuple[Located, ...] | None = entry(
        None, doc='CSV: unquoted texts that are null; default [""]. A quoted text is never null'
    )
    encoding: Literal["utf-8", "utf-16", "latin-1"] = entry("utf-8", doc="CSV: how bytes are text; never guessed")
    timestamp_format: Located | None = entry(None, doc="CSV: strptime format of timestamps; ISO 8601 when absent")
    date_format: Located | None = entry(None, doc="CSV: strptime format of dates; ISO 8601 when absent")


CSV_KEYS = ("delimiter", "quote", "escape", "header", "skip", "null_values", "encoding", "timestamp_format",
            "date_format")  # fmt: skip


@dataclass(frozen=True, slots=True)
class FileSet:
    """Files found for a source, none opened yet.

    Attributes:
        partitions: for each file its (key, text) pairs, in one order of keys for all.
        partition_types: every key with its type.
        declared: columns of `schema`, partition keys left out.
    """

    files: tuple[FileInfo, ...]
    partitions: tuple[tuple[tuple[str, str | None], ...], ...]
    partition_types: Mapping[str, DataType]
    declared: Mapping[str, DataType]
    options: FilesOptions
    context: SourceContext

    @property
    def at(self) -> Span | None:
        """The place to blame: the source's path."""
        return path_span(self.options) or self.context.at

    @property
    def compression(self) -> Compression:
        """The one compression of all files.

        Raises: PlanError E_VALUE naming two files that differ.
        """
        first = self.files[0].uri
        for file in self.files:
            if compression_of(file.uri) != compression_of(first):
                raise PlanError(
                    "E_VALUE",
                    f"{first} and {file.uri} are not compressed alike",
                    at=self.at,
                    hint="read them as two sources, then `union`",
                )
        return compression_of(first)

    def picked(self, most: int = 8) -> list[int]:
        """Indexes of at most `most` of the files that have bytes, the first and the last included."""
        full = [index for index, file in enumerate(self.files) if file.size_bytes > 0]
        return (
            [
                full[position]
                for position in sorted({round(step * (len(full) - 1) / (most - 1)) for step in range(most)})
            ]
            if full
            else []
        )

    def declared_type(self, name: str) -> DataType | None:
        """The type that `schema` declares for a column, case ignored."""
        return next((kind for known, kind in self.declared.items() if known.lower() == name.lower()), None)

    def data_file(self, index: int, *, rows: int | None = None, columns: tuple[str, ...] = ()) -> DataFile:
        """The scan's entry for a file."""
        file = self.files[index]
        return DataFile(file.uri, file.size_bytes, rows, self.partitions[index], file.mtime_ns, columns)

    def schema(self, columns: Mapping[str, DataType]) -> Schema:
        """The source's schema: the files' columns with declared types put in, then the partition keys.

        Raises: PlanError E_COLUMN_MISSING for a declared column that no file has, E_COLUMN_COLLISION for a partition
            key that is also a column.
        """
        found = Schema.of(columns)
        declared = Schema.of(self.declared)
        for name in self.declared:
            if name not in found:
                raise missing_column(name, found, at=span_of(name) or self.at, where=" in `schema`")
        for key in self.partition_types:
            if key in found:
                raise PlanError(
                    "E_COLUMN_COLLISION",
                    f"{repr_name(key)} is a column of the files and a key of their folders",
                    at=self.at,
                    hint="set `hive_partitions: false` to read it from the files",
                )
        typed = {name: declared[name].type if name in declared else kind for name, kind in columns.items()}
        return Schema.of({**typed, **self.partition_types})


def path_span(options: FilesOptions) -> Span | None:
    """Where the source's path stands in the spec."""
    first = options.path if isinstance(options.path, str) else next(iter(options.path), "")
    return span_of(first)


def check_names(names: Iterable[str], file: str, *, at: Span | None) -> None:
    """Refuse an empty name, and two names that are one when case is ignored.

    Raises: SourceError E_COLUMN_COLLISION.
    """
    seen: dict[str, str] = {}
    for position, name in enumerate(names, 1):
        if not name:
            raise SourceError(
                "E_COLUMN_COLLISION",
                f"{file}: column {position} has no name",
                at=at,
                hint="name it in the file; for CSV without a header set `header: false`",
            )
        if name.lower() in seen:
            raise SourceError(
                "E_COLUMN_COLLISION",
                f"{file}: two columns are named {repr_name(name)}"
                + (f" and {repr_name(seen[name.lower()])}" if seen[name.lower()] != name else "")
                + " (case is ignored)",
                at=at,
                hint="rename one of them in the file",
            )
        seen[name.lower()] = name


def different_columns(
    file: str, other: str, names: Iterable[str], others: Iterable[str], at: Span | None
) -> SourceError:
    """The error for two files of one source whose columns differ."""
    here, there = list(names), list(others)
    lowered_here, lowered_there = {n.lower() for n in here}, {n.lower() for n in there}
    only_here = [name for name in here if name.lower() not in lowered_there]
    only_there = [name for name in there if name.lower() not in lowered_here]
    notes = [f"only in {file}: {listed(only_here)}"] if only_here else []
    notes += [f"only in {other}: {listed(only_there)}"] if only_there else []
    return SourceError(
        "E_COLUMN_MISSING",
        f"{file} and {other} have different columns",
        at=at,
        hint=(did_you_mean(only_here[0], there) if only_here else None) or "read them as two sources, then `union`",
        notes=notes,
    )
