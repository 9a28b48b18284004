"""Sets of intervals by brute force: Kleene's logic at every tick, and pairs by trying them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Span = tuple[int, int]
Tree = tuple[Any, ...]  # ("a",) is an input; ("and", x, y), ("not", x), ("count_ge", 2, x, y), ("then", x, y, 3), …
PAIRS = ("then", "during", "starts_within")


class Algebra:
    """An expression over the spans of one log; `rows` are (start, end, truth) by input, `cover` spans by input."""

    def __init__(self, rows: Mapping[str, Sequence[tuple[int, int, bool | None]]], cover: Mapping[str, list[Span]]):
        self.rows, self.cover = rows, cover

    def at(self, tree: Tree, tick: int) -> bool | None:
        """What holds at a tick: true, false or None, unknown."""
        word, *parts = tree
        if word in PAIRS:
            return True if any(start <= tick < end for start, end in self.pairs(tree)) else None
        if word == "count_ge":
            values = [self.at(part, tick) for part in parts[1:]]
            if values.count(True) >= parts[0]:
                return True
            return False if values.count(True) + values.count(None) < parts[0] else None
        if word not in ("and", "or", "not", "minus"):
            return self._input(word, tick)
        values = [self.at(part, tick) for part in parts]
        if word in ("not", "minus"):
            values[-1] = None if values[-1] is None else not values[-1]
        decisive = word == "or"
        return decisive if decisive in values else None if None in values else not decisive

    def _input(self, name: str, tick: int) -> bool | None:
        found = {truth for start, end, truth in self.rows[name] if start <= tick < end}
        if found:
            return True if True in found else False if False in found else None
        return False if any(start <= tick < end for start, end in self.cover.get(name, [])) else None

    def spans(self, tree: Tree, ticks: range) -> list[tuple[int, int, bool | None]]:
        """Stretches of one truth, first to last tick."""
        found: list[tuple[int, int, bool | None]] = []
        for tick in ticks:
            truth = self.at(tree, tick)
            if found and found[-1][2] is truth:
                found[-1] = (found[-1][0], tick + 1, truth)
            else:
                found.append((tick, tick + 1, truth))
        return found

    def pairs(self, tree: Tree) -> set[Span]:
        """The spans of a pair operator."""
        word, one, other, *limit = tree
        a, b = self._side(one), self._side(other)
        if word == "during":
            return {span for span in a if any(s <= span[0] and span[1] <= e for s, e in b)}
        if word == "starts_within":
            return {span for span in a if any(0 <= span[0] - s <= limit[0] for s, _ in b)}
        firsts = {span: min((t for t in b if 0 <= t[0] - span[1] <= limit[0]), default=None) for span in a}
        return {(span[0], first[1]) for span, first in firsts.items() if first is not None}

    def _side(self, tree: Tree) -> set[Span]:
        if tree[0] in PAIRS:
            return self.pairs(tree)
        if tree[0] in self.rows:
            return {(start, end) for start, end, truth in self.rows[tree[0]] if truth is True and start < end}
        return {(start, end) for start, end, truth in self.spans(tree, range(-30, 60)) if truth is True}
