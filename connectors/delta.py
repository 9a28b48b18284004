"""The `delta` connector: a Delta table by its path, at a version."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Any

from connectors.base import SourceContext
from mlplatform.errors import SourceError, repr_name
from mlplatform.scan import Stream
from mlplatform.spec.entry import entry
from mlplatform.spec.located import Located, span_of


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaOptions:
    """What a `delta` source may say."""

    path: Located = entry(doc="folder of the table: the one that holds `_delta_log`")
    version: int | None = entry(None, doc="version to read; the latest when absent")


class DeltaConnector:
    """A Delta table; the version is pinned when it is opened."""

    name = "delta"
    Options = DeltaOptions

    def open(self, options: Any, context: SourceContext) -> Stream:  # Any: the port says so; it is DeltaOptions
        """See `connectors.base.Connector.open`.

        Raises: SourceError E_DATASET_MISSING when no table is there; what `open_snapshot` raises for a version that is
            gone, or a table that cannot be read.
        """
        from mlplatform.tables.snapshot import open_snapshot

        assert isinstance(options, DeltaOptions)
        at = span_of(options.path) or context.at
        uri = posixpath.normpath(posixpath.join(context.base_dir, options.path))
        snapshot = open_snapshot(uri, version=options.version, name=context.name)
        if snapshot is None:
            raise SourceError(
                "E_DATASET_MISSING",
                f"{repr_name(str(options.path))} is no Delta table",
                at=at,
                hint="name the folder that holds `_delta_log`; for plain files use `connector: files`",
                notes=[f"looked in {uri}"],
            )
        origin = f"delta {options.path}@{snapshot.version}"
        return Stream(snapshot.scan(), origin, version=snapshot.version, prune=snapshot.scan, table=snapshot.uri)
