from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from spec_samples import CONNECTORS, EXAMPLE, FilesOptions, faults, good, read

from mlplatform.errors import PlanError, Span
from mlplatform.spec.located import Located
from mlplatform.spec.model import (
    DedupeStep,
    JoinStep,
    OutputSpec,
    PythonStep,
    QueryStep,
    SourceSpec,
    SqlStep,
    UnionStep,
)
from mlplatform.spec.reader import load_spec, read_spec
from mlplatform.spec.rules import check_output
from mlplatform.spec.shapes import names_in
from mlplatform.spec.temporal import AsofJoinStep, Sides

SOURCES = "sources: {a: {connector: files, path: x}, b: {dataset: raw.b}}\n"


def step(text: str) -> object:
    spec = good(f"{SOURCES}steps:\n  s: {text}\n")
    return spec.steps[Located("s", Span("", 1, 1))].operator


def test_the_example_reads_without_errors() -> None:
    spec, errors = read(EXAMPLE)
    assert errors == []
    assert spec is not None
    assert (spec.path, spec.text, spec.version, spec.pipeline, spec.owner) == (
        "x.yaml", EXAMPLE, 1, "departure_weather", "fleet-data",
    )  # fmt: skip
    assert list(spec.steps) == [
        "delayed", "by_origin", "with_weather", "with_sides", "with_planes", "both", "firsts", "worst", "scored",
    ]  # fmt: skip
    assert spec.broken == frozenset()
    assert spec.engine.options["spark"]["spark.sql.shuffle.partitions"] == 64


def test_params() -> None:
    params = good(
        "params: {a: {type: int, default: 1, description: d}, b: 2.5, c: {type: date}, d: {type: int, default: null}}"
    ).params
    shown = {name: (param.type, param.default, param.has_default) for name, param in params.items()}
    assert shown == {
        "a": ("int", 1, True), "b": (None, 2.5, True), "c": ("date", None, False), "d": ("int", None, True),
    }  # fmt: skip


def test_sources() -> None:
    sources = good(
        "sources:\n"
        "  f: {connector: files, path: [x, y], schema: {a: bigint}, header: false, ratio: 1}\n"
        "  d: {dataset: raw.b, version: 3}\n"
    ).sources
    file, dataset = sources.values()
    assert file.connector == "files"
    assert file.options == FilesOptions(path=("x", "y"), schema={"a": "bigint"}, header=False, ratio=1.0)
    assert file.at is not None
    assert (file.at.line, file.at.column) == (4, 3)
    assert dataset == SourceSpec(dataset=Located("raw.b", Span("", 1, 1)), version=3, at=dataset.at)


def test_query_steps() -> None:
    query = step(
        "{from: a, filter: x > 1, group_by: [g], aggregate: {n: count(*)}, having: n > 1,"
        " select: {g, n, one: 1, yes: true}, distinct: true, order_by: n desc, limit: 5}"
    )
    assert query == QueryStep(
        from_="a", filter="x > 1", group_by=("g",), aggregate={"n": "count(*)"}, having="n > 1",
        select={"g": None, "n": None, "one": "1", "yes": "true"}, distinct=True, order_by="n desc", limit=5,
    )  # fmt: skip
    assert step("{from: a, select: [x, y], group_by: {h: x % 2}}") == QueryStep(
        from_="a", select=("x", "y"), group_by={"h": "x % 2"}
    )


@pytest.mark.parametrize(
    ("text", "operator"),
    [
        ("{sql: select 1 as x}", SqlStep(sql="select 1 as x")),
        ("{join: {left: a, right: b, using: [k], how: full, columns: [c, {d: e}], prefix: p_}}",
         JoinStep(left="a", right="b", using=("k",), how="full", columns=("c", {"d": "e"}), prefix="p_")),
        ("{join: {left: a, right: b, condition: l.x < r.y}}", JoinStep(left="a", right="b", condition="l.x < r.y")),
        ("{join: {left: a, right: b, how: cross}}", JoinStep(left="a", right="b", how="cross")),
        ("{union: {inputs: [a, b], by_name: false}}", UnionStep(inputs=("a", "b"), by_name=False)),
        ("{dedupe: {from: a, key: [k], keep: last, order_by: [t desc]}}",
         DedupeStep(from_="a", key=("k",), keep="last", order_by=("t desc",))),
        ("{python: {function: 'm:f', from: a, schema: {x: 'list<int>'}}}",
         PythonStep(function="m:f", from_="a", schema={"x": "list<int>"})),
        ("{asof_join: {left: a, right: b, by: [k, {left: x, right: y}], time: {left: t, right: u}, tolerance: 1h}}",
         AsofJoinStep(left="a", right="b", by=("k", Sides(left="x", right="y")), time=Sides(left="t", right="u"),
                      tolerance="1h")),
        ("{asof_join: {left: a, right: b, tolerance: unbounded, direction: nearest, seq: n}}",
         AsofJoinStep(left="a", right="b", tolerance="unbounded", direction="nearest", seq="n")),
    ],
)  # fmt: skip
def test_every_operator(text: str, operator: object) -> None:
    assert step(text) == operator


def test_outputs() -> None:
    outputs = good(
        f"{SOURCES}outputs:\n"
        "  x.y: {from: a, mode: merge, unique_key: [k], sequence_by: [t, u],"
        " partition_by: [p], columns: {k: the key}}\n"
        "  z.csv: {from: b}\n"
    ).outputs
    assert list(outputs.values()) == [
        OutputSpec(
            name="x.y", from_="a", mode="merge", unique_key=("k",), sequence_by=("t", "u"), partition_by=("p",),
            columns={"k": "the key"},
        ),
        OutputSpec(name="z.csv", from_="b"),
    ]  # fmt: skip


def test_test_rows_keep_their_values() -> None:
    spec, _ = read(EXAMPLE)
    assert spec is not None
    (test,) = spec.tests.values()
    assert test.given["flights"] == (
        {
            "tailnum": "N1",
            "origin": "JFK",
            "time_hour": "2013-02-01T05:00:00Z",
            "dep_delay": 45,
            "month": 2,
            "ok": "yes",
        },
    )
    assert test.given["weather"] == ()
    assert (test.params, test.match) == ({"month": 2}, "subset")


def test_parameters_may_stand_for_numbers_booleans_and_choices() -> None:
    query = step("{from: a, limit: '${run.id}', distinct: '${run.id}', order_by: x}")
    assert isinstance(query, QueryStep)
    assert (query.limit, query.distinct) == ("${run.id}", "${run.id}")


def test_texts_know_their_places() -> None:
    spec, _ = read(EXAMPLE)
    assert spec is not None
    operator = spec.steps["worst"].operator  # type: ignore[index]  # equal to its Located
    assert isinstance(operator, SqlStep)
    lines = EXAMPLE.split("\n")
    for word in ("select", "manufacturer,", "max(dep_delay)", "${month}", "origin, manufacturer\n"):
        span = operator.sql.span_at(operator.sql.rindex(word), len(word.strip()))
        assert lines[span.line - 1][span.column - 1 :].startswith(word.strip())


def test_all_errors_at_once_and_in_order() -> None:
    found = faults("onwer: x\nsources: {a: {connector: fil}, b: {dataset: x}}\nsteps:\n  S: {from: c}\n  t: {}\n")
    assert found == [
        ("E_KEY_UNKNOWN", 1, 1), ("E_CONNECTOR_MISSING", 2, 26), ("E_NAME", 2, 45), ("E_NAME", 4, 3),
        ("E_OPERATOR", 5, 3),
    ]  # fmt: skip


def test_broken_parts_are_left_out_and_named() -> None:
    spec, errors = read(
        "version: 1\npipeline: p\n"
        "params: {x: {type: nope}, y: 1}\n"
        "sources: {a: {connector: files}, b: {dataset: raw.b}}\n"
        "steps: {s: {from: a}, t: {from: s, limt: 1}, u: {from: t, filter: '${x} > ${y}'}, v: {from: nowhere}}\n"
        "outputs: {o.o: {from: v}, o.p: {from: u, mode: merge}}\n"
        "tests: {q: {expect: {o.p: []}}, r: {expect: {zzz: []}}}\n"
    )
    assert spec is not None
    assert [*spec.params, *spec.sources, *spec.steps, *spec.outputs, *spec.tests] == ["y", "b", "s", "u", "o.o", "q"]
    assert spec.broken == {"x", "a", "t", "v", "o.p", "r"}
    assert [error.code for error in errors] == [
        "E_TYPE_UNKNOWN", "E_KEY_MISSING", "E_KEY_UNKNOWN", "E_NAME_UNKNOWN", "E_MERGE_KEY", "E_NAME_UNKNOWN",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "- a", "a", "{", "\t\ta: 1", b"\xff"])
def test_no_spec_without_a_mapping(text: str | bytes) -> None:
    spec, errors = read(text)
    assert spec is None
    assert len(errors) == 1


def test_a_spec_without_a_name_is_still_a_spec() -> None:
    spec, errors = read("steps: {s: {sql: select 1}}")
    assert spec is not None
    assert list(spec.steps) == ["s"]
    assert [error.code for error in errors] == ["E_KEY_MISSING", "E_KEY_MISSING"]


def test_the_later_of_a_source_and_a_step_is_left_out() -> None:
    spec, errors = read("version: 1\npipeline: p\nsteps: {a: {sql: select 1}}\nsources: {a: {dataset: x.y}}\n")
    assert spec is not None
    assert (list(spec.steps), list(spec.sources)) == (["a"], [])
    assert [(error.code, error.at and error.at.line) for error in errors] == [("E_NAME_DUPLICATE", 4)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picky:
    path: Located

    def __post_init__(self) -> None:
        raise PlanError("E_FILE_MISSING", "nothing pleases", at=self.path.at)


class Broken(dict[str, type]):
    def __getitem__(self, name: str) -> type:
        raise PlanError("E_CONNECTOR_MISSING", f"{name} cannot be loaded")


@pytest.mark.parametrize(
    ("connectors", "said"), [({"x": Picky}, "nothing pleases"), (Broken({"x": Picky}), "x cannot be loaded")]
)
def test_a_connector_may_refuse(connectors: Mapping[str, type], said: str) -> None:
    text = "version: 1\npipeline: p\nsources: {a: {connector: x, path: y}}"
    spec, errors = read_spec(text, "x.yaml", connectors=connectors)
    assert [error.message for error in errors] == [said]
    assert spec is not None
    assert (spec.sources, spec.broken) == ({}, {"a"})


def test_the_mode_may_come_from_a_parameter() -> None:
    spec = good(f"params: {{m: append}}\n{SOURCES}outputs: {{x.y: {{from: a, mode: '${{m}}', unique_key: [k]}}}}\n")
    (output,) = spec.outputs.values()
    assert list(check_output(output)) == []


def test_names_read_by_operators() -> None:
    spec, _ = read(EXAMPLE)
    assert spec is not None
    names = {str(name): [*map(str, names_in(each.operator))] for name, each in spec.steps.items()}
    assert names["with_planes"] == ["with_weather", "planes"]
    assert names["both"] == ["delayed", "delayed"]
    assert names["worst"] == []


def test_a_spec_can_be_pickled() -> None:
    spec, _ = read(EXAMPLE)
    copy = pickle.loads(pickle.dumps(spec))
    assert copy == spec
    assert copy.pipeline.at == spec.pipeline.at  # type: ignore[union-attr]  # read above


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(EXAMPLE)
    assert load_spec(tmp_path / "good.yaml", connectors=CONNECTORS)[1] == []
    for path, code in (
        (tmp_path / "none.yaml", "E_FILE_MISSING"),
        (tmp_path, "E_FILE_MISSING"),
        (tmp_path / "good.yaml" / "x", "E_FILE_MISSING"),
        (Path("a\0b"), "E_PERMISSION"),
    ):
        spec, errors = load_spec(path, connectors=CONNECTORS)
        assert spec is None
        assert [error.code for error in errors] == [code]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(EXAMPLE)
    path.chmod(0)
    assert [error.code for error in load_spec(path, connectors=CONNECTORS)[1]] == ["E_PERMISSION"]


def test_reading_loads_no_engine() -> None:
    heavy = "{'duckdb', 'pyarrow', 'deltalake', 'sqlglot', 'pydantic', 'sqlalchemy', 'pandas', 'numpy'}"
    code = (
        "import sys, mlplatform.spec.reader, mlplatform.spec.params, mlplatform.spec.schema\n"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_thousand_steps() -> None:
    steps = "".join(f"  s{i}: {{from: s{i - 1}, filter: a > {i}, select: {{a, b: a + {i}}}}}\n" for i in range(1, 1001))
    text = f"version: 1\npipeline: p\nsources: {{s0: {{dataset: x.y}}}}\nsteps:\n{steps}"
    spec, errors = read(text)
    assert errors == []
    assert spec is not None
    assert len(spec.steps) == 1000
    assert len(read(text.replace("from: s", "form: s"))[1]) == 1000
