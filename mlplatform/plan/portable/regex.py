"""Regular expressions that RE2 and Java read alike; the rest is refused while planning."""

from __future__ import annotations

import re

from mlplatform.plan.portable.model import Refused

# What means something else, or nothing, to one of the two: look-around and possessive forms are Java's alone; \C,
# \Q..\E and \pL are RE2's; \h, \R, \X, \G, \Z and back references are Java's.
_ESCAPES = set("dDwWsSbBAntrfv\\.+*?()[]{}|^$/-\"'`~!@#%&=:;,<> ")
_CLASSES = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "digit": "0-9", "lower": "a-z", "upper": "A-Z", "xdigit": "0-9A-Fa-f",
    "space": r"\t\n\x0B\f\r ", "blank": r"\t ", "word": "0-9A-Za-z_", "punct": r"!-/:-@\[-`{-~",
}  # fmt: skip

_WORD = "[0-9A-Za-z_]"
_SAID = {
    "s": r"[\t\n\f\r ]", "S": r"[^\t\n\f\r ]", "v": r"\x0B",
    "b": f"(?:(?<={_WORD})(?!{_WORD})|(?<!{_WORD})(?={_WORD}))",
    "B": f"(?:(?<={_WORD})(?={_WORD})|(?<!{_WORD})(?!{_WORD}))",
}  # fmt: skip


def to_java(pattern: str) -> str:
    """The pattern as Java reads it with RE2's meaning.

    Raises: Refused for what the two do not share.
    """
    made, place, in_class = "(?d)", 0, False  # of the line ends only \n counts
    while place < len(pattern):
        letter = pattern[place]
        if letter == "\\":
            made += _escape(pattern, place)
            place += 2
            continue
        if in_class:
            part, place, in_class = _in_class(pattern, place)
            made += part
            continue
        if letter == "[":
            made, place, in_class = made + _opened(pattern, place), place + _opened_length(pattern, place), True
            continue
        if letter == "(":
            _check_group(pattern, place)
        if letter in "*+?}" and pattern[place + 1 : place + 2] == "+":
            raise Refused(f"the regular expression {pattern!r}", "a quantifier stands after another")
        made += "(?:\\z)" if letter == "$" else letter
        place += 1
    return made


def _escape(pattern: str, place: int) -> str:
    letter = pattern[place + 1 : place + 2]
    if not letter or letter not in _ESCAPES:
        raise Refused(f"the regular expression {pattern!r}", f"\\{letter} is not the same on every engine")
    return _SAID.get(letter, f"\\{letter}")


def _opened(pattern: str, place: int) -> str:
    head = re.match(r"\[\^?\]?", pattern[place:])
    text = head[0] if head is not None else "["
    return text.replace("]", "\\]")


def _opened_length(pattern: str, place: int) -> int:
    head = re.match(r"\[\^?\]?", pattern[place:])
    return len(head[0]) if head is not None else 1


def _in_class(pattern: str, place: int) -> tuple[str, int, bool]:
    named = re.match(r"\[:(\w+):\]", pattern[place:])
    if named is not None:
        if named[1] not in _CLASSES:
            raise Refused(f"the regular expression {pattern!r}", f"[:{named[1]}:] is not the same on every engine")
        return _CLASSES[named[1]], place + len(named[0]), True
    letter = pattern[place]
    if letter == "&" and pattern[place + 1 : place + 2] == "&":
        return "&\\&", place + 2, True
    return ("\\[" if letter == "[" else letter), place + 1, letter != "]"


def _check_group(pattern: str, place: int) -> None:
    """Plain groups, `(?:…)` and the flags i and s."""
    if pattern[place + 1 : place + 2] == "?" and not re.match(r"\(\?(:|[is]+[:)])", pattern[place:]):
        raise Refused(f"the regular expression {pattern!r}", "(?… other than (?:…) is not the same on every engine")
