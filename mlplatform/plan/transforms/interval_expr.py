"""The expression language of `intervals`: its text as a tree, and its faults at the places where they stand.

or    := and ('or' and)*
and   := not (('and' | 'minus') not)*          from the left: `a minus b and c` is `(a minus b) and c`
not   := 'not' not | item
item  := name | '(' or ')' | then(or, or, 2s) | during(or, or) | starts_within(or, or, 2s) | count_ge(2, or, …)
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from mlplatform.errors import PlanError, Span, did_you_mean, listed, repr_name
from mlplatform.spec.durations import Duration, parse_duration
from mlplatform.spec.located import Located


@dataclass(frozen=True, slots=True)
class Name:
    """An input."""

    text: str
    at: Span


@dataclass(frozen=True, slots=True)
class Not:
    """What is known and not true."""

    item: Expression
    at: Span


@dataclass(frozen=True, slots=True)
class Both:
    """Two sets of intervals combined, moment for moment."""

    word: Literal["and", "or", "minus"]
    left: Expression
    right: Expression
    at: Span


@dataclass(frozen=True, slots=True)
class Count:
    """Where at least `least` of the items hold."""

    least: int
    items: tuple[Expression, ...]
    at: Span


@dataclass(frozen=True, slots=True)
class Pair:
    """Intervals of `a` that stand in a relation to one of `b`; `limit` is None for `during`."""

    word: Literal["then", "during", "starts_within"]
    a: Expression
    b: Expression
    limit: tuple[Duration, Span] | None
    at: Span


Expression = Name | Not | Both | Count | Pair

_PAIRS: dict[str, Literal["then", "during", "starts_within"]] = {
    "then": "then", "during": "during", "starts_within": "starts_within",
}  # fmt: skip
_CALLS = (*_PAIRS, "count_ge")
WORDS = ("and", "or", "not", "minus", *_CALLS)
_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][\w.]*)|(?P<amount>-?[0-9.]+[ ]?[A-Za-zµ]*)|(?P<mark>[(),])|(?P<other>\S))"
)
_DEEPEST = 100


def parse_intervals(text: Located, names: Collection[str]) -> Expression:
    """The tree of an expression over the inputs of these names.

    Raises: PlanError E_SQL (syntax), E_NAME_UNKNOWN, E_VALUE; SpecError E_DURATION; each at its place in the text.
    """
    parser = _Parser(text, names)
    found = parser.either()
    parser.end()
    return found


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: Span


def _tokens(text: Located) -> list[_Token]:
    found = [
        _Token(str(match.lastgroup), match[str(match.lastgroup)], _place(text, match))
        for match in _TOKEN.finditer(text)
    ]
    return [*found, _Token("end", "", text.span_at(max(0, len(text.rstrip()) - 1)))]


def _place(text: Located, match: re.Match[str]) -> Span:
    start, end = match.span(str(match.lastgroup))
    return text.span_at(start, end - start)


class _Parser:
    def __init__(self, text: Located, names: Collection[str]) -> None:
        self.tokens, self.names, self.position, self.depth = _tokens(text), names, 0, 0

    @property
    def next(self) -> _Token:
        return self.tokens[self.position]

    def take(self) -> _Token:
        token = self.next
        self.position += token.kind != "end"
        return token

    def takes(self, text: str) -> bool:
        """Step over the next token where it is this one."""
        is_next = self.next.text.lower() == text
        self.position += is_next
        return is_next

    def need(self, mark: str, after: str) -> None:
        if not self.takes(mark):
            self.fail(f"expected {mark!r} {after}")

    def end(self) -> None:
        if self.next.kind != "end":
            words = "and, or, minus"
            self.fail(f"expected {words} or the end of the expression", did_you_mean(self.next.text, WORDS[:4]))

    def fail(self, message: str, hint: str | None = None) -> None:
        found = f", found {self.next.text!r}" if self.next.kind != "end" else ", found the end of the expression"
        raise PlanError("E_SQL", message + found, at=self.next.at, hint=hint)

    # --- operators ---------------------------------------------------------------------------------------------------

    def either(self) -> Expression:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise PlanError("E_SQL", "the expression is nested too deeply", at=self.next.at, hint="name parts as steps")
        found = self.both()
        while self.next.text.lower() == "or":
            at = self.take().at
            found = Both("or", found, self.both(), at)
        self.depth -= 1
        return found

    def both(self) -> Expression:
        found = self.negated()
        while self.next.text.lower() in ("and", "minus"):
            token = self.take()
            found = Both("and" if token.text.lower() == "and" else "minus", found, self.negated(), token.at)
        return found

    def negated(self) -> Expression:
        nots = []
        while self.next.text.lower() == "not":
            nots.append(self.take().at)
        found = self.item()
        for at in reversed(nots):
            found = Not(found, at)
        return found

    def item(self) -> Expression:
        if self.takes("("):
            found = self.either()
            self.need(")", "to close the parenthesis")
            return found
        token = self.next
        if token.kind != "name" or token.text.lower() in WORDS[:4]:
            self.fail("expected the name of an input, a call or '('")
        self.take()
        if self.next.text == "(":
            return self.call(token)
        return self.name(token)

    def name(self, token: _Token) -> Name:
        if token.text not in self.names:
            is_call = token.text.lower() in _CALLS
            hint = f"write {token.text}(…)" if is_call else did_you_mean(token.text, self.names)
            notes = [f"inputs: {listed(self.names)}"]
            message = f"{repr_name(token.text)} is no input of the expression"
            raise PlanError("E_NAME_UNKNOWN", message, at=token.at, hint=hint, notes=notes)
        return Name(token.text, token.at)

    # --- calls -------------------------------------------------------------------------------------------------------

    def call(self, token: _Token) -> Expression:
        word = token.text.lower()
        if word not in _CALLS:
            notes = [f"calls: {', '.join(_CALLS)}"]
            hint = did_you_mean(word, _CALLS)
            raise PlanError("E_NAME_UNKNOWN", f"there is no {token.text}(…)", at=token.at, hint=hint, notes=notes)
        self.need("(", f"after {word}")
        found = self.count(token) if word == "count_ge" else self.pair(_PAIRS[word], token)
        self.need(")", f"to close {word}(…")
        return found

    def pair(self, word: Literal["then", "during", "starts_within"], token: _Token) -> Pair:
        a = self.either()
        self.need(",", f"and the second of the two inputs of {word}")
        b = self.either()
        limit = None
        if word != "during":
            self.need(",", f"and a duration: {word}(a, b, 2s)")
            limit = self.duration(word)
        return Pair(word, a, b, limit, token.at)

    def duration(self, word: str) -> tuple[Duration, Span]:
        token = self.next
        if token.kind not in ("amount", "name"):
            self.fail(f"expected a duration as the last of {word}(a, b, 2s)")
        self.take()
        return parse_duration(token.text, at=token.at), token.at

    def count(self, token: _Token) -> Count:
        least = self.next
        if not re.fullmatch("[0-9]{1,9}", least.text):
            self.fail("expected a whole number as the first of count_ge(2, a, b)")
        self.take()
        items = []
        while self.takes(","):
            items.append(self.either())
        if not 1 <= int(least.text) <= len(items):
            message = f"count_ge({least.text}, …) of {len(items)} input{'s' * (len(items) != 1)}"
            raise PlanError("E_VALUE", message, at=least.at, hint="count from 1 to the number of the inputs after it")
        return Count(int(least.text), tuple(items), token.at)
