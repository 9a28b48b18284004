"""Spark's own golden answers, asked as `sql` steps: the same rows and types, or a disagreement that is listed.

The embedded engine is held to Spark's files; every other engine is held to the embedded one.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlplatform.engines.table import ENGINES
from mlplatform.errors import PlatformError, all_errors
from mlplatform.run.compare import compare
from mlplatform.types import Schema, parse_type
from mlplatform.workspace import Workspace
from tests.conformance.spark_golden import Answer, in_our_words, read_answers, write_tables

pytestmark = pytest.mark.slow
SHARED = Path(os.environ.get("MLP_SHARED_DATA") or Path(__file__).parents[3] / "shared" / "data")
RESULTS = SHARED / "spark_sql_golden" / "results"
REFERENCE, *OTHERS = ENGINES

Rows = list[dict[str, Any]]  # Any: Python values of the columns
Given = tuple[Schema, Rows]


def _answers() -> list[Any]:
    found = [answer for path in sorted(RESULTS.glob("*.sql.out")) for answer in read_answers(path)]
    return [pytest.param(answer, id=f"{answer.file}-{answer.number}") for answer in found]


def _listed() -> dict[tuple[str, int], str]:
    """The kind of disagreement of each query that is listed."""
    path = Path(__file__).with_name("spark_golden.yaml")
    return {
        (file, number): kind
        for file, entries in yaml.safe_load(path.read_text(encoding="utf-8")).items()
        for entry in entries
        for kind in ("differs", "answers", "refuses")
        for number in entry.get(kind, ())
    }


LISTED = _listed()
_ENGINES = """warehouse: warehouse
engine:
  spark: {spark.master: "local[2]", spark.driver.memory: 1g, spark.sql.shuffle.partitions: 2}
"""
# A text that is too large a number: one engine says that it overflows, the other that it cannot be cast.
FAILS_ALIKE = {"E_OVERFLOW": "E_CAST"}
needs_files = pytest.mark.skipif(not RESULTS.is_dir(), reason="the shared data is not here")


@needs_files
@pytest.mark.parametrize("answer", _answers())
def test_spark_and_a_spec_agree_but_where_it_is_listed(answer: Answer, tmp_path: Path) -> None:
    given = _asked(answer, REFERENCE, tmp_path)
    assert _disagreement(answer, given) == LISTED.get((answer.file, answer.number)), (answer.text, given)


@needs_files
@pytest.mark.parametrize("answer", _answers())
@pytest.mark.parametrize("engine", OTHERS)
def test_every_engine_gives_what_the_embedded_one_gives(answer: Answer, engine: str, tmp_path: Path) -> None:
    expected = _asked(answer, REFERENCE, tmp_path)
    given = _asked(answer, engine, tmp_path)
    if given == "E_NOT_SUPPORTED":
        return  # refused while it was planned, by name
    if isinstance(expected, str) or isinstance(given, str):
        assert FAILS_ALIKE.get(str(given), given) == FAILS_ALIKE.get(str(expected), expected)
        return
    assert given[0] == expected[0]
    difference = compare(given[1], expected[1], expected[0], subset=False)
    assert difference is None, difference.render()


def _asked(answer: Answer, engine: str, folder: Path) -> Given | str:
    """The schema and rows of the query as a step, or the code of the error."""
    text = in_our_words(answer.text)
    if text is None:
        return "E_SQL"
    tables = write_tables(answer.before, folder)
    document: dict[str, Any] = {"version": 1, "pipeline": "golden", "steps": {"asked": {"sql": text}}}  # Any: YAML
    if tables:
        document["sources"] = {name: {"connector": "files", "path": str(path)} for name, path in tables.items()}
    spec = folder / "spec.yaml"
    spec.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    (folder / "mlplatform.yaml").write_text(_ENGINES, encoding="utf-8")
    workspace = Workspace(folder, env={})
    try:
        plan = workspace.plan(spec, engine=engine)
        rows = workspace.preview_planned(plan, "asked").to_pylist()
    except PlatformError as error:
        return all_errors(error)[0].code
    return plan.checked.nodes["asked"].schema, rows


def _disagreement(answer: Answer, given: Given | str) -> str | None:
    if isinstance(given, str):
        return "refuses" if answer.types is not None else None
    if answer.types is None:
        return "answers"
    schema, rows = given
    if [str(column.type) for column in schema] != [_type(text) for text in answer.types]:
        return "differs"
    expected = [dict(zip(schema.names, map(_value, row), strict=True)) for row in answer.rows]
    numbers = [{name: _number(value, schema, name) for name, value in row.items()} for row in expected]
    return None if compare(rows, numbers, schema, subset=False) is None else "differs"


def _type(text: str) -> str:
    try:
        return str(parse_type(text))
    except PlatformError:
        return text


def _value(text: str) -> str | None:
    return None if text == "NULL" else text


def _number(text: str | None, schema: Schema, name: str) -> Any:  # Any: a value of the column
    kind = str(schema[name].type)
    if text is None or kind not in ("tinyint", "smallint", "int", "bigint", "boolean"):
        return text
    return text == "true" if kind == "boolean" else int(text)


def test_the_page_counts_what_is_listed() -> None:
    page = (Path(__file__).parents[2] / "docs" / "semantics.md").read_text(encoding="utf-8")
    section = page.partition("## Spark's own golden answers")[2].partition("\n## ")[0]
    counts = re.findall(r"^\| (\d+) \|", section, re.MULTILINE)
    assert sum(map(int, counts)) == len(LISTED)
    assert f"other {len(LISTED)} are listed" in " ".join(section.split())
