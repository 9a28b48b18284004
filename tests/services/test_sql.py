"""Questions to the warehouse and what analysts hold: `Workspace.sql`, datasets, lineage, their notebook forms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlplatform.cli.main import main
from mlplatform.errors import PlatformError
from mlplatform.workspace import Workspace
from tests.services.runs import Runs


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A table `raw.t` in two versions, and `mined.sums` made from it."""
    runs = Runs(tmp_path)
    spec = runs.spec(
        {"raw.t": {"from": "t", "description": "letters & counts"}, "mined.sums": {"from": "sums"}},
        schema={"k": "string", "n": "int"},
        steps={"sums": {"from": "t", "group_by": ["k"], "aggregate": {"total": "sum(n)"}}},
    )
    runs.csv("in.csv", "k,n\n<a>,1\n")
    runs.run(spec)
    runs.csv("in.csv", "k,n\n<a>,1\n<a>,2\nb,\n")
    runs.run(spec)
    return runs.workspace


def test_rows_in_every_form(workspace: Workspace) -> None:
    result = workspace.sql("select k, n from raw.t order by n nulls last")
    assert result.rows() == (["k", "n"], [("<a>", 1), ("<a>", 2), ("b", None)])
    assert result.to_arrow().to_pydict() == {"k": ["<a>", "<a>", "b"], "n": [1, 2, None]}
    assert result.to_pandas()["n"].tolist()[:2] == [1.0, 2.0]
    assert result.to_polars().rows() == [("<a>", 1), ("<a>", 2), ("b", None)]


def test_csv_holds_what_an_exported_file_holds(workspace: Workspace) -> None:
    query = """select true as yes, null as none, '' as empty, 'a,"b"' as text, [1, null] as list, 1.10 as exact,
               'nan'::double as odd, 'a\nb' as "two, lines", timestamptz '2026-01-01 00:00:00Z' as at
               from raw.t limit 1"""
    assert "\n".join(workspace.sql(query).csv_lines()) == (
        'yes,none,empty,text,list,exact,odd,"two, lines",at\n'
        'true,,"","a,""b""","[1, NULL]",1.10,nan,"a\nb",2026-01-01 00:00:00+00'
    )
    assert list(workspace.sql("select k, k from raw.t where n > 9").csv_lines()) == ["k,k"]
    with pytest.raises(PlatformError, match="E_DIVISION_BY_ZERO"):
        list(workspace.sql("select 1 // (n - 1) as x from raw.t").csv_lines())


def test_json_is_json_and_loses_no_column(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.config.root)
    query = "select 'nan'::double as a, ['inf'::double] as b, 'x\\x00'::blob as c"
    result = CliRunner().invoke(main, ["sql", query, "--json"])
    assert json.loads(result.stdout, parse_constant=pytest.fail)["rows"] == [
        {"a": "NaN", "b": ["Infinity"], "c": "x\\x00"}
    ]
    result = CliRunner().invoke(main, ["sql", "select 1 as a, 2 as a", "--json"])
    assert (result.exit_code, [error["code"] for error in json.loads(result.stdout)["errors"]]) == (
        2,
        ["E_COLUMN_COLLISION"],
    )


def test_joins_of_datasets_and_ctes(workspace: Workspace) -> None:
    query = "with s as (select * from mined.sums) select t.k, s.total from raw.t t join s using (k) where t.n = 2"
    assert workspace.sql(query).rows() == (["k", "total"], [("<a>", 3)])


@pytest.mark.parametrize(
    ("query", "code", "says"),
    [
        ("select m from raw.t", "E_COLUMN_MISSING", "columns at hand: k, n"),
        ("select kk from raw.t", "E_COLUMN_MISSING", 'did you mean "k"?'),
        ("select * from raw.tt", "E_DATASET_MISSING", 'did you mean "raw.t"?'),
        ("select * from t", "E_DATASET_MISSING", "datasets: mined.sums, raw.t"),
        ("drop table raw.t", "E_SQL_FORBIDDEN", "one SELECT"),
        ("select 1; select 2", "E_SQL_FORBIDDEN", "one SELECT"),
        ("select * from read_csv('x')", "E_SQL_FORBIDDEN", "read_csv"),
        ("selec 1", "E_SQL", "cannot be parsed"),
    ],
)
def test_wrong_questions(workspace: Workspace, query: str, code: str, says: str) -> None:
    with pytest.raises(PlatformError) as raised:
        workspace.sql(query).rows()
    assert raised.value.code == code
    assert says in raised.value.render()


def test_a_dataset_and_its_versions(workspace: Workspace) -> None:
    table = workspace.dataset("raw.t")
    assert [version.version for version in table.versions()] == [1, 0]
    assert table.version(0).to_arrow().to_pydict() == {"k": ["<a>"], "n": [1]}
    assert str(table).splitlines()[1:] == ["  k string", "  n int"]
    with pytest.raises(PlatformError) as raised:
        table.version(7)
    assert raised.value.code == "E_DATASET_VERSION"


def test_forms_for_notebooks_show_values_as_text(workspace: Workspace) -> None:
    assert "<td>&lt;a&gt;</td><td>3</td>" in workspace.sql("select * from mined.sums")._repr_html_()
    assert "<td>n</td><td>int</td>" in workspace.dataset("raw.t")._repr_html_()
    many = workspace.sql("select a.k from raw.t a, raw.t b, raw.t c, raw.t d")._repr_html_()
    assert many.count("<tr>") == 41
    assert many.endswith("<p>first 40 rows</p>")


def test_lineage_of_a_column_and_of_a_dataset(workspace: Workspace) -> None:
    assert str(workspace.lineage("mined.sums.total")).splitlines() == [
        "mined.sums.total comes from",
        "├─ files in.csv [k]  INDIRECT group_by",
        "└─ files in.csv [n]  DIRECT aggregation",
    ]
    assert "files in.csv" in workspace.lineage("mined.sums")._repr_html_()
    assert str(workspace.lineage("raw.t.k", direction="down")) == "no lineage of raw.t.k is recorded"
    with pytest.raises(PlatformError) as raised:
        workspace.lineage("mined.sums.totl")
    assert raised.value.code == "E_COLUMN_MISSING"


@pytest.mark.parametrize("source", ["dataset: raw.t", "connector: delta, path: warehouse/raw/t"])
def test_a_version_that_is_not_there_has_its_place(workspace: Workspace, source: str) -> None:
    spec = workspace.config.root / "pinned.yaml"
    spec.write_text(
        f"version: 1\npipeline: p\nsources:\n  s: {{{source}, version: 9}}\noutputs: {{mined.s: {{from: s}}}}\n",
        "utf-8",
    )
    with pytest.raises(PlatformError, match="E_DATASET_VERSION") as raised:
        workspace.validate(spec)
    assert raised.value.at is not None
    assert raised.value.at.line == 4
