"""What a pack says of itself: `manifest.json`, the last file written and the first one read."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplatform.errors import SourceError, repr_name
from serving.packs.options import PackOptions

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
BUILDER = "1"
MANIFEST, ROWS, PARTS, COLUMNS, DATABASE, FILTER = (
    "manifest.json", "rows.lmdb", "parts.lmdb", "cols.arrow", "table.duckdb", "neg.bf",
)  # fmt: skip
FILES = (ROWS, PARTS, COLUMNS, DATABASE, FILTER)
KEY_ENCODING = "memcomparable-1"
MAX_MANIFEST_BYTES = 4 * 2**20
_PACK_ID = re.compile(r"\d{1,19}-[0-9a-f]{12}\Z")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of the pack; `xxh3` is XXH3-128 of its bytes in hex."""

    size_bytes: int
    xxh3: str


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """What an index holds: rows, keys and chunks; `null_rows` have no key in it and are left out."""

    rows: int
    keys: int
    chunks: int
    null_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A pack's own description.

    Attributes:
        schema: the Arrow schema of its rows, as the base64 of Arrow's own message.
        columns: (name, type of the spec language, nullable), for people.
        freshness: least and greatest value of the table's first time column, as texts; None without one.
        verdict: what the gating expectations said; `none` where there are none.
        run_id: the run that committed the version, where the table says so.
    """

    table: str
    version: int
    pack_id: str
    table_id: str
    schema: str
    fingerprint: str
    columns: tuple[tuple[str, str, bool], ...]
    options: PackOptions
    rows: int
    files: Mapping[str, FileEntry]
    indexes: Mapping[str, IndexEntry] = field(default_factory=dict)
    freshness: tuple[str, str, str] | None = None
    contract: str | None = None
    run_id: str | None = None
    verdict: str = "none"
    committed_at: str | None = None
    created_at: str = ""
    builder: str = BUILDER
    libraries: Mapping[str, str] = field(default_factory=dict)
    key_encoding: str = KEY_ENCODING
    format: int = FORMAT

    @property
    def size_bytes(self) -> int:
        """Bytes of all files but the manifest."""
        return sum(entry.size_bytes for entry in self.files.values())

    def arrow_schema(self) -> pa.Schema:
        """The schema of the pack's rows."""
        import pyarrow as pa

        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(self.schema)))

    def to_bytes(self) -> bytes:
        """The file's text: sorted keys, so that equal manifests are equal bytes."""
        document = {**asdict(self), "options": self.options.to_json()}
        return json.dumps(document, sort_keys=True, indent=1).encode()

    def sha256(self) -> str:
        """What `CURRENT.json` says of the manifest's bytes."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def pack_id(version: int, table_id: str, options: PackOptions) -> str:
    """The id of the pack of a version: equal for all hosts that build it with the same options and builder."""
    shaping = {name: value for name, value in options.to_json().items() if name in _SHAPING}
    text = json.dumps([BUILDER, table_id, shaping], sort_keys=True)
    return f"{version}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


_SHAPING = frozenset({"table", "key", "columns", "indexes", "sql", "row_format", "negative_filter"})


def is_pack_id(text: str) -> bool:
    """Whether a name is that of a pack: a name from elsewhere never leads out of its folder."""
    return _PACK_ID.match(text) is not None


def schema_text(schema: pa.Schema) -> str:
    """What `Manifest.schema` holds."""
    return base64.b64encode(schema.remove_metadata().serialize().to_pybytes()).decode()


def schema_fingerprint(schema: pa.Schema) -> str:
    """Equal for equal names, types and order."""
    text = json.dumps([[part.name, str(part.type)] for part in schema])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_manifest(folder: Path) -> Manifest:
    """The manifest in a pack's folder. Raises: SourceError E_PACK_CORRUPT, E_PACK_MISSING."""
    path = folder / MANIFEST
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise corrupt(folder, f"its manifest is larger than {MAX_MANIFEST_BYTES} bytes")
        return parse_manifest(path.read_bytes(), folder)
    except FileNotFoundError as error:
        raise SourceError("E_PACK_MISSING", f"there is no pack in {repr_name(str(folder))}") from error
    except OSError as error:
        raise corrupt(folder, f"its manifest cannot be read: {error.strerror}") from error


def parse_manifest(text: bytes, folder: Path) -> Manifest:
    """The manifest that a text holds; `folder` is for messages. Raises: SourceError E_PACK_CORRUPT."""
    if len(text) > MAX_MANIFEST_BYTES:
        raise corrupt(folder, f"its manifest is larger than {MAX_MANIFEST_BYTES} bytes")
    try:
        manifest = _from_document(json.loads(text))
        _check(manifest)
        return manifest
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise corrupt(folder, f"its manifest is malformed ({error})") from error


def corrupt(folder: Path, why: str) -> SourceError:
    """The error for a pack that cannot be trusted."""
    hint = "fetch or publish it again; the version before it stays in use"
    return SourceError("E_PACK_CORRUPT", f"the pack {repr_name(str(folder))} is refused: {why}", hint=hint)


def _from_document(document: dict[str, Any]) -> Manifest:  # Any: JSON
    if document.get("format") != FORMAT:
        message = f"format {document.get('format')!r} is not {FORMAT}"
        raise ValueError(message)
    known = {part.name: document[part.name] for part in fields(Manifest) if part.name in document}
    known["options"] = PackOptions.from_json(document["options"])
    known["columns"] = tuple((str(name), str(kind), bool(nullable)) for name, kind, nullable in document["columns"])
    known["files"] = {str(name): FileEntry(**entry) for name, entry in document["files"].items()}
    known["indexes"] = {str(name): IndexEntry(**entry) for name, entry in document["indexes"].items()}
    if known.get("freshness") is not None:
        known["freshness"] = tuple(known["freshness"])
    return Manifest(**known)


def _check(manifest: Manifest) -> None:
    wrong = [name for name in manifest.files if name not in FILES]
    if wrong:
        message = f"it names a file {wrong[0]!r}"
        raise ValueError(message)
    if not is_pack_id(manifest.pack_id) or int(manifest.pack_id.partition("-")[0]) != manifest.version:
        message = f"{manifest.pack_id!r} is no id of version {manifest.version!r}"
        raise ValueError(message)
    missing = [name for name in (ROWS, PARTS, COLUMNS) if name not in manifest.files]
    if missing:
        message = f"it names no {missing[0]}"
        raise ValueError(message)
    numbers = (manifest.rows, *(entry.size_bytes for entry in manifest.files.values()))
    if any(type(number) is not int or number < 0 for number in numbers):
        message = "a count is no whole number"
        raise ValueError(message)
    if manifest.key_encoding != KEY_ENCODING:
        message = f"its keys are {manifest.key_encoding!r}, not {KEY_ENCODING!r}"
        raise ValueError(message)
