"""Where in the file a part of an expression stands."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sqlglot import exp

from mlplatform.errors import Span
from mlplatform.spec.located import Located


def identifier_span(node: exp.Expr, text: Located) -> Span:
    """Where an identifier that was parsed from `text` stands in the file."""
    inner = node.find(exp.Identifier)
    start = inner.meta.get("start") if inner is not None else None
    if inner is None or start is None:
        return text.at
    return text.span_at(start, inner.meta["end"] - start + 1)


def word_span(word: str, texts: Iterable[Located]) -> Span | None:
    """The first place where a word stands in one of the texts, case ignored."""
    pattern = re.compile(rf"(?<![\w]){re.escape(word)}(?![\w])", re.IGNORECASE)
    for text in texts:
        if match := pattern.search(text):
            return text.span_at(match.start(), match.end() - match.start())
    return None
