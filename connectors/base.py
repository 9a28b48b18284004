"""The connector port: how a source system becomes a scan that any engine can read.

A connector resolves its options into a pinned `Stream` while planning; it reads only what it takes to know the schema.
Sources that no engine can read by itself (databases, queues) get two more methods when the first of them is built:
splitting the work, and acknowledging what was committed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from connectors.filesystem import FileSystem, LocalFileSystem
from mlplatform.errors import Span
from mlplatform.scan import Stream


@dataclass(frozen=True, slots=True)
class SourceContext:
    """Where a source stands.

    Attributes:
        base_dir: absolute folder of the spec; relative paths start there.
        filesystem: where its files lie.
        at: the source's place in the spec, for errors about the whole of it.
        name: the source's name in the spec, for messages.
    """

    base_dir: str
    filesystem: FileSystem = field(default_factory=LocalFileSystem)
    at: Span | None = None
    name: str = ""


class Connector(Protocol):
    """One kind of source system."""

    @property
    def name(self) -> str:
        """Its word in `connector:`."""

    @property
    def Options(self) -> type:
        """A frozen dataclass: the keys of a source with this connector; see `mlplatform.spec.model.entry`."""

    def open(self, options: Any, context: SourceContext) -> Stream:  # Any: a value of `Options`
        """The source as it stands now: its schema known, its files or version pinned.

        Opening twice without a change in between gives equal streams. Nothing is written.
        Raises: SourceError when the source is missing, damaged or out of reach; PlanError when it does not fit the
        options (a declared column that is not there, a type outside the language).
        """
