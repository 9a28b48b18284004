"""The error tree: what a user sees when something is wrong.

Every error says where, what, why and what to do. A code is a stable word that scripts and documents may rely on; a
traceback is for our own bugs (`InternalError`) and nothing else.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from mlplatform.codes import CODES


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one line of a file; `line` and `column` count from 1, `text` is that whole line."""

    path: str
    line: int
    column: int
    length: int = 1
    text: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


class PlatformError(Exception):
    """Base of every error that a user can meet.

    Attributes:
        code: stable word, one of `codes.CODES`.
        message: what is wrong, one line.
        at: where in a file, or None when no file is to blame.
        hint: what to do.
        notes: further lines (columns at hand, engines that can, …).
        run: the report of the run that failed, as JSON; None when no run had begun.
    """

    exit_code = 1

    def __init__(
        self,
        code: str,
        message: str,
        *,
        at: Span | None = None,
        hint: str | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(code, message)
        if code not in CODES:
            raise InternalError("E_INTERNAL", f"unknown error code {code}")
        self.code = code
        self.message = message
        self.at = at
        self.hint = hint
        self.notes = tuple(notes)
        self.run: dict[str, Any] | None = None  # Any: JSON

    def __reduce__(self) -> tuple[Any, ...]:  # Any: the pickle protocol
        return _rebuild, (type(self), self.code, self.message, self.at, self.hint, self.notes, self.__dict__)

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        """Text of several lines: place, code and message, the source line with a marker, hint, notes."""
        head = f"{self.at}  {self.code} {self.message}" if self.at is not None else f"{self.code} {self.message}"
        return "\n".join([head, *self._excerpt(), *(f"   {note}" for note in self.notes)])

    def _excerpt(self) -> list[str]:
        if self.at is None or not self.at.text:
            return [f"   {self.hint}"] if self.hint else []
        marker = " " * (self.at.column - 1) + "^" * max(1, self.at.length)
        lines = [f"{self.at.line:5} | {self.at.text}", f"      | {marker}"]
        if self.hint:
            lines[-1] += f"  {self.hint}"
        return lines

    def as_dict(self) -> dict[str, Any]:  # Any: JSON
        """JSON form: code, message, hint, notes and, where known, path, line and column."""
        place = {"path": self.at.path, "line": self.at.line, "column": self.at.column} if self.at is not None else {}
        return {
            "code": self.code,
            "message": self.message,
            **place,
            **({"hint": self.hint} if self.hint else {}),
            **({"notes": list(self.notes)} if self.notes else {}),
        }


def _rebuild(
    kind: type[PlatformError],
    code: str,
    message: str,
    at: Span | None,
    hint: str | None,
    notes: Sequence[str],
    state: dict[str, Any],  # Any: whatever the subclass keeps
) -> PlatformError:
    error = kind.__new__(kind)
    PlatformError.__init__(error, code, message, at=at, hint=hint, notes=notes)
    error.__dict__.update(state)
    return error


class SpecError(PlatformError):
    """The YAML text is wrong."""

    exit_code = 2


class PlanError(PlatformError):
    """The spec reads well but does not fit its data: names, types, features."""

    exit_code = 2


class UsageError(PlatformError):
    """The command line, the workspace file or an argument of the Python API is wrong."""

    exit_code = 2


class UserCodeError(PlatformError):
    """A user's Python function raised, or returned what it did not declare."""


class SourceError(PlatformError):
    """What we read from failed. `transient` alone decides whether a retry makes sense."""

    def __init__(self, code: str, message: str, *, transient: bool = False, **parts: Any) -> None:
        super().__init__(code, message, **parts)
        self.transient = transient


class SinkError(PlatformError):
    """What we write to failed. `transient` alone decides whether a retry makes sense."""

    def __init__(self, code: str, message: str, *, transient: bool = False, **parts: Any) -> None:
        super().__init__(code, message, **parts)
        self.transient = transient


class EngineError(PlatformError):
    """The engine failed while running a valid plan: a cast, an overflow, memory, disk."""


class CatalogError(PlatformError):
    """The catalog cannot be opened, or does not hold what was asked for."""


class PublishError(PlatformError):
    """A version was committed, and stays, but could not be published; what was published before is served on."""

    exit_code = 3


class InternalError(PlatformError):
    """A bug of ours: please report it."""


class ErrorGroup(PlatformError):
    """All errors of one file, sorted by position. Never empty, never nested."""

    exit_code = 2

    def __init__(self, errors: Iterable[PlatformError]) -> None:
        self.errors = tuple(sorted(_flatten(errors), key=_position))
        first = self.errors[0]
        super().__init__(first.code, first.message, at=first.at, hint=first.hint, notes=first.notes)
        self.exit_code = max(error.exit_code for error in self.errors)

    def __reduce__(self) -> tuple[Any, ...]:  # Any: the pickle protocol
        return ErrorGroup, (self.errors,)

    def render(self) -> str:
        """Every error's text, one after the other."""
        return "\n".join(error.render() for error in self.errors)


@contextmanager
def placed(at: Span | None) -> Iterator[None]:
    """Errors that do not know where in a file they belong get this place."""
    try:
        yield
    except PlatformError as error:
        for single in all_errors(error):
            single.at = single.at or at
        raise


def all_errors(error: PlatformError) -> tuple[PlatformError, ...]:
    """The single errors of an error: a group's parts, or the error itself."""
    return error.errors if isinstance(error, ErrorGroup) else (error,)


def raise_all(errors: Sequence[PlatformError]) -> None:
    """Raise nothing for no error, the error for one, a group for many."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ErrorGroup(errors)


def near_names(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """At most three of `names` that look like `name`, best first; case is ignored."""
    lowered = {candidate.lower(): candidate for candidate in names}
    return tuple(lowered[match] for match in difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.6))


def did_you_mean(name: str, names: Iterable[str]) -> str | None:
    """A hint that names the nearest of `names`, or None when nothing is near."""
    near = near_names(name, names)
    return f"did you mean {' or '.join(repr_name(match) for match in near)}?" if near else None


def repr_name(name: str) -> str:
    """A name in double quotes, as messages write it."""
    return f'"{name}"'


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names joined by commas; after `most` of them only the count of the rest."""
    every = list(names)
    rest = f", … {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + rest


def assert_never(value: NoReturn) -> NoReturn:
    """For the last branch of a `match` over a closed set (typing has it from Python 3.11 on)."""
    raise InternalError("E_INTERNAL", f"unexpected {type(value).__name__}")


def _flatten(errors: Iterable[PlatformError]) -> list[PlatformError]:
    return [single for error in errors for single in all_errors(error)]


def _position(error: PlatformError) -> tuple[str, int, int]:
    return (error.at.path, error.at.line, error.at.column) if error.at is not None else ("", 0, 0)
