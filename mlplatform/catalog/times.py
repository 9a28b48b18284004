"""Times of the catalog: UTC microseconds at rest, ISO 8601 text in records."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from mlplatform.types.moments import parse_moment

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def to_us(text: str) -> int:
    """Microseconds since 1970 of an ISO 8601 time; one without a zone is UTC.

    Raises: ValueError.

    >>> to_us("1970-01-01T00:00:01Z")
    1000000
    """
    time = parse_moment(text)
    zoned = time if time.tzinfo is not None else time.replace(tzinfo=timezone.utc)
    return (zoned - _EPOCH) // timedelta(microseconds=1)


def to_iso(time_us: int) -> str:
    """The text of a time, as Python's `isoformat` writes it in UTC.

    >>> to_iso(1_500_000)
    '1970-01-01T00:00:01.500000+00:00'
    """
    return (_EPOCH + timedelta(microseconds=time_us)).isoformat()


def now_us() -> int:
    """The wall clock, for the moment a deletion is noticed; a run's times come with its record."""
    return (datetime.now(timezone.utc) - _EPOCH) // timedelta(microseconds=1)
