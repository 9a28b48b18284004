"""Faults of a row that only a run can find: the query raises a marked text, and the text becomes an error of ours.

The mark survives what DuckDB, Spark and Beam make of a message.
"""

from __future__ import annotations

import re

from mlplatform.errors import EngineError

_MARKED = re.compile(r"mlplatform-row<(E_[A-Z_]+)\|([^|]*)\|([^|]*)\|(.*?)>mlplatform-row", re.DOTALL)


def opening(code: str, message: str, hint: str) -> str:
    """What a query puts before the names and values that tell which row it is; neither text may hold a `|`."""
    return f"mlplatform-row<{code}|{message}|{hint}|"


CLOSING = ">mlplatform-row"


def row_fault(text: str, what: str) -> EngineError | None:
    """The error behind a text that a query raised while `what` ran, or None where it raised none of ours."""
    found = _MARKED.search(text)
    if found is None:
        return None
    code, message, hint, row = found.groups()
    return EngineError(code, f"{message} while {what}", hint=hint, notes=[f"row: {row}"])
