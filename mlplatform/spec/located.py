"""Text that remembers where in its file it stands."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from mlplatform.errors import Span


class Located(str):
    """A `str` with its place: equal to, and hashed like, the plain text.

    `at` spans the text's first line. A text of several lines, or one with escapes, is a run of pieces: piece `i` begins
    at offset `starts[i]` and stands at `lines[i]` of the file, so that any offset can be shown there.
    """

    at: Span
    lines: tuple[Span, ...]
    starts: tuple[int, ...]

    def __new__(cls, text: str, at: Span, lines: Sequence[Span] = (), starts: Sequence[int] = ()) -> Located:
        self = super().__new__(cls, text)
        self.at = at
        self.lines = tuple(lines) or (at,)
        self.starts = tuple(starts) or ((0,) if len(self.lines) == 1 else _line_starts(text, len(self.lines)))
        return self

    def __reduce__(self) -> tuple[type[Located], tuple[str, Span, tuple[Span, ...], tuple[int, ...]]]:
        return Located, (str(self), self.at, self.lines, self.starts)

    def span_at(self, offset: int, length: int = 1) -> Span:
        """The place of `length` characters from `offset` on (both counted in this text).

        Exact for `|` blocks and texts of one line; in folded texts at least the line is right.
        """
        piece = min(max(0, bisect_right(self.starts, offset) - 1), len(self.lines) - 1)
        line = self.lines[piece]
        column = line.column + offset - self.starts[piece]
        if line.text:
            column = min(column, len(line.text) + 1)
            length = min(length, len(line.text) + 1 - column)
        return Span(line.path, line.line, column, max(1, length), line.text)


def span_of(text: object) -> Span | None:
    """The place of a text, or None when it came from elsewhere than a file."""
    return text.at if isinstance(text, Located) else None


def _line_starts(text: str, most: int) -> tuple[int, ...]:
    starts = [0]
    for line in text.split("\n")[: most - 1]:
        starts.append(starts[-1] + len(line) + 1)
    return tuple(starts)
