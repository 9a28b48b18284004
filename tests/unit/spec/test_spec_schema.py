from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from spec_samples import CONNECTORS, EXAMPLE, read

import mlplatform.spec
from connectors.registry import connectors
from mlplatform.spec.loader import load
from mlplatform.spec.nodes import MappingNode, Node, SequenceNode
from mlplatform.spec.schema import json_schema, write_schema

SHIPPED = Path(mlplatform.spec.__file__).parent / "spec.schema.json"
SCHEMA = json_schema(CONNECTORS)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def plain(node: Node | None) -> Any:
    if isinstance(node, MappingNode):
        return {str(key.raw): plain(value) for key, value in node.pairs}
    if isinstance(node, SequenceNode):
        return [plain(item) for item in node.items]
    return node.value if node is not None else None


def problems(text: str) -> list[str]:
    _, root, _ = load(text, "x.yaml")
    return [error.message for error in VALIDATOR.iter_errors(plain(root))]


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_example_is_accepted() -> None:
    assert problems(EXAMPLE) == []


def test_parts_that_are_not_built_yet_are_accepted() -> None:
    text = (
        "version: 1\npipeline: p\nsources: {a: {dataset: x.y, changes_since: last_run}}\n"
        "steps: {w: {split: {from: a}}, k: {knn: {}, description: d}}\n"
        "outputs: {x.y: {from: w, expectations: [{expect_x: {column: a}}], serve: {}, maintain: {retain: 30d}}}\n"
    )
    assert problems(text) == []


WRONG = [
    "pipeline: p", "version: 2\npipeline: p", "version: 1\npipeline: P", "version: 1\npipeline: p\nx: 1",
    "version: 1\npipeline: p\nsources: {a: {}}", "version: 1\npipeline: p\nsources: {a: {connector: no}}",
    "version: 1\npipeline: p\nsources: {a: {connector: files}}",
    "version: 1\npipeline: p\nsources: {a: {connector: files, path: x, y: 1}}",
    "version: 1\npipeline: p\nsources: {a: {connector: files, path: x, dataset: x.y}}",
    "version: 1\npipeline: p\nsources: {A: {connector: files, path: x}}",
    "version: 1\npipeline: p\nsources: {a: {dataset: x}}", "version: 1\npipeline: p\nsteps: {a: {}}",
    "version: 1\npipeline: p\nsteps: {a: {from: x, sql: select 1}}",
    "version: 1\npipeline: p\nsteps: {a: {from: x, where: y}}", "version: 1\npipeline: p\nsteps: {a: {sql: [1]}}",
    "version: 1\npipeline: p\nsteps: {a: {join: {left: x}}}",
    "version: 1\npipeline: p\nsteps: {a: {join: {left: x, right: y, using: k}}}",
    "version: 1\npipeline: p\nsteps: {a: {join: {left: x, right: y, how: outer}}}",
    "version: 1\npipeline: p\nsteps: {a: {from: x, limit: many}}",
    "version: 1\npipeline: p\nsteps: {a: {from: x, distinct: yes}}",
    "version: 1\npipeline: p\noutputs: {x: {from: a}}", "version: 1\npipeline: p\noutputs: {x.y: {mode: append}}",
    "version: 1\npipeline: p\noutputs: {x.y: {from: a, mode: upsert}}", "version: 1\npipeline: p\nparams: {a: [1]}",
    "version: 1\npipeline: p\nparams: {a: {description: x}}", "version: 1\npipeline: p\ntests: {t: {given: {}}}",
    "version: 1\npipeline: p\nengine: duckdb",
]  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_the_reader_refuses_for_its_form_the_schema_refuses_too(text: str) -> None:
    assert problems(text)
    assert read(text)[1]


def test_every_key_is_described() -> None:
    undescribed = [
        f"{name}.{word}"
        for name, definition in SCHEMA["$defs"].items()
        for word, key in definition.get("properties", {}).items()
        if not key.get("description")
    ]
    assert undescribed == []


def test_the_shipped_schema_is_current(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """`pytest --golden` writes it again."""
    options = {name: connector.Options for name, connector in connectors().items()}
    if request.config.getoption("--golden"):
        write_schema(SHIPPED, options)
    write_schema(tmp_path / "now.json", options)
    assert SHIPPED.read_text(encoding="utf-8") == (tmp_path / "now.json").read_text(encoding="utf-8")
