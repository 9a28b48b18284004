"""The words for broken YAML: one wording and one place for each mistake, whichever of the two parsers found it.

PyYAML's parser in C and the one in Python word the same problem differently and mark places that differ by a character.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml

from mlplatform.errors import Span, SpecError
from mlplatform.spec.source_text import Mark, SpecText


@dataclass(frozen=True, slots=True)
class _Wording:
    """`pattern` is looked for in "context: problem"; `opener` says that the place is where the broken thing begins."""

    pattern: str
    message: str
    hint: str
    opener: bool = False


_WORDINGS = (
    _Wording(
        "mapping values are not allowed|found unexpected ':'",
        "a colon stands where no key can be",
        'put a text that contains ": " in quotes',
    ),
    _Wording(
        "(scanning|parsing) an? (alias|anchor)",
        "anchors and aliases are not part of the spec language",
        "write the value out",
        True,
    ),
    _Wording(
        "(scanning|parsing) a tag|tag handle",
        "tags are not part of the spec language",
        "leave the ! away, or put the text in quotes",
        True,
    ),
    _Wording(
        "directive|incompatible YAML", "directives are not part of the spec language", "leave the % line away", True
    ),
    _Wording("block scalar", "the block's head is wrong", "write | alone, and the text on the lines below it", True),
    _Wording("scanning a quoted scalar: found unexpected", "the quote is never closed", "close it", True),
    _Wording(
        "(quoted scalar|double-quoted scalar): ",
        "a double-quoted text holds an unknown escape",
        r"write \\ for a backslash, or use single quotes",
        True,
    ),
    _Wording("could not find expected ':'", "a key lacks its colon", 'write "key: value"', True),
    _Wording("cannot start any token", "a plain text cannot begin so", "put the text in quotes"),
    _Wording(
        "sequence entries are not allowed",
        'a "- " stands where no list item can be',
        "put the list on lines of its own",
    ),
    _Wording("mapping keys are not allowed", 'a "? " stands where no key can be', 'write "key: value"'),
    _Wording("document start", "something stands after the end of the document", "one file is one document"),
    _Wording("node content", "a value is missing here", "write the value"),
    _Wording(
        "did not find expected key|expected <block end>|'-' indicator",
        "the line fits neither the keys nor the list items above it",
        "check its indentation, its colon or its quotes",
    ),
)
_UNCLOSED = re.compile("expected ',' or '([]}])'")


def syntax_error(problem: yaml.MarkedYAMLError, source: SpecText) -> SpecError:
    """The error for what the parser could not read."""
    text = f"{problem.context or ''}: {problem.problem or ''}"
    unclosed = _UNCLOSED.search(text)
    if unclosed is not None:
        return _unclosed(problem, source, unclosed.group(1))
    for wording in _WORDINGS:
        if re.search(wording.pattern, text):
            mark = problem.context_mark if wording.opener and problem.context_mark else problem.problem_mark
            return SpecError("E_YAML", wording.message, at=_place(mark, source), hint=wording.hint)
    return SpecError("E_YAML", "this is not well-formed YAML", at=_place(problem.problem_mark, source))


def bad_escape(mark: Mark | None, source: SpecText) -> SpecError:
    """The error for an escape that names no character, which one of the parsers lets pass."""
    wording = next(wording for wording in _WORDINGS if "double-quoted" in wording.pattern)
    return SpecError("E_YAML", wording.message, at=_place(mark, source), hint=wording.hint)


def _unclosed(problem: yaml.MarkedYAMLError, source: SpecText, closer: str) -> SpecError:
    opener = "[" if closer == "]" else "{"
    mark = problem.problem_mark
    if mark is None or _ends_at(mark, source):
        return SpecError(
            "E_YAML",
            f'"{opener}" is never closed',
            at=_place(problem.context_mark, source),
            hint=f'close it with "{closer}"',
        )
    opened = f"{problem.context_mark.line + 1}:{problem.context_mark.column + 1}" if problem.context_mark else "above"
    return SpecError(
        "E_YAML",
        f'a comma or "{closer}" is missing before this, for the "{opener}" at {opened}',
        at=_place(mark, source),
        hint="add it, or put a text with special characters in quotes",
    )


def _ends_at(mark: Mark, source: SpecText) -> bool:
    """Whether only blanks and comments follow."""
    rest = [line[mark.column :] if not row else line for row, line in enumerate(source.lines[mark.line :])]
    return all(not line.strip() or line.lstrip().startswith("#") for line in rest)


def _place(mark: Mark | None, source: SpecText) -> Span | None:
    if mark is None:
        return None
    row = min(mark.line, len(source.lines) - 1)
    return source.span(row, min(mark.column, len(source.lines[row])))
