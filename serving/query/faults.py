"""Faults put in front of the query engine, for scenarios: it is late, fails, or hangs. Never on unless asked for."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from serving.http.errors import ApiError

_HANG_S = 3600.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong. `error_every` 3 fails each third execution; `is_cut` never answers."""

    delay_s: float = 0.0
    error_every: int = 0
    is_cut: bool = False


class OriginFaults:
    """Faults as a JSON file says, looked at before each execution; no file means none."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp = -1
        self._fault = Fault()
        self.executions = 0

    async def before_execution(self) -> None:
        """Wait, or raise, as the file says. Raises: ApiError origin_down."""
        self.executions += 1
        fault = self._read()
        if fault.is_cut:
            await asyncio.sleep(_HANG_S)
        if fault.delay_s > 0:
            await asyncio.sleep(fault.delay_s)
        if fault.error_every > 0 and self.executions % fault.error_every == 0:
            raise ApiError("origin_down", "the query engine failed (a fault of the bench)", retry_after_ms=1000)

    def _read(self) -> Fault:
        try:
            stamp = self._file.stat().st_mtime_ns
            if stamp != self._stamp:
                self._fault, self._stamp = Fault(**json.loads(self._file.read_text())), stamp
        except FileNotFoundError:
            self._fault, self._stamp = Fault(), -1
        except (ValueError, TypeError):
            pass  # half-written: the fault before it holds until the next look
        return self._fault


def set_fault(file: Path, fault: Fault) -> None:
    """Write the file that query workers look at."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(asdict(fault)))
    new.replace(file)
