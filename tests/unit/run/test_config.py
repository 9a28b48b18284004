"""mlplatform.yaml: what it may hold, and what is said about the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlplatform.errors import PlatformError, all_errors
from mlplatform.run.config import Config, load_config


def config(folder: Path, text: str, env: dict[str, str] | None = None) -> Config:
    (folder / "mlplatform.yaml").write_text(text, encoding="utf-8")
    return load_config(folder, env or {})


def test_values_of_file_environment_and_variables(tmp_path: Path) -> None:
    text = (
        "warehouse: w\nengine: {default: beam, duckdb: {memory_limit: 2GiB, threads: 2}, beam: {runner: Prism}}\n"
        "environments: {trial: {warehouse: t, engine: {default: duckdb}}}\nenvironment: trial\n"
    )
    found = config(tmp_path, text, {"MLP_ENGINE_DUCKDB_THREADS": "3"})
    assert (found.warehouse, found.engine) == (str(tmp_path / "t"), "duckdb")
    assert (found.memory_bytes, found.threads, found.options) == (2 * 1024**3, 3, {"beam": {"runner": "Prism"}})


@pytest.mark.parametrize("text", ["", "# nothing\n", "\n\n", "warehouse:\nengine:\n", "engine: {duckdb: }\n"])
def test_nothing_said_is_the_default(tmp_path: Path, text: str) -> None:
    found = config(tmp_path, text)
    assert (found.warehouse, found.engine, found.threads) == (str(tmp_path / ".mlp/warehouse"), "duckdb", None)


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("engine: duckdb", 9, '"engine" must be a mapping, not the text "duckdb"'),
        ("engine: {duckdb: 2GiB}", 18, '"duckdb" must be a mapping, not the text "2GiB"'),
        ("engine: {spark: [a]}", 17, '"spark" must be a mapping, not a list'),
        ("engine: {default: [duckdb]}", 19, '"default" must be a text or a number, not a list'),
        ("environments: [a]", 15, '"environments" must be a mapping, not a list'),
        ("environments: {a: x}", 19, '"a" must be a mapping, not the text "x"'),
        ("environment: {a: b}", 14, '"environment" must be a text or a number, not a mapping'),
        ("warehouse: [a]", 12, '"warehouse" must be a text or a number, not a list'),
        ("[a]", 1, "the file must be a mapping, not a list"),
        ("warehuose: x", 1, 'unknown key "warehuose"'),
        ("environments: {a: {environments: {}}}", 20, 'unknown key "environments"'),
        ("engine: {1: 2}", 10, 'unknown key "1"'),
    ],
)
def test_other_kinds_are_refused_at_their_place(tmp_path: Path, text: str, column: int, message: str) -> None:
    with pytest.raises(PlatformError, match="E_WORKSPACE") as raised:
        config(tmp_path, text)
    at = raised.value.at
    assert at is not None
    assert (at.line, at.column, raised.value.message) == (1, column, message)


def test_no_yaml_is_told_like_that_of_a_spec(tmp_path: Path) -> None:
    for text, code in (("[1,2", "E_YAML"), ("a: 1\na: 2\n", "E_KEY_DUPLICATE"), ("a:\n\tb: 1\n", "E_TAB")):
        with pytest.raises(PlatformError) as raised:
            config(tmp_path, text)
        assert code in [error.code for error in all_errors(raised.value)]


def test_all_faults_at_once(tmp_path: Path) -> None:
    with pytest.raises(PlatformError) as raised:
        config(tmp_path, "warehuose: x\nengine: duckdb\n")
    assert [error.hint for error in all_errors(raised.value)] == [
        'did you mean "warehouse"?',
        "write {default: duckdb}",
    ]
