"""The Java that Spark will start, found before it is started."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlplatform.errors import EngineError

NEEDED = 17
CURE = f"install a JDK of {NEEDED} or later and set JAVA_HOME to it, or use a running server: `spark.remote: sc://…`"
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


@dataclass(frozen=True, slots=True)
class Java:
    """A Java: its program, and its major version; 0 where it does not say."""

    program: str
    version: int

    @property
    def fits(self) -> bool:
        """Whether Spark runs on it."""
        return self.version >= NEEDED


def find_java(env: Mapping[str, str]) -> Java | None:
    """The Java of JAVA_HOME, else that of PATH; None where there is none."""
    home = env.get("JAVA_HOME")
    program = str(Path(home, "bin", "java")) if home else shutil.which("java", path=env.get("PATH"))
    if program is None or not os.access(program, os.X_OK):
        return None
    try:
        answer = subprocess.run([program, "-version"], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return Java(program, 0)
    found = _VERSION.search(answer.stderr)
    return Java(program, int(found[1]) if found is not None else 0)


def check_java(env: Mapping[str, str]) -> None:
    """Raise EngineError E_ENGINE unless there is a Java that Spark runs on; a server (SPARK_REMOTE) has its own."""
    if env.get("SPARK_REMOTE"):
        return
    java = find_java(env)
    if java is None:
        home = env.get("JAVA_HOME")
        where = f"JAVA_HOME is {home}, which holds no bin/java" if home else "JAVA_HOME is not set, PATH has no java"
        raise EngineError(
            "E_ENGINE", f'engine "spark" needs Java {NEEDED} or later, and found none', hint=CURE, notes=[where]
        )
    if not java.fits:
        raise EngineError(
            "E_ENGINE",
            f'engine "spark" needs Java {NEEDED} or later, and found {java.version or "one that does not start"}',
            hint=CURE,
            notes=[f"found {java.program}"],
        )
