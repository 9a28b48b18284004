"""Bad input through the command line: an exit code, an error that says what to do, no traceback, old tables intact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from tests.services.bad_inputs import SHARED, Ended, commands
from tests.services.runs_under_fire import mlp

SCHEMA = "{k: int, v: bigint, w: string}"
HEAD = "version: 1\npipeline: p\n"
STEP_OUT = "{t.x: {from: q, mode: overwrite}}"

FUNCTIONS = """\
import sys
import pyarrow as pa

def raises(batch): raise ValueError("no good")
def late(batch):
    yield batch
    raise RuntimeError("late")
def exits(batch): sys.exit(3)
def odd(batch): raise BaseException("odd")
def out_of_memory(batch): raise MemoryError
def endless(batch): return endless(batch)
def fewer(batch): return batch.select(["k"])
def other_types(batch): return pa.record_batch({"k": ["a"], "v": [1], "w": ["x"]})
def twice(batch): return pa.RecordBatch.from_arrays([*batch.columns, batch["w"]], names=["k", "v", "w", "w"])
def number(batch): return 42
def numbers(batch): return [1, 2]
def no_arrow_type(batch):
    return pa.record_batch({"k": batch["k"], "v": pa.array([1, 2, 3], pa.duration("s")), "w": batch["w"]})
def two_inputs(one, other): return one
def swallows(batches):
    try:
        yield from batches
    except Exception:
        pass
def nulls(batch): return pa.record_batch({name: pa.nulls(3) for name in batch.schema.names})
def dictionary(batch): return batch.set_column(2, "w", batch["w"].dictionary_encode())
not_callable = 3
class WithoutProcess: pass
class FailsToBegin:
    def __init__(self): raise RuntimeError("no")
    def process(self, batch): return batch
def tampers(batch):
    with open("tampered.csv", "a") as file: file.write("9,9,z\\n")
    return batch
"""


def spec(source: str = "a.csv", steps: str = "", outputs: str = "{t.x: {from: s, mode: overwrite}}") -> str:
    """A spec in flow style over one file."""
    schema = f", schema: {SCHEMA}" if source.strip('"').endswith("csv") else ""
    lines = [f"{HEAD}sources: {{s: {{connector: files, path: {source}{schema}}}}}"]
    lines += [f"steps: {steps}"] if steps else []
    return "\n".join([*lines, f"outputs: {outputs}", ""])


def query(value: str) -> str:
    """A spec that computes column `v`."""
    return spec(steps=f'{{q: {{from: s, select: {{k, v: "{value}", w}}}}}}', outputs=STEP_OUT)


def python(function: str, source: str = "a.csv") -> str:
    step = f'{{q: {{python: {{function: "{function}", from: s, schema: {SCHEMA}}}}}}}'
    return spec(source, steps=step, outputs=STEP_OUT)


# name → (spec, exit code, error code)
CASES: dict[str, tuple[str, int, str]] = {
    "broken yaml": (HEAD + "sources: [\n", 2, "E_YAML"),
    "nothing": ("", 2, "E_YAML"),
    "a tab": ("version: 1\n\tpipeline: p\n", 2, "E_TAB"),
    "deep": (HEAD + "sources: " + "[" * 5000 + "]" * 5000 + "\n", 2, "E_YAML"),
    "unknown key": (spec() + "sorces: {}\n", 2, "E_KEY_UNKNOWN"),
    "bad type": (spec().replace("bigint", "bigestint"), 2, "E_TYPE_UNKNOWN"),
    "missing column": (query("vv"), 2, "E_COLUMN_MISSING"),
    "cycle": (spec(steps="{q: {from: r}, r: {from: q}}", outputs=STEP_OUT), 2, "E_CYCLE"),
    "unset variable": (spec('"${env:MLP_NOT_SET}.csv"'), 2, "E_ENV_MISSING"),
    "missing file": (spec("nope.csv"), 1, "E_FILE_MISSING"),
    "missing files": (spec("nope/*.csv"), 1, "E_FILE_MISSING"),
    "garbage parquet": (spec("garbage.parquet"), 1, "E_FILE_UNREADABLE"),
    "empty parquet": (spec("nothing.parquet"), 1, "E_FILE_UNREADABLE"),
    "cut parquet": (spec("cut.parquet"), 1, "E_FILE_UNREADABLE"),
    "damaged parquet": (spec("damaged.parquet").replace("t.x", "t.damaged"), 1, "E_FILE_UNREADABLE"),
    "ragged csv": (spec("ragged.csv"), 1, "E_CSV"),
    "latin csv": (spec("latin.csv"), 1, "E_ENCODING"),
    "text in a number": (spec("text.csv"), 1, "E_CAST"),
    "duplicate keys": (spec("double.csv", outputs="{t.x: {from: s, mode: merge, unique_key: [k]}}"), 1, "E_DUPLICATE"),
    "null keys": (spec("nulls.csv", outputs="{t.x: {from: s, mode: merge, unique_key: [k]}}"), 1, "E_NULL_ID"),
    "cast": (query("cast(w as bigint)"), 1, "E_CAST"),
    "overflow": (query("v * 9223372036854775807"), 1, "E_OVERFLOW"),
    "narrow sum": (query("cast(cast(v * 10000 as smallint) as bigint)"), 1, "E_OVERFLOW"),
    "division by zero": (query("v // (k - 1)"), 1, "E_DIVISION_BY_ZERO"),
    "rest by zero": (query("v % (k - 1)"), 1, "E_DIVISION_BY_ZERO"),
    "two rows for one": (
        spec(steps='{q: {sql: "select k, (select v from s) as v, w from s"}}', outputs=STEP_OUT),
        1,
        "E_ENGINE",
    ),
    "missing partition": (spec(outputs="{t.x: {from: s, mode: overwrite, partition_by: [z]}}"), 2, "E_COLUMN_MISSING"),
    "function raises": (python("fns:raises"), 1, "E_USER_CODE"),
    "function raises late": (python("fns:late"), 1, "E_USER_CODE"),
    "function exits": (python("fns:exits"), 1, "E_USER_CODE"),
    "function raises oddly": (python("fns:odd"), 1, "E_USER_CODE"),
    "function without memory": (python("fns:out_of_memory"), 1, "E_USER_CODE"),
    "function without end": (python("fns:endless"), 1, "E_USER_CODE"),
    "function drops columns": (python("fns:fewer"), 1, "E_USER_CODE"),
    "function changes types": (python("fns:other_types"), 1, "E_USER_CODE"),
    "function doubles a column": (python("fns:twice"), 1, "E_USER_CODE"),
    "function gives a number": (python("fns:number"), 1, "E_USER_CODE"),
    "function gives numbers": (python("fns:numbers"), 1, "E_USER_CODE"),
    "function gives no type of ours": (python("fns:no_arrow_type"), 1, "E_USER_CODE"),
    "function wants two": (python("fns:two_inputs"), 1, "E_USER_CODE"),
    "function class fails": (python("fns:FailsToBegin"), 1, "E_USER_CODE"),
    "function is a number": (python("fns:not_callable"), 1, "E_FUNCTION"),
    "function is no processor": (python("fns:WithoutProcess"), 1, "E_FUNCTION"),
    "function is missing": (python("fns:missing"), 1, "E_FUNCTION"),
    "module is missing": (python("no_module:f"), 1, "E_FUNCTION"),
    "module cannot import": (python("broken_import:f"), 1, "E_FUNCTION"),
    "module cannot be parsed": (python("broken_syntax:f"), 1, "E_FUNCTION"),
    "module exits": (python("exit_import:f"), 1, "E_FUNCTION"),
    "function hides a bad row": (python("fns:swallows", "text.csv"), 1, "E_CAST"),
    "function hides a ragged line": (python("fns:swallows", "ragged.csv"), 1, "E_CSV"),
    "function changes the source": (python("fns:tampers", "tampered.csv"), 1, "E_SOURCE_CHANGED"),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with good and bad files, and tables that were written well."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "mlplatform.yaml").write_text("engine: {duckdb: {threads: 1}}\n")
    header, rows = "k,v,w\n", "1,10,x\n2,20,y\n3,,z\n"
    texts = {"a": rows, "double": "1,10,x\n1,20,y\n", "nulls": "1,10,x\n,20,y\n", "ragged": rows + "4,40\n",
             "text": rows + "four,40,z\n", "tampered": rows}  # fmt: skip
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(header + text)
    (folder / "latin.csv").write_bytes(f"{header}1,10,é\n".encode("latin-1"))
    (folder / "garbage.parquet").write_bytes(b"PAR1 nothing here")
    (folder / "nothing.parquet").write_bytes(b"")
    pq.write_table(pa.table({"k": range(100_000), "v": range(100_000)}), folder / "whole.parquet")
    whole = (folder / "whole.parquet").read_bytes()
    (folder / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    damaged = whole[:2000] + bytes(byte ^ 0x5A for byte in whole[2000:6000]) + whole[6000:]
    (folder / "damaged.parquet").write_bytes(damaged)
    (folder / "fns.py").write_text(FUNCTIONS)
    (folder / "broken_import.py").write_text("import nothing_of_that_name\n")
    (folder / "broken_syntax.py").write_text("def f(:\n")
    (folder / "exit_import.py").write_text("import sys; sys.exit(5)\n")
    (folder / "good.yaml").write_text(spec())
    done = mlp(folder, "run", "good.yaml")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def ended(inputs: Path) -> dict[str, Ended]:
    """How a run of each case ended, all of them into the table that is there."""
    calls = {}
    for number, (name, (text, _, _)) in enumerate(CASES.items()):
        (inputs / f"case_{number}.yaml").write_text(text)
        calls[name] = ["run", f"case_{number}.yaml", "--json", "--no-progress"]
    return commands(inputs, calls)


@pytest.mark.parametrize("name", CASES)
def test_bad_input(ended: dict[str, Ended], name: str) -> None:
    _, exit_code, error_code = CASES[name]
    found = ended[name]
    assert found.is_clear, found.errors
    assert (found.code, found.error_code) == (exit_code, error_code), found.errors
    report: dict[str, Any] = json.loads(found.output)
    assert error_code in [error["code"] for error in report["errors"]]


def test_the_table_is_as_it_was(inputs: Path, ended: dict[str, Ended]) -> None:
    table = DeltaTable(str(inputs / ".mlp" / "warehouse" / "t" / "x"))
    assert (len(ended), table.version()) == (len(CASES), 0)
    assert table.to_pyarrow_table().to_pylist() == [
        {"k": 1, "v": 10, "w": "x"}, {"k": 2, "v": 20, "w": "y"}, {"k": 3, "v": None, "w": "z"},
    ]  # fmt: skip
    assert not (inputs / ".mlp" / "warehouse" / "t" / "damaged" / "_delta_log").exists()
    files = [path for path in (inputs / ".mlp" / "warehouse").rglob("*.parquet") if "_delta_log" not in path.parts]
    assert len(files) == 1
    assert list((inputs / ".mlp" / "tmp").rglob("*")) == []


def test_no_value_of_a_row_is_in_a_message(ended: dict[str, Ended]) -> None:
    assert '"four"' not in ended["text in a number"].errors
    assert "'x'" not in ended["cast"].errors
    assert "10 *" not in ended["overflow"].errors


def test_functions_may_use_other_encodings_of_their_types(inputs: Path) -> None:
    for name in ("nulls", "dictionary"):
        (inputs / f"{name}.yaml").write_text(python(f"fns:{name}").replace("t.x", f"t.{name}"))
    done = commands(inputs, {name: ["run", f"{name}.yaml"] for name in ("nulls", "dictionary")})
    assert [ended.code for ended in done.values()] == [0, 0], done
    rows = DeltaTable(str(inputs / ".mlp" / "warehouse" / "t" / "nulls")).to_pyarrow_table().to_pylist()
    assert rows == [{"k": None, "v": None, "w": None}] * 3


def _foreign() -> dict[str, str]:
    """Sources over files and tables that others made, good and bad, by name."""
    logs = {log.parent for folder in ("delta_golden", "delta_rs_tables", "delta_dat")
            for log in (SHARED / folder).rglob("_delta_log")}  # fmt: skip
    found = {str(table.relative_to(SHARED)): f'{{connector: delta, path: "{table}"}}' for table in sorted(logs)}
    for folder in ("parquet_testing", "json_test_suite", "duckdb_csv"):
        files = (path for path in sorted((SHARED / folder).rglob("*")) if path.suffix in (".parquet", ".json", ".csv"))
        found |= {str(path.relative_to(SHARED)): f'{{connector: files, path: "{path}"}}' for path in files}
    return found


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no shared data at {SHARED}")
def test_tables_and_files_of_others_work_or_say_why_not(tmp_path: Path) -> None:
    (tmp_path / "mlplatform.yaml").write_text("engine: {duckdb: {threads: 1}}\n")
    calls = {}
    for number, (name, source) in enumerate(_foreign().items()):
        text = f"{HEAD}sources: {{s: {source}}}\noutputs: {{t.x{number}: {{from: s, mode: overwrite}}}}\n"
        (tmp_path / f"{number}.yaml").write_text(text)
        calls[f"{name} validate"] = ["validate", f"{number}.yaml"]
        calls[f"{name} run"] = ["run", f"{number}.yaml", "--json", "--no-progress"]
    done = commands(tmp_path, calls)
    unclear = {name: found.errors for name, found in done.items() if not found.is_clear}
    assert unclear == {}
    worked = {name.removesuffix(" run") for name, found in done.items() if name.endswith(" run") and found.code == 0}
    assert len(worked) > 80
    written = [log.parent.name for log in (tmp_path / ".mlp" / "warehouse").glob("*/*/_delta_log")]
    assert len(written) == len(worked)
    invalid = {name.removesuffix(" validate") for name, found in done.items()
               if name.endswith(" validate") and found.code != 0}  # fmt: skip
    assert not invalid & worked
