"""Each file in spec_errors/ is a bad spec and, below `=====`, all that is said about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from mlplatform.codes import CODES
from mlplatform.spec.entry import entry
from mlplatform.spec.reader import read_spec

CASES = sorted((Path(__file__).parent / "spec_errors").glob("*.case"))
MARK = b"\n=====\n"
# Codes that reading alone can give; the others need data, a plan or a run.
CODES_OF_READING = (
    "E_YAML", "E_TAB", "E_ENCODING", "E_KEY_UNKNOWN", "E_KEY_DUPLICATE", "E_KEY_MISSING", "E_KEY_CONFLICT", "E_VALUE",
    "E_NAME", "E_NAME_DUPLICATE", "E_NAME_UNKNOWN", "E_VERSION", "E_OPERATOR", "E_NOT_SUPPORTED", "E_DURATION",
    "E_PARAM", "E_MERGE_KEY", "E_PARTITION", "E_CONNECTOR_MISSING", "E_TYPE_UNKNOWN",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    path: str = entry(doc="file or glob")
    schema: dict[str, str] | None = entry(None, doc="column: type", check="type")
    header: bool = True
    skip: int = 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_errors_read_as_recorded(case: Path, request: pytest.FixtureRequest) -> None:
    text, _, expected = case.read_bytes().partition(MARK)
    _, errors = read_spec(text, "spec.yaml", connectors={"files": Files, "delta": Files})
    rendered = "\n".join(error.render() for error in errors).encode() + b"\n"
    if request.config.getoption("--golden"):
        case.write_bytes(text + MARK + rendered)
        return
    assert rendered.decode() == expected.decode()


def test_every_code_of_reading_has_a_case() -> None:
    said = b"\n".join(case.read_bytes().partition(MARK)[2] for case in CASES).decode()
    assert set(CODES_OF_READING) <= set(CODES)
    assert [code for code in CODES_OF_READING if f"{code} " not in said] == []
