"""Where a plan runs on Spark: one local session, a server, spark-submit, a rendered program; and what is refused."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mlplatform.engines.spark import session
from mlplatform.engines.spark.java import check_java, find_java
from mlplatform.engines.spark.settings import REQUIRED, own_settings
from mlplatform.engines.table import open_engine
from mlplatform.errors import EngineError, PlatformError, UsageError
from mlplatform.limits import Limits
from tests.services.runs import Runs
from tests.services.spark_runs import OPTIONS, spark_runs

SCHEMA = {"k": "int", "v": "string"}
ROOT = Path(__file__).parents[2]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """A fresh workspace on Spark."""
    made = spark_runs(tmp_path)
    made.csv("in.csv", "k,v\n1,a\n2,b\n3,\n")
    return made


def limits(folder: Path, **options: Any) -> Limits:
    given = {key: value for key, value in {**OPTIONS, **options}.items() if key.startswith("spark.")}
    return Limits(2**30, 2, folder, given)


def test_one_jvm_and_settings_of_each_plan_its_own(tmp_path: Path) -> None:
    applications = set()
    for partitions in (2, 3):
        with session.open_session(limits(tmp_path, **{"spark.sql.shuffle.partitions": partitions})) as spark:
            assert spark.conf.get("spark.sql.shuffle.partitions") == str(partitions)
            assert {key: str(spark.conf.get(key)).lower() for key in REQUIRED} == {
                key: value.lower() for key, value in REQUIRED.items()
            }
            spark.range(1).createOrReplaceTempView(f"view_{partitions}")
            assert [table.name for table in spark.catalog.listTables()] == [f"view_{partitions}"]
            applications.add(spark.sparkContext.applicationId)
    assert len(applications) == 1


def test_a_session_that_is_there_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with session.open_session(limits(tmp_path)) as spark:
        application = spark.sparkContext.applicationId
    monkeypatch.setattr(session, "_OURS", "spark.app.somebody_else")
    with session.open_session(Limits(None, 7, tmp_path, {"spark.driver.memory": "9g"})) as spark:
        assert spark.sparkContext.applicationId == application


def test_an_option_that_would_change_results_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"spark\.sql\.ansi\.enabled"),
        session.open_session(limits(tmp_path, **{"spark.sql.ansi.enabled": False})),
    ):
        pass


def test_a_setting_that_does_not_take_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "REQUIRED", {"spark.sql.warehouse.dir": "another"})
    with (
        pytest.raises(EngineError, match=r"does not take spark\.sql\.warehouse\.dir=another"),
        session.open_session(limits(tmp_path)),
    ):
        pass


def test_limits_become_settings(tmp_path: Path) -> None:
    settings = own_settings(Limits(3 * 2**30, 5, tmp_path, {"spark.a": True, "other": 1}), needs_delta=True)
    assert settings["spark.master"] == "local[5]"
    assert settings["spark.driver.memory"] == "3072m"
    assert settings["spark.a"] == "true"
    assert "other" not in settings
    assert settings["spark.jars.packages"].startswith("io.delta:")


def _java(folder: Path, version: str) -> dict[str, str]:
    program = folder / "bin" / "java"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    program.chmod(0o755)
    return {"JAVA_HOME": str(folder)}


@pytest.mark.parametrize(("version", "number"), [("1.8.0_292", 8), ("11.0.2", 11)])
def test_a_java_that_is_too_old(tmp_path: Path, version: str, number: int) -> None:
    env = _java(tmp_path, version)
    java = find_java(env)
    assert java is not None
    assert (java.version, java.fits) == (number, False)
    with pytest.raises(EngineError, match=f"needs Java 17 or later, and found {number}"):
        check_java(env)


def test_java_new_enough_and_none_at_all(tmp_path: Path) -> None:
    check_java(_java(tmp_path, "21.0.1"))
    with pytest.raises(EngineError, match="JAVA_HOME"):
        check_java({"JAVA_HOME": str(tmp_path / "nowhere")})
    with pytest.raises(EngineError, match="found none"):
        check_java({"PATH": str(tmp_path)})
    check_java({"PATH": str(tmp_path), "SPARK_REMOTE": "sc://elsewhere"})


def _spec(runs: Runs) -> Path:
    (runs.folder / "rules.py").write_text("def same(batch): return batch\n")
    steps = {
        "p": {"python": {"function": "rules:same", "from": "t", "schema": dict(SCHEMA)}},
        "s": {"from": "p", "filter": "k >= ${least}", "order_by": ["k desc"]},
    }
    outputs = {"raw.t": {"from": "s", "mode": "overwrite"}, "raw.p": {"from": "t", "partition_by": ["v"]}}
    return runs.spec(outputs, schema=SCHEMA, steps=steps, params={"least": {"type": "int", "default": 2}})


EXPECTED = [{"k": 2, "v": "b"}, {"k": 3, "v": None}]


def _environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLP_", "SPARK_", "PYSPARK_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable, **more}


def test_rendered_programs_run(runs: Runs) -> None:
    text = runs.workspace.render(_spec(runs), engine="spark")
    assert "java" not in text
    (runs.folder / "job.py").write_text(text)
    submit = "--master local[1] --driver-memory 512m --conf spark.ui.enabled=false pyspark-shell"
    done = subprocess.run(
        [sys.executable, "job.py", "out"], cwd=runs.folder, capture_output=True, text=True, check=False, timeout=300,
        env=_environment(PYSPARK_SUBMIT_ARGS=submit),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(runs.folder / "out" / "raw.t").to_pylist()
    assert sorted(rows, key=str) == EXPECTED
    assert len(pq.read_table(runs.folder / "out" / "raw.p")) == 3


def test_render_starts_no_jvm(runs: Runs) -> None:
    program = "import sys; from mlplatform.cli import main; main(sys.argv[1:], standalone_mode=False); " \
              "print('py4j' in sys.modules, file=sys.stderr)"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", program, "render", str(_spec(runs)), "--engine", "spark"],
                          capture_output=True, text=True, check=False, timeout=120, env=_environment())  # fmt: skip
    assert (done.returncode, done.stderr.strip()) == (0, "False")
    assert "SparkSession.builder" in done.stdout


def test_the_application_of_spark_submit(runs: Runs) -> None:
    import pyspark

    spec = _spec(runs)
    where = subprocess.run([sys.executable, "-m", "mlplatform.engines.spark.submit", "--path"],
                           capture_output=True, text=True, check=True, cwd=ROOT)  # fmt: skip
    submit = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    done = subprocess.run(
        [submit, "--master", "local[1]", "--driver-memory", "512m", "--conf", "spark.ui.enabled=false",
         where.stdout.strip(), spec, "-p", "least=3"],
        capture_output=True, text=True, check=False, timeout=300, env=_environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert runs.rows("raw.t") == EXPECTED[1:]
    assert "raw.t  version 0" in done.stdout


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Spark Connect server of its own, by its address."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    program = (
        "import sys\n"
        "from pyspark.sql import SparkSession\n"
        "spark = (SparkSession.builder.master('local[1]').config('spark.ui.enabled', 'false')"
        ".config('spark.plugins', 'org.apache.spark.sql.connect.SparkConnectPlugin')"
        f".config('spark.connect.grpc.binding.port', '{port}').getOrCreate())\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
        "spark.stop()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=folder, text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment()) as child:  # fmt: skip
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n", child.communicate()[1]
        yield f"sc://localhost:{port}"
        child.communicate("")


def test_spark_connect(runs: Runs, server: str, tmp_path: Path) -> None:
    folder = tmp_path / "connected"
    folder.mkdir()
    remote = Runs(folder, engine=f"{{default: spark, spark: {{spark.remote: '{server}'}}}}")
    remote.csv("in.csv", "k,v\n1,a\n2,b\n3,\n")
    remote.run(_spec(remote))
    assert remote.rows("raw.t") == EXPECTED
    assert sorted(row["k"] for row in remote.rows("raw.p")) == [1, 2, 3]
    remote.csv("in.csv", "k,v\nx,a\n")
    with pytest.raises(PlatformError, match="row 1, column"):
        remote.run(_spec(remote))


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(EngineError, match="no Spark server at localhost:1"),
        session.open_session(Limits(None, None, tmp_path, {"spark.remote": "sc://localhost:1"})),
    ):
        pass


def test_capabilities() -> None:
    facts = open_engine("spark").capabilities()
    assert (facts.name, facts.is_distributed) == ("spark", True)
