"""Texts of the type language, read: `decimal(12,2)`, `list<struct<a: int>>`."""

from __future__ import annotations

import re

from mlplatform.errors import PlanError, Span, did_you_mean, repr_name
from mlplatform.types.kinds import SCALARS, DataType, Decimal, List, Map, Struct

_TOKEN = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*|\d+|\"(?:[^\"]|\"\")*\"|[<>(),:\[\]])")
_MAX_DEPTH = 64
_SYNONYMS = {"integer": "int", "long": "bigint", "text": "string", "varchar": "string", "bool": "boolean",
             "real": "float", "blob": "binary", "timestamptz": "timestamp", "str": "string"}  # fmt: skip


def parse_type(text: str, *, at: Span | None = None) -> DataType:
    """The type that a text of the spec language names.

    Raises: PlanError E_TYPE_UNKNOWN, with the near words.

    >>> str(parse_type("list<struct<a:int, b: decimal(12,2)>>"))
    'list<struct<a: int, b: decimal(12,2)>>'
    """
    tokens = _Tokens(text, at)
    kind = _parse(tokens, 0)
    if tokens.peek() is not None:
        raise tokens.error(f"unexpected {tokens.peek()!r}")
    return kind


class _Tokens:
    def __init__(self, text: str, at: Span | None) -> None:
        self.text, self.at, self.index = text, at, 0
        self.items = _TOKEN.findall(text)
        if "".join(self.items) != re.sub(r"\s+(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", "", text):
            raise self.error("stray characters")

    def peek(self) -> str | None:
        return self.items[self.index] if self.index < len(self.items) else None

    def next(self) -> str:
        token = self.peek()
        if token is None:
            raise self.error("the text ends too early")
        self.index += 1
        return token

    def expect(self, token: str) -> None:
        if self.next() != token:
            raise self.error(f"expected {token!r}")

    def error(self, why: str) -> PlanError:
        word = self.text.strip()
        return PlanError(
            "E_TYPE_UNKNOWN",
            f"unknown type {repr_name(word)}: {why}",
            at=self.at,
            hint=f'write "{_SYNONYMS[word.lower()]}"' if word.lower() in _SYNONYMS else did_you_mean(word, SCALARS),
            notes=[f"types: {', '.join(SCALARS)}, decimal(p,s), list<t>, struct<name: t, …>, map<k, v>"],
        )


def _parse(tokens: _Tokens, depth: int) -> DataType:
    if depth > _MAX_DEPTH:
        raise tokens.error(f"nested deeper than {_MAX_DEPTH}")
    word = tokens.next()
    if word == "decimal":
        return _parse_decimal(tokens)
    if word == "list":
        tokens.expect("<")
        element = _parse(tokens, depth + 1)
        tokens.expect(">")
        return List(element)
    if word == "map":
        return _parse_map(tokens, depth)
    if word == "struct":
        return _parse_struct(tokens, depth)
    if word in SCALARS:
        return SCALARS[word]
    raise tokens.error("no such type")


def _parse_decimal(tokens: _Tokens) -> Decimal:
    tokens.expect("(")
    precision = _number(tokens)
    tokens.expect(",")
    scale = _number(tokens)
    tokens.expect(")")
    if not (1 <= precision <= 38 and 0 <= scale <= precision):
        raise tokens.error("precision is 1 to 38, scale 0 to precision")
    return Decimal(precision, scale)


def _number(tokens: _Tokens) -> int:
    token = tokens.next()
    if not token.isdigit():
        raise tokens.error("decimal takes two numbers")
    return int(token)


def _parse_map(tokens: _Tokens, depth: int) -> Map:
    tokens.expect("<")
    key = _parse(tokens, depth + 1)
    tokens.expect(",")
    value = _parse(tokens, depth + 1)
    tokens.expect(">")
    return Map(key, value)


def _parse_struct(tokens: _Tokens, depth: int) -> Struct:
    tokens.expect("<")
    fields: list[tuple[str, DataType]] = []
    while True:
        name = tokens.next()
        tokens.expect(":")
        fields.append((name.strip('"').replace('""', '"'), _parse(tokens, depth + 1)))
        token = tokens.next()
        if token == ">":
            break
        if token != ",":
            raise tokens.error("expected , or >")
    if len({name.lower() for name, _ in fields}) < len(fields):
        raise tokens.error("a field stands twice")
    return Struct(tuple(fields))
