"""JSON text → Python values, as strict as RFC 8259 and stricter: a key may stand once in an object."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Literal

_BLANK = re.compile(r"[ \t\r\n]*")
_MAX_DIGITS = 4_000  # Python refuses to convert longer whole numbers


class JsonTextError(Exception):
    """Text that is no JSON, or not what was expected; `line` counts from 1 in the text given."""

    def __init__(self, why: str, line: int) -> None:
        super().__init__(why, line)
        self.why, self.line = why, line


def objects_of(
    text: str, layout: Literal["lines", "array", "values"], *, is_whole: bool
) -> Iterator[dict[str, Any]]:  # Any: JSON
    """The objects in a text; when it is not whole, those that are complete.

    Raises: JsonTextError.
    """
    match layout:
        case "lines":
            for line, part in enumerate(text.split("\n"), 1):
                if part.strip(" \t\r"):
                    value, end = _decoded(part, _skip(part, 0), line)
                    if _skip(part, end) < len(part):
                        raise JsonTextError("text follows the value", line)
                    yield _object(value, text, line=line)
        case "array":
            yield from _elements(text, is_whole=is_whole)
        case "values":
            yield from _values(text, is_whole=is_whole)


def _elements(text: str, *, is_whole: bool) -> Iterator[dict[str, Any]]:  # Any: JSON
    position = _skip(text, _skip(text, 0) + 1)
    if text[position : position + 1] == "]":
        _end(text, position + 1)
        return
    while True:
        try:
            value, end = _decoded(text, position, 1)
        except JsonTextError:
            if is_whole:
                raise
            return  # the sample ends within this value
        yield _object(value, text, position)
        position = _skip(text, end)
        mark = text[position : position + 1]
        if mark == "]":
            _end(text, position + 1)
            return
        if mark != ",":
            if not mark and not is_whole:
                return
            raise JsonTextError('"," or "]" is missing', _line(text, position))
        position = _skip(text, position + 1)


def _values(text: str, *, is_whole: bool) -> Iterator[dict[str, Any]]:  # Any: JSON
    position = _skip(text, 0)
    while position < len(text):
        try:
            value, end = _decoded(text, position, 1)
        except JsonTextError:
            if is_whole:
                raise
            return
        yield _object(value, text, position)
        position = _skip(text, end)


def _decoded(text: str, position: int, first_line: int) -> tuple[Any, int]:  # Any: JSON
    try:
        value, end = _DECODER.raw_decode(text, position)
    except json.JSONDecodeError as error:
        raise JsonTextError(_reason(error.msg), first_line + text.count("\n", 0, error.pos)) from error
    except RecursionError as error:
        raise JsonTextError("the values are nested too deeply", first_line) from error
    except _RefusedError as error:
        raise JsonTextError(str(error), first_line + text.count("\n", 0, position)) from error
    return value, end


class _RefusedError(Exception):
    pass


def _reason(message: str) -> str:
    return message[:1].lower() + message[1:].removesuffix(" at")


def _object(value: Any, text: str, position: int = 0, *, line: int | None = None) -> dict[str, Any]:  # Any: JSON
    if not isinstance(value, dict):
        kind = {list: "an array", str: "a text", bool: "a boolean", type(None): "null"}.get(type(value), "a number")
        raise JsonTextError(f"it holds {kind} where an object (a row) must stand", line or _line(text, position))
    return value


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:  # Any: JSON
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = next(key for key in made if sum(key == other for other, _ in pairs) > 1)
        raise _RefusedError(f'an object has the key "{twice}" twice')
    if any("\0" in key for key in made):
        raise _RefusedError("a key holds a NUL character")
    return made


def _constant(word: str) -> Any:  # Any: it never returns
    raise _RefusedError(f"{word} is no JSON number")


def _whole(digits: str) -> Decimal | int:
    return Decimal(digits) if len(digits) > _MAX_DIGITS else int(digits)


def _fraction(digits: str) -> float | Decimal:
    value = float(digits)
    return Decimal(digits) if math.isinf(value) else value


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _skip(text: str, position: int) -> int:
    blank = _BLANK.match(text, position)
    return blank.end() if blank else position


def _end(text: str, position: int) -> None:
    rest = _skip(text, position)
    if rest < len(text):
        raise JsonTextError("text follows the array", _line(text, rest))


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_int=_whole, parse_float=_fraction)
