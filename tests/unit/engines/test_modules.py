"""Modules beside specs: each spec gets its own, as it stands now."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlplatform.engines.functions import load_function
from mlplatform.errors import Span, UserCodeError
from mlplatform.plan.nodes import Function
from mlplatform.spec.located import Located
from mlplatform.types import BIGINT, Schema

AT = Span("spec.yaml", 3, 5)


def said(folder: Path, function: str = "mlp_rules:say") -> object:
    return load_function(Function("step", Located(function, AT), "t", Schema.of({"k": BIGINT}), str(folder), AT))()


def written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


def test_two_folders_have_modules_of_one_name(tmp_path: Path) -> None:
    one = written(tmp_path / "one", mlp_rules="def say(): return 1\n")
    two = written(tmp_path / "two", mlp_rules="def say(): return 2\n")
    assert [said(one), said(two), said(one)] == [1, 2, 1]


def test_their_own_imports_are_apart_too(tmp_path: Path) -> None:
    text = "import mlp_weights\n\ndef say(): return mlp_weights.WEIGHT\n"
    one = written(tmp_path / "one", mlp_rules=text, mlp_weights="WEIGHT = 1\n")
    two = written(tmp_path / "two", mlp_rules=text, mlp_weights="WEIGHT = 2\n")
    assert [said(one), said(two)] == [1, 2]


def test_a_changed_module_counts_as_it_stands(tmp_path: Path) -> None:
    folder = written(tmp_path, mlp_rules="def say(): return 1\n")
    assert said(folder) == 1
    written(folder, mlp_rules="def say(): return 'changed'\n")
    assert said(folder) == "changed"


def test_a_changed_part_of_a_package_counts_too(tmp_path: Path) -> None:
    folder = written(tmp_path, mlp_fleet__rules="from mlp_fleet.weights import W\n\ndef say(): return W\n",
                     mlp_fleet__weights="W = 1\n")  # fmt: skip
    assert said(folder, "mlp_fleet.rules:say") == 1
    written(folder, mlp_fleet__weights="W = 'changed'\n")
    assert said(folder, "mlp_fleet.rules:say") == "changed"


def test_a_package_may_import_its_parts_when_it_is_called(tmp_path: Path) -> None:
    lazy = "def say():\n    from mlp_fleet import weights\n    return weights.W\n"
    folder = written(tmp_path, mlp_fleet__rules=lazy, mlp_fleet__weights="W = 1\n")
    assert said(folder, "mlp_fleet.rules:say") == 1


def test_a_name_that_python_has_already_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path, json="def say(): return 1\n")
    with pytest.raises(UserCodeError, match="E_FUNCTION") as raised:
        said(folder, "json:say")
    assert "has the name of a module that is loaded already" in raised.value.message
    assert raised.value.hint == "give the file another name"


def test_installed_modules_are_found_and_kept(tmp_path: Path) -> None:
    assert said(tmp_path, "os:getpid") == said(tmp_path, "os:getpid")
