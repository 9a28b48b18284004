"""A timer finer than the loop's own milliseconds, where the system has one."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import sys
from collections.abc import Callable

_MONOTONIC, _ABSOLUTE = 1, 1
_FLAGS = 0o4000 | 0o2000000  # TFD_NONBLOCK | TFD_CLOEXEC


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Time), ("value", _Time))


class Timer:
    """Calls back once at a time of `time.monotonic_ns`; Linux's timerfd, elsewhere the loop's own timer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
        self._loop, self._call = loop, call
        self._handle: asyncio.TimerHandle | None = None
        self._fd = -1
        self._setting = _Setting()
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._fd = self._libc.timerfd_create(_MONOTONIC, _FLAGS)
        if self._fd >= 0:
            loop.add_reader(self._fd, self._fired)

    def set(self, at_ns: int, now_ns: int) -> None:
        """Fire at `at_ns`, or at once where that has passed; replaces what was set."""
        if self._fd < 0:
            self._handle = self._loop.call_later(max(at_ns - now_ns, 0) / 1e9, self._call)
            return
        self._setting.value.seconds, self._setting.value.nanoseconds = divmod(max(at_ns, now_ns + 1), 1_000_000_000)
        self._libc.timerfd_settime(self._fd, _ABSOLUTE, ctypes.byref(self._setting), None)

    def close(self) -> None:
        """Never fire again."""
        if self._handle is not None:
            self._handle.cancel()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _fired(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 8)
        self._call()
