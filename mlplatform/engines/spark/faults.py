"""What Spark raised, as an error that says what to do: no Java class, no stack trace, no value of a row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlplatform.disk import write_fault
from mlplatform.engines.duckdb.read_faults import first_bad_file
from mlplatform.engines.worker_errors import from_text
from mlplatform.errors import EngineError, PlatformError, SourceError
from mlplatform.plan.nodes import CheckedPlan, Source
from mlplatform.row_faults import row_fault
from mlplatform.scan import FileScan

if TYPE_CHECKING:
    from collections.abc import Iterable

_CONDITION = re.compile(r"\[([A-Z][A-Z0-9_]{3,}(?:\.[A-Z0-9_]+)*)\]")
_OVERFLOWS = ("ARITHMETIC_OVERFLOW", "CAST_OVERFLOW", "CAST_OVERFLOW_IN_TABLE_INSERT", "NUMERIC_VALUE_OUT_OF_RANGE",
              "BINARY_ARITHMETIC_OVERFLOW", "INTERVAL_ARITHMETIC_OVERFLOW", "DECIMAL_PRECISION_EXCEEDS_MAX_PRECISION",
              "SUM_OF_LIMIT_AND_OFFSET_EXCEEDS_MAX_INT", "DATETIME_OVERFLOW")  # fmt: skip
_ZEROS = ("DIVIDE_BY_ZERO", "REMAINDER_BY_ZERO", "INTERVAL_DIVIDED_BY_ZERO")
_CASTS = ("CAST_INVALID_INPUT", "CANNOT_PARSE_TIMESTAMP", "CANNOT_PARSE_DECIMAL", "CANNOT_PARSE_DATE",
          "INVALID_TYPED_LITERAL", "CONVERSION_INVALID_INPUT", "DATETIME_FIELD_OUT_OF_BOUNDS",
          "MALFORMED_CHARACTER_CODING", "INVALID_DATETIME_PATTERN", "FAILED_TO_PARSE")  # fmt: skip
_MEMORY = ("OutOfMemoryError", "UNABLE_TO_ACQUIRE_MEMORY", "Java heap space", "GC overhead limit",
           "Total size of serialized results")  # fmt: skip
_LOST = ("ExecutorLostFailure", "Python worker exited unexpectedly", "worker lost", "SparkContext was shut down",
         "Connection refused", "Answer from Java side is empty", "Error while obtaining a new communication channel",
         "stopped SparkContext", "StatusCode.UNAVAILABLE", "Lost executor")  # fmt: skip
_READS = ("FAILED_READ_FILE", "CANNOT_READ_FILE_FOOTER", "CANNOT_MERGE_SCHEMAS", "PARQUET_", "FILE_NOT_EXIST",
          "PATH_NOT_FOUND")  # fmt: skip
_TYPES = re.compile(r'of the type "([A-Z0-9(), ]+)" cannot be cast to "([A-Z0-9(), ]+)"')


def spark_error(error: Exception, what: str, sources: Iterable[Source] = ()) -> PlatformError:
    """The error behind one of Spark's while `what` ran.

    Args:
        sources: those that feed it; a fault of reading is looked for in their files.
    """
    message = _whole_text(error)
    known = from_text(message) or row_fault(message, what)
    if known is not None:
        return known
    conditions = _conditions(error, message)
    return (
        _read_fault(conditions, message, sources)
        or _value_fault(conditions, message, what)
        or _outside_fault(message, what)
        or EngineError("E_ENGINE", f"Spark failed while {what}: {_first_line(message)}")
    )


def sources_of(plan: CheckedPlan, names: Sequence[str]) -> list[Source]:
    """The sources among some nodes."""
    return [node for name in names if isinstance(node := plan.nodes[name], Source)]


def _whole_text(error: BaseException) -> str:
    """The messages of an error and of what caused it; Java's stack trace is searched, never shown."""
    java = getattr(error, "java_exception", None)
    parts = [str(java), str(error)] if java is not None else [str(error)]  # Py4J's own first line says nothing
    if error.__cause__ is not None:
        parts.append(str(error.__cause__))
    return "\n".join(parts)


def _conditions(error: Exception, message: str) -> list[str]:
    """Spark's words for what is wrong, the outermost first."""
    getter = getattr(error, "getCondition", None)
    own = getter() if getter is not None else None
    return [*([own] if own else []), *_CONDITION.findall(message)]


def _value_fault(conditions: Sequence[str], message: str, what: str) -> PlatformError | None:
    for condition in conditions:
        name = condition.partition(".")[0]
        if name in _ZEROS:
            return EngineError("E_DIVISION_BY_ZERO", f"division by zero while {what}", hint="divide by nullif(x, 0)")
        if name in _OVERFLOWS:
            return EngineError("E_OVERFLOW", f"a number does not fit its type while {what}{_types(message)}",
                               hint="cast to a wider type before the arithmetic")  # fmt: skip
        if name in _CASTS:
            return EngineError("E_CAST", f"a value cannot be cast while {what}{_types(message)}",
                               hint="use try_cast, or filter such rows first")  # fmt: skip
    return None


def _types(message: str) -> str:
    found = _TYPES.search(message)
    return f": from {found[1]} to {found[2]}" if found is not None else ""


def _outside_fault(message: str, what: str) -> PlatformError | None:
    if any(word in message for word in _MEMORY):
        return EngineError("E_MEMORY", f"the memory limit was reached while {what}",
                           hint="raise memory_limit, or lower threads")  # fmt: skip
    if any(word in message for word in _LOST):
        return EngineError("E_ENGINE", f"a Spark worker, or Spark itself, was lost while {what}",
                           hint="run again; if it happens again, give the workers more memory",
                           notes=[_first_line(message)])  # fmt: skip
    disk = next((text for text in ("No space left on device", "Permission denied", "Read-only file system",
                                   "Disk quota exceeded") if text in message), None)  # fmt: skip
    return write_fault(OSError(disk), what) if disk is not None else None


def _read_fault(conditions: Sequence[str], message: str, sources: Iterable[Source]) -> PlatformError | None:
    if not any(condition.startswith(_READS) for condition in conditions):
        return None
    for source in sources:
        if isinstance(source.scan, FileScan) and source.scan.format == "parquet":
            found = first_bad_file(source.scan, source.at)
            if found is not None:
                return found
    return SourceError("E_FILE_UNREADABLE", f"Spark cannot read a file: {_first_line(message)}")


def _first_line(message: str) -> str:
    """What an unknown message begins with, without the texts and numbers in quotes that may be values."""
    line = next((line for line in message.splitlines() if line.strip()), "no message")
    line = re.sub(r"^(?:[a-z]+\.)+[A-Za-z.$]+(?:Exception|Error): ", "", line)
    return re.sub(r"'[^']*'", "…", line.partition(" SQLSTATE:")[0])[:300]


def is_of_spark(error: BaseException) -> bool:
    """Whether an error comes from Spark, from its JVM or from its server."""
    module = type(error).__module__
    return module.startswith(("pyspark", "py4j", "grpc")) or isinstance(error, ConnectionError)
