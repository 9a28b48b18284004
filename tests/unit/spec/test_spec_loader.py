from __future__ import annotations

import math
from typing import Any

import pytest
import yaml

from mlplatform.errors import Span
from mlplatform.spec.loader import MAX_DEPTH, PARSER, load
from mlplatform.spec.located import Located
from mlplatform.spec.nodes import MappingNode, Node, ScalarNode, SequenceNode

PARSERS = [yaml.CSafeLoader, yaml.SafeLoader]


def tree(text: str | bytes) -> Node:
    _, root, errors = load(text, "x.yaml")
    assert [error.render() for error in errors] == []
    assert root is not None
    return root


def plain(node: Node) -> Any:
    match node:
        case ScalarNode(value=value):
            return value
        case SequenceNode(items=items):
            return [plain(item) for item in items]
    return {key.value: plain(value) for key, value in node.pairs}


def scalar(text: str) -> Any:
    return plain(tree(f"a: {text}\n"))["a"]


def value_of(text: str) -> Located:
    value = scalar(text)
    assert isinstance(value, Located)
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"), ("yes", "yes"), ("No", "No"), ("y", "y"), ("2013-01-01", "2013-01-01"),
        ("2013-01-01T00:00:00Z", "2013-01-01T00:00:00Z"), ("1:30", "1:30"), ("1_000", "1_000"), ("0b11", "0b11"),
        ("=", "="), ("true", True), ("True", True), ("TRUE", True), ("tRUE", "tRUE"), ("false", False),
        ("null", None), ("~", None), ("NULL", None), ("", None), ("nULL", "nULL"),
        ("0", 0), ("-7", -7), ("+7", 7), ("012", 12), ("0o17", 15), ("0x1F", 31), ("-0o17", "-0o17"),
        ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("1e3", 1000.0), ("-1.5E-3", -0.0015), (".inf", math.inf),
        ("-.Inf", -math.inf), ("1.2.3", "1.2.3"), ("-", "-"), ("+", "+"), (".", "."), ("'1'", "1"), ('"true"', "true"),
        ("''", ""), ("'~'", "~"), ("10 min", "10 min"), ("18446744073709551616", 2**64),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    read = scalar(text) if text != "-" else scalar("'-'")
    assert read == value
    assert type(read) is (Located if isinstance(value, str) else type(value))


def test_not_a_number() -> None:
    assert math.isnan(scalar(".nan"))


def test_bare_names_in_braces_have_no_value() -> None:
    assert plain(tree("{a, b, c: x + 1, d: null}")) == {"a": None, "b": None, "c": "x + 1", "d": None}


def test_columns_count_characters() -> None:
    root = tree("{é: ‹b›, 𝄞: c}\n")
    assert isinstance(root, MappingNode)
    assert [(key.at.column, value.at.column) for key, value in root.pairs] == [(2, 5), (10, 13)]


def test_line_ends_of_any_kind() -> None:
    for end in ("\n", "\r\n", "\r"):
        root = tree(f"a: 1{end}b: |{end}  x{end}  y{end}")
        assert plain(root) == {"a": 1, "b": "x\ny\n"}


def places(text: Located, *parts: str) -> list[tuple[int, int]]:
    spans = [text.span_at(text.index(part), len(part)) for part in parts]
    return [(span.line, span.column) for span in spans]


def test_places_in_a_literal_block() -> None:
    text = value_of("|\n\n    select a\n      from b\n\n    where z\n")
    assert (text.at.line, text.at.column) == (3, 5)
    assert places(text, "select", "from", "b", "where", "z") == [(3, 5), (4, 7), (4, 12), (6, 5), (6, 11)]
    assert text.span_at(len(text)).line == 6


def test_places_in_a_block_with_a_given_indent() -> None:
    text = value_of("|2-\n    x\n  y")
    assert text == "  x\ny"
    assert places(text, "x", "y") == [(2, 5), (3, 3)]


def test_places_in_a_folded_block() -> None:
    text = value_of(">-\n  one two\n  three\n\n  four\n")
    assert text == "one two three\nfour"
    assert places(text, "two", "three", "four") == [(2, 7), (3, 3), (5, 3)]


def test_places_in_quotes() -> None:
    assert places(value_of("'x ''y'' z'"), "x", "y", "z") == [(1, 5), (1, 9), (1, 13)]
    assert places(value_of(r'"a\tb \u00e9 c"'), "a", "b", "é", "c") == [(1, 5), (1, 8), (1, 10), (1, 17)]


def test_places_over_several_lines() -> None:
    assert places(value_of('"one\n  two\n\n  three"'), "one", "two", "three") == [(1, 5), (2, 3), (4, 3)]
    assert places(value_of("one\n  two\n  three"), "one", "two", "three") == [(1, 4), (2, 3), (3, 3)]


def test_the_place_of_a_quoted_text_has_its_quotes() -> None:
    at = value_of("'x y'").at
    assert (at.column, at.length) == (4, 5)


def test_an_offset_past_the_end_stays_on_the_line() -> None:
    span = value_of("abc").span_at(99, 10)
    assert (span.line, span.column, span.length) == (1, 7, 1)


def test_a_located_text_without_places_of_its_lines() -> None:
    text = Located("a\nb", Span("x", 5, 3), [Span("x", 5, 3), Span("x", 6, 1)])
    assert text.span_at(2) == Span("x", 6, 1)


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "[" * 5_000 + "]" * 5_000])
def test_deep_nesting_is_an_error(text: str, parser: Any) -> None:
    _, root, errors = load(text, "x.yaml", parser=parser)
    assert root is None
    assert [(error.code, error.message) for error in errors] == [("E_YAML", f"nested deeper than {MAX_DEPTH}")]


def test_a_hundred_levels_are_fine() -> None:
    tree("[" * 100 + "]" * 100)


def test_size_is_limited() -> None:
    _, root, errors = load(b"#" * (8 * 1024 * 1024 + 1), "x.yaml")
    assert root is None
    assert [error.code for error in errors] == ["E_YAML"]


def test_the_number_of_values_is_limited() -> None:
    _, root, errors = load("[" + "1," * 260_000 + "]", "x.yaml")
    assert root is None
    assert "250,000" in errors[0].message


MISTAKES = [
    "a: b: c", "[1,2", "{a: 1", "a:\n  - x\n b: 1", '"abc', "'abc\n", "@x", "`x`", "%x", "a: *y\n", "a: &x b", '"\\q"',
    '"\\ud800"', '"\\U00110000"', '"\\x0"', "a: !t b", "a: !!str b", "!<x b", "a: ! b", "k\nb: 1", "- a\nb: 2",
    "a: [,]", "a: |0\n  x", "a: |x\n  y", "a: >99\n  y",
    "? a\n: b\n? c", "...\n...", "a\n---\nb", "--- a\nb: 1", "...x",
    "%YAML 1.2\n---\na", "%YAML 2.0\n---\na", "%FOO\n---\na", "a: - b", "a: ? b", "[a]: b", "{a: 1}: b", "a: 1\na: 2",
    "<<: {a: 1}", "'<<': 1", "", "#", "---\n", "a: [x, y\nb: 3\nc: 4", "a: {x, y\nb: 3", "a: 1\n\n]", "}", ",", "&a",
    "a:\n- b\n  - c\n- d", "a: 'x' y", 'a: "x" y', "[a b: c]", "{a: b: c}", "[a, b] c", "a: 1e999", "a: " + "9" * 500,
    "a: |\n  x\n y", "a:\n    b: 1\n  c: 2", "? [a]", "{? a}", "[? a : b]", "a: |+\n\n\n", "- - - a\n - b", "*a : b",
]  # fmt: skip


@pytest.mark.parametrize("text", MISTAKES)
def test_both_parsers_say_the_same(text: str) -> None:
    said = []
    for parser in PARSERS:
        _, root, errors = load(text, "x.yaml", parser=parser)
        said.append((root, [error.render() for error in errors]))
    assert said[0] == said[1]


def test_the_parser_in_c_is_used() -> None:
    assert PARSER is yaml.CSafeLoader
