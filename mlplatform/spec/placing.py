"""Where each character of a YAML scalar stands in its file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mlplatform.errors import Span
from mlplatform.spec.located import Located
from mlplatform.spec.source_text import Mark, SpecText

# Stretches that stand for one character: YAML 1.2.2, 5.7 "Escaped Characters"; a doubled quote in single quotes.
_ESCAPES = {'"': re.compile(r"\\(?:x..|u....|U........|.)"), "'": re.compile("''")}

Stretch = tuple[int, int, str]  # row and offset in the file (from 0), and the text that stands there


def place(value: str, style: str, start: Mark, end: Mark, source: SpecText) -> Located:
    """The scalar's text with its places.

    Args:
        style: "" for plain, or the character that begins the scalar: ' " | >.
    """
    if style in ("|", ">"):
        return _place_block(value, style, start, end, source)
    if start.line == end.line:
        at = source.span(start.line, start.column, end.column - start.column)
        if not style:
            return Located(value, at)
        return _place_quoted(value, style, at, source.lines[start.line][start.column + 1 : end.column - 1])
    first = source.span(start.line, start.column, len(source.lines[start.line]) - start.column)
    return _place_pieces(value, first, _flow_stretches(style, start, end, source), source)


def _place_quoted(value: str, style: str, at: Span, inside: str) -> Located:
    """A quoted text of one line; a new piece begins after each escape."""
    pieces, starts, shift = [Span(at.path, at.line, at.column + 1, at.length, at.text)], [0], 0
    for escape in _ESCAPES[style].finditer(inside):
        shift += len(escape.group()) - 1
        pieces.append(Span(at.path, at.line, at.column + 1 + escape.end(), 1, at.text))
        starts.append(escape.end() - shift)
    return Located(value, at, pieces, starts)


def _place_block(value: str, style: str, start: Mark, end: Mark, source: SpecText) -> Located:
    rows = range(start.line + 1, min(len(source.lines), end.line + 1))
    filled = [row for row in rows if source.lines[row].strip()]
    if not filled or not value.strip():
        return Located(value, source.span(start.line, start.column))
    written = value.lstrip("\n").split("\n", 1)[0]
    head = source.lines[filled[0]]
    indent = len(head) - len(written) if style == "|" else len(head) - len(head.lstrip(" "))
    first = source.span(filled[0], indent, len(head) - indent)
    if style == ">":
        return _place_pieces(value, first, ((row, indent, source.lines[row][indent:]) for row in filled), source)
    count = len(value.rstrip("\n").split("\n"))
    lines = [source.span(row, indent, len(source.lines[row]) - indent) for row in rows[:count]]
    return Located(value, first, lines)


def _flow_stretches(style: str, start: Mark, end: Mark, source: SpecText) -> Iterator[Stretch]:
    quote = 1 if style else 0
    for row in range(start.line, min(end.line + 1, len(source.lines))):
        line = source.lines[row]
        begin = start.column + quote if row == start.line else 0
        stop = end.column - quote if row == end.line else len(line)
        text = line[begin:stop]
        yield row, begin + len(text) - len(text.lstrip(" ")), text.strip(" ")


def _place_pieces(value: str, first: Span, stretches: Iterable[Stretch], source: SpecText) -> Located:
    """Pieces at each stretch that is found again in the value; one that escapes changed belongs to the piece before."""
    pieces, starts, offset = [first], [0], 0
    for row, column, text in stretches:
        found = value.find(text, offset) if text else -1
        if found < 0:
            continue
        if found == 0:
            pieces.clear()
            starts.clear()
        pieces.append(source.span(row, column, len(text)))
        starts.append(found)
        offset = found + len(text)
    return Located(value, first, pieces, starts)
