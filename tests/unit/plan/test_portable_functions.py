"""The table of functions and the page about it: what is said to be certified has its case."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mlplatform.conformance.case import CASES, load_cases
from mlplatform.plan.portable.functions import BY_NAME, FUNCTIONS
from mlplatform.plan.portable.model import Function
from mlplatform.plan.portable.spark.strings import OWN

PAGE = Path(__file__).parents[3] / "docs" / "semantics.md"
CERTIFIED = [row for row in FUNCTIONS if row.says is not None]


@pytest.mark.parametrize("row", CERTIFIED, ids=lambda row: row.name)
def test_a_certified_function_stands_in_its_case(row: Function) -> None:
    text = (CASES / f"{row.case}.yaml").read_text(encoding="utf-8").lower()
    names = [name for name in (row.name, *row.aliases) if re.search(rf"\b{re.escape(name)}\(", text)]
    assert names, f"no case of {row.case} calls {row.name}"


def test_no_name_stands_for_two_functions() -> None:
    assert len(BY_NAME) == sum(1 + len(row.aliases) for row in (*FUNCTIONS, *OWN))


def test_every_case_that_the_page_names_exists() -> None:
    known = {re.sub(r"\W+", "_", case.id) for case in load_cases()}
    for named in re.findall(r"\*(\w+: [^*]+?)\.?\*", " ".join(PAGE.read_text(encoding="utf-8").split())):
        for each in _cases(named, known):
            assert re.sub(r"\W+", "_", each).strip("_") in known, each


def _cases(named: str, titles: set[str]) -> list[str]:
    """`numbers: a; b; keys: c` → numbers-a, numbers-b, keys-c; a title may hold `; ` itself."""
    files = {path.stem for path in CASES.glob("*.yaml")}
    found: list[str] = []
    file, open_title = "", ""
    for part in named.split("; "):
        head, colon, rest = part.partition(": ")
        if colon and head in files:
            file, part = head, rest
        title = f"{open_title}; {part}" if open_title else part
        is_whole = re.sub(r"\W+", "_", f"{file}-{title}").strip("_") in titles
        open_title = "" if is_whole else title
        if is_whole:
            found.append(f"{file}-{title}")
    return found if not open_title else [*found, f"{file}-{open_title}"]
