"""Texts of times, read alike by every Python: `2013-01-31 05:00:00.5+01`."""

from __future__ import annotations

import re
from datetime import datetime

# Before 3.11, `fromisoformat` reads fractions of three or six digits and offsets of hours and minutes, no letter Z.
_PARTS = re.compile(r"(.{10}.\d\d(?::\d\d(?::\d\d)?)?)(?:(?<=:\d\d:\d\d)\.(\d+))?([Zz]|([+-]\d\d)(?::?(\d\d))?)?")


def parse_moment(text: str) -> datetime:
    """The time that an ISO 8601 text names, cut to microseconds; it has a zone where the text has one.

    Raises: ValueError.

    >>> parse_moment("2013-01-31 05:00:00.5+01").isoformat()
    '2013-01-31T05:00:00.500000+01:00'
    >>> parse_moment("2013-01-31T05:00Z").isoformat()
    '2013-01-31T05:00:00+00:00'
    """
    found = _PARTS.fullmatch(text.strip())
    if found is None:
        return datetime.fromisoformat(text.strip())
    start, fraction, zone, hours, minutes = found.groups()
    tail = f".{fraction[:6].ljust(6, '0')}" if fraction else ""
    if zone:
        tail += f"{hours}:{minutes or '00'}" if hours else "+00:00"
    return datetime.fromisoformat(start + tail)
