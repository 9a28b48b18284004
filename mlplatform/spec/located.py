"""Text that remembers where in its file it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlplatform.errors import Span


class Located(str):
    """A `str` with its place: equal to, and hashed like, the plain text.

    `at` spans the text's first line. `lines` holds, for text of several lines (a YAML block), the span of each, so that
    an offset into the text can be shown in the file.
    """

    at: Span
    lines: tuple[Span, ...]

    def __new__(cls, text: str, at: Span, lines: Sequence[Span] = ()) -> Located:
        self = super().__new__(cls, text)
        self.at = at
        self.lines = tuple(lines) or (at,)
        return self

    def __reduce__(self) -> tuple[type[Located], tuple[str, Span, tuple[Span, ...]]]:
        return Located, (str(self), self.at, self.lines)

    def span_at(self, offset: int, length: int = 1) -> Span:
        """The place of `length` characters from `offset` on (both counted in this text)."""
        before = self[:offset]
        row = min(before.count("\n"), len(self.lines) - 1)
        column = offset - (before.rfind("\n") + 1)
        line = self.lines[row]
        return replace(line, column=line.column + column, length=max(1, length))


def span_of(text: str) -> Span | None:
    """The place of a text, or None when it came from elsewhere than a file."""
    return text.at if isinstance(text, Located) else None
