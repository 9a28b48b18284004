"""Logs as one JSON object a line. Never a token, a key, a row or the text of a query."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import TextIO

# A fault that repeats fills no disk: so many lines of one event a second, the rest are counted.
_MOST_A_SECOND = 20
_MOST_OF = {"request": 1000}


class JsonLog:
    """Writes events; one for a process. `who` says which process (`data-0`, `supervisor`)."""

    def __init__(self, who: str, stream: TextIO | None = None, clock: Callable[[], float] = time.time) -> None:
        self._who = who
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._second = 0
        self._seen: dict[str, int] = {}

    def __call__(self, event: str, /, **facts: object) -> None:
        """Write one event with its facts; times are seconds since 1970."""
        now_s = self._clock()
        if int(now_s) != self._second:
            dropped = {name: count - _most(name) for name, count in self._seen.items() if count > _most(name)}
            self._second, self._seen = int(now_s), {}
            for name, count in dropped.items():
                self._write(now_s, "events_dropped", {"of": name, "count": count})
        self._seen[event] = self._seen.get(event, 0) + 1
        if self._seen[event] <= _most(event):
            self._write(now_s, event, facts)

    def _write(self, now_s: float, event: str, facts: dict[str, object]) -> None:
        line = json.dumps({"at_s": round(now_s, 6), "who": self._who, "event": event, **facts}, default=str)
        self._stream.write(line + "\n")
        self._stream.flush()


def _most(event: str) -> int:
    return _MOST_OF.get(event, _MOST_A_SECOND)
