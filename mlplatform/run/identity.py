"""What makes a run itself: its id and its times."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone


def new_run_id(now: datetime) -> str:
    """An id that sorts by time and never repeats."""
    return f"{now:%Y%m%dt%H%M%S}{now.microsecond // 1000:03d}-{secrets.token_hex(4)}"


def utc_now() -> datetime:
    """The time at the edge of the platform; nothing inside reads a clock."""
    return datetime.now(timezone.utc)
