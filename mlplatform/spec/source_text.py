"""A spec's text: decoded, cut into lines, and free of the characters that YAML tools disagree about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from mlplatform.errors import PlatformError, Span, SpecError

MAX_BYTES = 8 * 1024 * 1024
_MOST_REPORTED = 20
_LONGEST_SHOWN = 500

# YAML 1.2.2, 5.1 "Character Set", less what YAML 1.1 parsers take for line breaks (NEL, LS, PS) and less the byte
# order mark.
_FORBIDDEN = re.compile("[^\t\n -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_CALLED = {"\0": "NUL", "\ufeff": "byte order mark", "\x85": "next line", "\u2028": "line separator"}


class Mark(Protocol):
    """A place as both of PyYAML's parsers give it; both count from 0, columns in characters."""

    @property
    def line(self) -> int: ...

    @property
    def column(self) -> int: ...


@dataclass(frozen=True, slots=True)
class SpecText:
    """The text as given (`text`) and its lines, which hold no tab and no line break."""

    path: str
    text: str
    lines: tuple[str, ...]

    def span(self, row: int, offset: int, length: int = 1) -> Span:
        """The place of `length` characters; `row` and `offset` count from 0. Very long lines are not shown."""
        if row >= len(self.lines):  # the parser in C ends a text on the line after its last one
            row, offset = len(self.lines) - 1, len(self.lines[-1])
        line = self.lines[row]
        return Span(self.path, row + 1, offset + 1, max(1, length), line if len(line) <= _LONGEST_SHOWN else "")

    @property
    def clean(self) -> str:
        """The text that the parser gets."""
        return "\n".join(self.lines)


def decode(text: str | bytes, path: str) -> tuple[SpecText | None, list[PlatformError]]:
    """The text and what is wrong with its characters; None where parsing it would only mislead."""
    if len(text) > MAX_BYTES:
        return None, [SpecError("E_YAML", f"the spec {path} is larger than 8 MiB", hint="move data out of the spec")]
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            return None, [_not_utf8(error, path)]
    lines = tuple(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    source = SpecText(path, text, lines)
    strange = list(_first(_forbidden(source)))
    tabs = list(_first(_tabs(source)))
    if strange or any(line.lstrip(" ").startswith("\t") for line in lines):
        return None, [*strange, *tabs]
    return SpecText(path, text, tuple(line.replace("\t", " ") for line in lines)), tabs


def _not_utf8(error: UnicodeDecodeError, path: str) -> PlatformError:
    before = bytes(error.object[: error.start])
    row = before.count(b"\n")
    column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8")) + 1
    is_utf16 = error.object[:2] in (b"\xff\xfe", b"\xfe\xff")
    return SpecError(
        "E_ENCODING",
        f"byte 0x{error.object[error.start]:02x} is not UTF-8",
        at=Span(path, row + 1, column),
        hint="the file looks like UTF-16: save it as UTF-8" if is_utf16 else "save the file as UTF-8",
    )


def _forbidden(source: SpecText) -> Iterator[PlatformError]:
    for row, line in enumerate(source.lines):
        found = _FORBIDDEN.search(line)
        if found is not None:
            yield _forbidden_character(source, row, found)


def _forbidden_character(source: SpecText, row: int, found: re.Match[str]) -> PlatformError:
    character = found.group()
    called = f" ({_CALLED[character]})" if character in _CALLED else ""
    is_mark = character == "\ufeff" and row == 0 and found.start() == 0
    at = source.span(row, found.start())
    return SpecError(
        "E_ENCODING",
        f"character U+{ord(character):04X}{called} may not stand in a spec",
        # The line is shown without it: it would move the marker, or the terminal's cursor.
        at=Span(at.path, at.line, at.column, 1, _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", at.text)),
        hint="save the file as UTF-8 without byte order mark" if is_mark else 'as data, write it as "\\u…" in quotes',
    )


def _tabs(source: SpecText) -> Iterator[PlatformError]:
    for row, line in enumerate(source.lines):
        offset = line.find("\t")
        if offset >= 0:
            indents = not line[:offset].strip(" ")
            at = source.span(row, offset)
            yield SpecError(
                "E_TAB",
                "a tab stands in the file",
                at=Span(at.path, at.line, at.column, 1, at.text.replace("\t", " ")),
                hint="indent with spaces" if indents else 'write a space; as data, write "\\t" in double quotes',
            )


def _first(errors: Iterator[PlatformError]) -> Iterator[PlatformError]:
    for count, error in enumerate(errors):
        if count == _MOST_REPORTED:
            return
        yield error
