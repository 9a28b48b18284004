"""Expressions over intervals against a tick-by-tick oracle, on every engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.engines.table import ENGINES
from tests.properties.in_time import engine_pipelines, pack, table_of, timed
from tests.properties.oracles.intervals import PAIRS, Algebra, Span, Tree
from tests.properties.pipelines import Pipelines, Row, canonical, drawn, examples

REFERENCE, *OTHERS = ENGINES
Tables = tuple[list[Row], ...]
_WORDS = {True: "true", False: "false", None: "unknown"}
NAMES = ("a", "b", "c")  # a has a coverage, b a truth column, c neither


def _spans(truth: st.SearchStrategy[bool | None]) -> st.SearchStrategy[list[Row]]:
    start, length = st.one_of(st.none(), *[st.integers(-9, 9)] * 6), st.sampled_from([0, 1, 1, 2, 3, 5, 9])
    row = st.builds(
        lambda key, start, length, truth: {
            "log_id": key, "s": start, "e": None if start is None else start + length, "truth": truth},
        st.sampled_from(["x", "x", "y", None]), start, length, truth,
    )  # fmt: skip
    return st.lists(row, max_size=6)


def _grown(children: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    return st.one_of(
        st.tuples(st.sampled_from(["and", "or", "minus"]), children, children),
        st.tuples(st.just("not"), children),
        st.tuples(st.just("during"), children, children),
        st.tuples(st.sampled_from(["then", "starts_within"]), children, children, st.integers(0, 4)),
        st.lists(children, min_size=1, max_size=3).flatmap(
            lambda items: st.integers(1, len(items)).map(lambda least: ("count_ge", least, *items))
        ),
    )


def _is_covered(tree: Tree, negated: bool = False) -> bool:
    """Whether all that it negates has a coverage."""
    word, *parts = tree
    if negated and word in ("c", *PAIRS):
        return False
    below = negated and word not in PAIRS
    inner = [part for part in parts if isinstance(part, tuple)]
    return all(
        _is_covered(part, below or word == "not" or (word == "minus" and place == 1))
        for place, part in enumerate(inner)
    )


TREE = st.recursive(st.sampled_from([(name,) for name in NAMES]), _grown, max_leaves=5).filter(_is_covered)
TABLES = st.tuples(_spans(st.just(True)), _spans(st.sampled_from([True, False, None])), _spans(st.just(True)),
                   _spans(st.just(True)))  # fmt: skip


def _text(tree: Tree, unit: str) -> str:
    word, *parts = tree
    if word in (*PAIRS, "count_ge"):
        items = [_text(part, unit) if isinstance(part, tuple) else str(part) for part in parts]
        if word in ("then", "starts_within"):
            items[-1] += unit
        return f"{word}({', '.join(items)})"
    if word == "not":
        return f"not ({_text(parts[0], unit)})"
    return f"({_text(parts[0], unit)}) {word} ({_text(parts[1], unit)})" if parts else word


def _known(rows: list[Row], log: str) -> list[tuple[int, int, bool | None]]:
    return [(row["s"], row["e"], row["truth"]) for row in rows if row["log_id"] == log and row["s"] is not None]


def _names(tree: Tree) -> set[str]:
    return (
        {tree[0]} if tree[0] in NAMES else {name for part in tree if isinstance(part, tuple) for name in _names(part)}
    )


def _expected(tree: Tree, tables: Sequence[list[Row]], *, everything: bool) -> Iterator[Row]:
    for log in {row["log_id"] for rows in tables for row in rows} - {None}:
        *inputs, cover = (_known(rows, log) for rows in tables)
        covered: list[Span] = [(start, end) for start, end, _ in cover]
        algebra = Algebra(dict(zip(NAMES, inputs, strict=True)), {"a": covered})
        if tree[0] in PAIRS:
            spans: list[tuple[int, int, bool | None]] = [(start, end, True) for start, end in algebra.pairs(tree)]
        else:
            spans = algebra.spans(tree, _ticks(tree, algebra))
        for start, end, truth in spans:
            if everything or truth is True:
                yield {"log_id": log, "s": start, "e": end, **({"truth": _WORDS[truth]} if everything else {})}


def _ticks(tree: Tree, algebra: Algebra) -> range:
    """From the first start to the last end of what the set operators see."""
    if tree[0] in PAIRS:
        seen = sorted(algebra.pairs(tree))
    elif tree[0] in NAMES:
        seen = [(start, end) for start, end, _ in algebra.rows[tree[0]]] + algebra.cover.get(tree[0], [])
    else:
        ranges = [_ticks(part, algebra) for part in tree if isinstance(part, tuple)]
        seen = [(part.start, part.stop) for part in ranges]
    seen = [(start, end) for start, end in seen if start < end]
    return range(min((start for start, _ in seen), default=0), max((end for _, end in seen), default=0))


def _check(
    pipelines: Pipelines, examples_: list[Tables], trees: list[Tree], kind: pa.DataType, engine: str = REFERENCE
) -> None:
    unit, tables = "ns" if kind == pa.int64() else "us", [pack(rows, "log_id") for rows in zip(*examples_, strict=True)]
    schema = [("log_id", pa.string()), ("s", kind), ("e", kind)]
    kinds = {"a": schema, "b": [*schema, ("truth", pa.bool_())], "c": schema, "cover": schema}
    only = {name: [column for column, _ in kinds[name]] for name in kinds}
    inputs = {name: table_of([{each: row[each] for each in only[name]} for row in rows], kinds[name])
              for name, rows in zip(kinds, tables, strict=True)}  # fmt: skip
    sources: dict[str, Any] = {"a": {"from": "a", "coverage": "cover"}, "b": "b", "c": "c"}
    steps = {
        f"o{number}": {"intervals": {
            "start": "s", "end": "e", "expr": _text(tree, unit), "emit": "all_spans" if number % 2 else "true_spans",
            "inputs": {name: sources[name] for name in NAMES if name in _names(tree)},
        }}
        for number, tree in enumerate(trees)
    }  # fmt: skip
    found = engine_pipelines(pipelines, inputs, steps, engine)
    for number, tree in enumerate(trees):
        expected = [timed(row, kind, ("s", "e")) for row in _expected(tree, tables, everything=bool(number % 2))]
        assert found[f"o{number}"] == canonical(expected), _text(tree, unit)


@pytest.mark.parametrize("kind", [pa.int64(), pa.timestamp("us", "UTC")], ids=["ns", "timestamp"])
@examples(5)
@given(st.lists(TABLES, min_size=4, max_size=4), st.lists(TREE, min_size=6, max_size=6))
def test_expressions(pipelines: Pipelines, kind: pa.DataType, tables: list[Tables], trees: list[Tree]) -> None:
    _check(pipelines, tables, trees, kind)


@pytest.mark.parametrize("engine", OTHERS)
def test_other_engines(pipelines: Pipelines, engine: str) -> None:
    _check(pipelines, drawn(TABLES, 12), drawn(TREE, 6), pa.int64(), engine)
