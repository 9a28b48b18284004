"""Durations and sizes: a number and its unit, exact to the nanosecond and the byte."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from mlplatform.errors import Span, SpecError, repr_name

# Word → nanoseconds.
UNITS: dict[str, int] = {
    "ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "min": 60 * 10**9, "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}  # fmt: skip
# Word → bytes.
SIZE_UNITS: dict[str, int] = {
    "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_AMOUNT = re.compile(r"([+-]?)([0-9]{1,30}(?:\.[0-9]{1,30})?|\.[0-9]{1,30})\s*([A-Za-zµ]*)\Z")
_MAX_NS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Duration:
    """A length of time; never negative."""

    ns: int
    text: str

    def __str__(self) -> str:
        return self.text


def parse_duration(text: str, *, at: Span | None = None) -> Duration:
    """The duration that a text like `90s` or `1.5h` names.

    Raises: SpecError E_DURATION for a missing or unknown unit, a negative number, parts of a nanosecond, or more than
        a bigint of nanoseconds holds (292 years).

    >>> parse_duration("1.5s").ns
    1500000000
    """
    amount, unit = _split(text, "E_DURATION", "duration", "30s", UNITS, at)
    ns = amount * UNITS[unit]
    if ns.denominator != 1:
        raise _wrong("E_DURATION", f"duration {repr_name(text)} is finer than a nanosecond", at, "round it")
    if ns > _MAX_NS:
        raise _wrong("E_DURATION", f"duration {repr_name(text)} is longer than 292 years", at, "shorten it")
    return Duration(int(ns), str(text))


def to_ticks(duration: Duration, tick_ns: int, at: Span | None = None) -> int:
    """The duration as a whole number of ticks of `tick_ns` nanoseconds.

    Raises: SpecError E_DURATION when it is not whole; it is never rounded.
    """
    ticks, rest = divmod(duration.ns, tick_ns)
    if rest:
        unit = next((word for word, ns in UNITS.items() if ns == tick_ns), f"{tick_ns} ns")
        message = f"duration {repr_name(duration.text)} is not a whole number of {unit}, the tick of the time column"
        raise _wrong("E_DURATION", message, at, f"write a multiple of {unit}")
    return ticks


def parse_size(text: str, *, at: Span | None = None) -> int:
    """The bytes that a text like `256MiB` names.

    Raises: SpecError E_SIZE for a missing or unknown unit, a negative number, or parts of a byte.

    >>> parse_size("256MiB")
    268435456
    """
    amount, unit = _split(text, "E_SIZE", "size", "256MiB", SIZE_UNITS, at)
    size = amount * SIZE_UNITS[unit]
    if size.denominator != 1:
        raise _wrong("E_SIZE", f"size {repr_name(text)} is not a whole number of bytes", at, "round it")
    return int(size)


def size_text(size_bytes: int) -> str:
    """A size in the greatest unit that leaves a whole part.

    >>> size_text(1536), size_text(999)
    ('1.5 KiB', '999 B')
    """
    size, units = float(size_bytes), iter(("KiB", "MiB", "GiB", "TiB"))
    unit = "B"
    while size >= 1024 and unit != "TiB":
        size, unit = size / 1024, next(units)
    return f"{size_bytes} B" if unit == "B" else f"{size:.1f} {unit}"


def counted(count: int, noun: str) -> str:
    """A count and its noun.

    >>> counted(1, "row"), counted(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"


def _split(
    text: str, code: str, what: str, example: str, units: dict[str, int], at: Span | None
) -> tuple[Fraction, str]:
    found = _AMOUNT.match(text.strip())
    known = f"units: {' '.join(units)}"
    if found is None:
        message = f"{repr_name(text)} is no {what}"
        raise _wrong(code, message, at, f"write a number and its unit, as in {example}", known)
    sign, number, unit = found.groups()
    if not unit:
        raise _wrong(code, f"{what} {repr_name(text)} has no unit", at, f'write its unit, as in "{example}"', known)
    if unit not in units:
        raise _wrong(code, f"{what} {repr_name(text)} has an unknown unit {repr_name(unit)}", at, known)
    if sign == "-":
        raise _wrong(code, f"{what} {repr_name(text)} is negative", at, "leave the minus away")
    return Fraction(number), unit


def _wrong(code: str, message: str, at: Span | None, hint: str, *notes: str) -> SpecError:
    return SpecError(code, message, at=at, hint=hint, notes=notes)
