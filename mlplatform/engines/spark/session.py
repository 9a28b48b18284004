"""The Spark session that a plan runs in: one that is there, a server's, or a local one of our own.

A session that somebody else made (spark-submit, a notebook) is used as it is. A plan never runs in it directly but in
one derived from it, with its own views and settings. One local session of ours serves all plans of the process.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mlplatform.engines.spark.java import check_java
from mlplatform.engines.spark.settings import DELTA_EXTENSION, REQUIRED, own_settings, text
from mlplatform.errors import EngineError, UsageError
from mlplatform.limits import Limits

if TYPE_CHECKING:
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

_OURS = "spark.mlplatform.started"
_REMOTE = "spark.remote"
_PORT = 15002  # of Spark Connect, unless the address says another
_PATIENCE_S = 10
_AT_START = (_REMOTE, "spark.sql.catalog.")  # a catalog needs its package, which a session has from its start or never


@contextmanager
def open_session(limits: Limits, *, needs_delta: bool = False) -> Iterator[SparkSession]:
    """A session for one plan, its settings made and checked.

    Args:
        needs_delta: a local session of our own gets delta-spark; another one reads Delta if it can.
    Raises:
        UsageError: E_VALUE for an option that would change results.
        EngineError: E_ENGINE when Java or the server is missing, or the server refuses a setting.
    """
    check_options(limits)
    _quiet()
    remote = limits.options.get(_REMOTE) or os.environ.get("SPARK_REMOTE")
    if remote:
        with _connected(str(remote)) as spark:
            _configure(spark, limits, f"the server at {remote}")
            yield spark
        return
    spark = _base(limits, needs_delta=needs_delta).newSession()
    _configure(spark, limits, "the Spark session")
    yield spark


def _quiet() -> None:
    """PySpark logs each failed query with its Java stack trace on the screen, and Py4J each interrupt with Python's."""
    logging.getLogger("SQLQueryContextLogger").disabled = True
    logging.getLogger("DataFrameQueryContextLogger").disabled = True
    logging.getLogger("py4j").setLevel(logging.CRITICAL + 1)
    logging.getLogger().addFilter(_is_not_of_py4j)  # which uses the root logger too; adding twice is adding once


def _is_not_of_py4j(record: logging.LogRecord) -> bool:
    return "py4j" not in Path(record.pathname).parts


def has_delta(spark: SparkSession) -> bool:
    """Whether the session reads Delta tables by delta-spark."""
    return DELTA_EXTENSION in str(spark.conf.get("spark.sql.extensions", ""))


def check_options(limits: Limits) -> None:
    """Raise UsageError E_VALUE for an option that says otherwise than what results rest on."""
    for key, value in limits.options.items():
        if key in REQUIRED and text(value).lower() != REQUIRED[key].lower():
            raise UsageError(
                "E_VALUE",
                f"the option {key} is {REQUIRED[key]} on this engine, so that all engines give the same rows",
                hint=f"leave {key} out",
            )


def _configure(spark: SparkSession, limits: Limits, where: str) -> None:
    """Set what may be set, and check what must be."""
    for key, value in limits.options.items():
        if key.startswith("spark.") and not key.startswith(_AT_START) and spark.conf.isModifiable(key):
            spark.conf.set(key, text(value))
    for key, value in REQUIRED.items():
        with suppress(Exception):  # boundary: whatever a server says, the setting is read back
            spark.conf.set(key, value)
        found = str(spark.conf.get(key, ""))
        if found.lower() != value.lower():
            raise EngineError(
                "E_ENGINE",
                f"{where} does not take {key}={value}; it says {found or 'nothing'}",
                hint="results would differ from those of the other engines: use Spark 4.2, or unlock the setting",
            )


# --- a server ----------------------------------------------------------------------------------------------------


@contextmanager
def _connected(remote: str) -> Iterator[SparkSession]:
    from pyspark.errors import PySparkException
    from pyspark.sql.connect.session import SparkSession as Remote

    _check_reachable(remote)
    try:
        spark = Remote.builder.remote(remote).create()
        version = str(spark.version)
    except (PySparkException, ImportError, ValueError, OSError) as error:
        raise EngineError(
            "E_ENGINE", f"there is no Spark server at {remote}", hint="start one, or set `spark.remote` to its address",
            notes=[str(error).partition("\n")[0]],
        ) from error  # fmt: skip
    except Exception as error:  # boundary: gRPC's own errors have no common base of PySpark's
        raise EngineError("E_ENGINE", f"the Spark server at {remote} does not answer",
                          notes=[type(error).__name__]) from error  # fmt: skip
    try:
        if not version.startswith("4."):
            raise EngineError("E_ENGINE", f"the Spark server at {remote} is of version {version}, 4.2 is needed")
        yield spark  # type: ignore[misc]  # the same methods as the classic session, by PySpark's design
    finally:
        with suppress(Exception):  # boundary: the server may be gone, and the run's own error counts
            spark.client.release_session()
            spark.client.close()


def _check_reachable(remote: str) -> None:
    """Raise EngineError E_ENGINE where nothing listens: Spark's client would try for minutes."""
    place = urlsplit(remote)
    try:
        socket.create_connection((place.hostname or "localhost", place.port or _PORT), timeout=_PATIENCE_S).close()
    except OSError as error:
        raise EngineError(
            "E_ENGINE", f"there is no Spark server at {place.hostname}:{place.port or _PORT}",
            hint="start one, or set `spark.remote` to its address", notes=[str(error)],
        ) from error  # fmt: skip


# --- a session in this process -----------------------------------------------------------------------------------


def _base(limits: Limits, *, needs_delta: bool) -> SparkSession:
    """The process's session: the one there, or ours, which is started anew only when it lacks what is asked for."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    wanted = own_settings(limits, needs_delta=needs_delta)
    context = SparkContext._active_spark_context
    is_submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if context is not None and context._jsc is not None:
        if is_submitted or context.getConf().get(_OURS) is None or _serves(context, limits, needs_delta):
            return SparkSession.builder.getOrCreate()
        _stop(context)
    if is_submitted:  # spark-submit started the JVM and decided on master, memory and packages
        return SparkSession.builder.appName("mlplatform").getOrCreate()
    check_java(os.environ)
    return _start(wanted)


def _serves(context: SparkContext, limits: Limits, needs_delta: bool) -> bool:
    """Whether our session has what is asked for by name; the rest is as it was started first."""
    if not _is_alive(context):
        return False
    # As we gave them: Spark itself adds to some of its settings.
    given = json.loads(context.getConf().get(_OURS, "{}") or "{}")
    if needs_delta and DELTA_EXTENSION not in given.get("spark.sql.extensions", ""):
        return False
    asked = {key: text(value) for key, value in limits.options.items() if key.startswith("spark.")}
    return all(given.get(key) == value for key, value in asked.items() if not key.startswith("spark.sql."))


def _is_alive(context: SparkContext) -> bool:
    try:
        return not context._jsc.sc().isStopped()
    except Exception:  # noqa: BLE001  # boundary: the JVM died, Py4J says so in many ways
        return False


def _start(settings: Mapping[str, str]) -> SparkSession:
    """A local session, and its JVM, which writes its warnings to a file and not over the user's screen."""
    from py4j.protocol import Py4JError
    from pyspark import SparkConf, SparkContext
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # workers run what the driver runs
    conf = SparkConf(loadDefaults=False).setAll([*settings.items(), (_OURS, json.dumps(dict(settings)))])
    with tempfile.TemporaryFile(prefix="mlp-spark-") as log:
        try:
            with _own_interrupts():
                SparkContext._ensure_initialized(gateway=_gateway(conf, log), conf=conf)
                return SparkSession.builder.config(conf=conf).getOrCreate()
        except (PySparkException, Py4JError, OSError, RuntimeError) as error:
            log.seek(0)
            raise _not_started(settings, error, log.read().decode(errors="replace")) from error


@contextmanager
def _own_interrupts() -> Iterator[None]:
    """PySpark would answer an interrupt inside of its signal handler, by a call on a connection that is in use."""
    before = signal.getsignal(signal.SIGINT)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, before)


def _gateway(conf: SparkConf, log: IO[bytes]) -> Any:  # Any: Py4J has no types
    from pyspark.java_gateway import launch_gateway

    return launch_gateway(conf, {"stderr": log})  # type: ignore[no-untyped-call]  # PySpark's own


def _not_started(settings: Mapping[str, str], error: Exception, log: str) -> EngineError:
    """Why Spark did not start: what its JVM said last counts more than what PySpark made of it."""
    said = [line for line in log.splitlines() if "Exception" in line or "rror:" in line or "FAILED" in line]
    hint = "packages come from Maven Central: is it reachable?" if "spark.jars.packages" in settings else None
    return EngineError("E_ENGINE", "Spark did not start", hint=hint, notes=said[-2:] or [str(error).split("\n")[0]])


def stop_own() -> None:
    """End the local session that was started here, and its JVM; nothing where there is none."""
    from pyspark import SparkContext

    context = SparkContext._active_spark_context
    if context is not None and context.getConf().get(_OURS) is not None:
        _stop(context)


def _stop(context: SparkContext) -> None:
    """Stop the session and its JVM: packages are only looked up by a new one."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    gateway = SparkContext._gateway
    with suppress(Exception):  # boundary: a JVM that died cannot be asked to stop
        SparkSession.builder.getOrCreate().stop()
    with suppress(Exception):
        context.stop()
    if gateway is not None:
        with suppress(Exception):
            gateway.shutdown()
        process = getattr(gateway, "proc", None)
        if process is not None:
            process.stdin.close()
            process.wait(timeout=30)
    SparkContext._gateway = SparkContext._jvm = None
    SparkContext._active_spark_context = None
