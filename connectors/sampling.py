"""Parts of a text file that stand for the whole: its head, its middle and its tail."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Literal

from connectors.faults import encoding_fault, unreadable
from connectors.filesystem import FileInfo, FileSystem
from mlplatform.errors import SourceError, Span

Compression = Literal["none", "gzip", "zstd"]
Encoding = Literal["utf-8", "utf-16", "latin-1"]

WHOLE_BYTES = 4 << 20
_HEAD_BYTES = 1 << 20
_PART_BYTES = 1 << 19


@dataclass(frozen=True, slots=True)
class Sample:
    """Whole lines of a file as text without a byte order mark.

    Attributes:
        head: from the first line on.
        parts: lines from the middle and the end; empty for a small, a compressed or a UTF-16 file.
        is_whole: whether `head` is all there is.
    """

    head: str
    parts: tuple[str, ...] = ()
    is_whole: bool = True


def compression_of(path: str) -> Compression:
    """The compression that a file's ending tells."""
    lowered = path.lower()
    return "gzip" if lowered.endswith(".gz") else "zstd" if lowered.endswith(".zst") else "none"


@dataclass(frozen=True, slots=True)
class TextForm:
    """How a file's bytes become text."""

    compression: Compression = "none"
    encoding: Encoding = "utf-8"
    at: Span | None = None
    is_json: bool = False


def sample(filesystem: FileSystem, file: FileInfo, form: TextForm, *, most: int = WHOLE_BYTES) -> Sample:
    """Lines of the file: all of them up to `most` bytes, else those of its head, middle and tail.

    Raises: SourceError E_ENCODING for bytes that are no text, E_FILE_UNREADABLE for damaged compression.
    """
    with opened(filesystem, file, form) as stream:
        if form.compression == "none" and file.size_bytes > most and form.encoding != "utf-16":
            return _spread(stream, file, form, min(most, _HEAD_BYTES))
        data = stream.read(most + 1)
    is_whole = len(data) <= most
    text = decode(data, file.uri, form, is_whole=is_whole)
    return Sample(text if is_whole else _whole_lines(text), is_whole=is_whole)


def head_of(filesystem: FileSystem, file: FileInfo, form: TextForm, *, most: int = WHOLE_BYTES) -> str:
    """The file's first characters, cut where `most` bytes end.

    Raises: as `sample`.
    """
    with opened(filesystem, file, form) as stream:
        data = stream.read(most)
    return decode(data, file.uri, form, is_whole=len(data) < most)


def _spread(stream: BinaryIO, file: FileInfo, form: TextForm, most: int) -> Sample:
    head = _whole_lines(decode(stream.read(most), file.uri, form, is_whole=False))
    parts = []
    for start in (file.size_bytes // 2, file.size_bytes - _PART_BYTES):
        stream.seek(max(start, most))
        data = stream.read(_PART_BYTES).partition(b"\n")[2]
        parts.append(_whole_lines(decode(data, file.uri, form, is_whole=False, starts_file=False)))
    return Sample(head, tuple(part for part in parts if part), is_whole=False)


@contextmanager
def opened(filesystem: FileSystem, file: FileInfo, form: TextForm) -> Iterator[BinaryIO]:
    """The file's bytes, uncompressed.

    Raises: SourceError E_FILE_UNREADABLE from within the block, for damaged compression.
    """
    try:
        with filesystem.open_read(file.uri) as raw, _uncompressed(raw, form.compression) as stream:
            yield stream
    except (EOFError, zlib.error, OSError) as error:
        raise unreadable(file.uri, str(error), at=form.at, what=form.compression) from error


def _uncompressed(raw: BinaryIO, compression: Compression) -> BinaryIO:
    if compression == "gzip":
        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]  # it is a binary reader in all but name
    if compression == "zstd":
        import pyarrow as pa

        stream: BinaryIO = pa.CompressedInputStream(raw, "zstd")
        return stream
    return raw


def decode(data: bytes, name: str, form: TextForm, *, is_whole: bool, starts_file: bool = True) -> str:
    """The text of some bytes; a character cut off at the end is left out unless `is_whole`.

    Raises: SourceError E_ENCODING, with the line when the bytes start the file.
    """
    try:
        text = codecs.getincrementaldecoder(form.encoding)("strict").decode(data, is_whole)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise encoding_fault(f"{name}:{line}" if starts_file else name, at=form.at, is_json=form.is_json) from error
    except UnicodeError as error:  # UTF-16 without a byte order mark
        raise encoding_fault(name, at=form.at) from error
    if form.encoding == "utf-16" and any(mark > "\uffff" for mark in text):
        raise encoding_fault(name, at=form.at)  # DuckDB 2.0 stops at surrogate pairs
    return text.removeprefix("\ufeff") if starts_file else text


def _whole_lines(text: str) -> str:
    end = max(text.rfind("\n"), text.rfind("\r"))
    return text[: end + 1]


def check_utf16(filesystem: FileSystem, file: FileInfo, form: TextForm) -> None:
    """Refuse big-endian UTF-16.

    DuckDB 2.0 reads big-endian files as no rows at all, without a word.
    """
    with opened(filesystem, file, form) as stream:
        start = stream.read(2)
    if start == b"\xfe\xff" or start[:1] == b"\0":
        raise SourceError(
            "E_ENCODING",
            f"{file.uri}: the text is big-endian UTF-16, which cannot be read",
            at=form.at,
            hint="convert the file to utf-8",
        )
