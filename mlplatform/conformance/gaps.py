"""What an engine is known not to do, as data: named, with the exact error, and strict. See gaps.yaml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from mlplatform.conformance.case import Case, read_yaml
from mlplatform.conformance.runner import Outcome
from mlplatform.errors import UsageError, did_you_mean, repr_name

GAPS = Path(__file__).parent / "gaps.yaml"
Kind = Literal["todo", "upstream", "never"]
Verdict = Literal["passed", "gap", "failed", "closed"]


@dataclass(frozen=True, slots=True)
class Gap:
    """A case that an engine does not pass.

    Attributes:
        kind: `todo` is ours to do, `upstream` waits for others (`link`), `never` lies in the engine's nature.
        code: what it fails with: an error's code, or `rows` or `types` for another answer.
    """

    engine: str
    case: str
    kind: Kind
    code: str
    why: str
    link: str | None = None


def load_gaps(cases: Iterable[Case], path: Path = GAPS) -> Mapping[tuple[str, str], Gap]:
    """The gaps of a file by engine and case.

    Raises: UsageError E_USAGE for a gap of a case that is not there, one named twice, and one that says too little.
    """
    known = {case.id for case in cases}
    found: dict[tuple[str, str], Gap] = {}
    for document in read_yaml(path)[0] or ():
        for gap in _gaps(document):
            if gap.case not in known:
                raise UsageError("E_USAGE", f"{path}: there is no case {repr_name(gap.case)}",
                                 hint=did_you_mean(gap.case, known))  # fmt: skip
            if (gap.engine, gap.case) in found:
                raise UsageError("E_USAGE", f"{path}: case {repr_name(gap.case)} is twice a gap of {gap.engine}")
            found[gap.engine, gap.case] = gap
    return found


def _gaps(document: Mapping[str, Any]) -> list[Gap]:  # Any: YAML
    common = {name: value for name, value in document.items() if name != "cases"}
    gaps = [Gap(case=case, **common) for case in document["cases"]]
    for gap in gaps:
        if gap.kind not in get_args(Kind) or (gap.kind == "upstream") != (gap.link is not None):
            raise UsageError(
                "E_USAGE", f"gap {gap}: `kind` is one of {', '.join(get_args(Kind))}; upstream has a `link`"
            )
    return gaps


def judge(outcome: Outcome, gap: Gap | None) -> Verdict:
    """Whether an outcome is good, a known gap, a new fault, or a gap that has closed and must be struck out."""
    if gap is None:
        return "passed" if outcome.failure is None else "failed"
    if outcome.failure is None:
        return "closed"
    return "gap" if outcome.failure.code == gap.code else "failed"


def explanation(outcome: Outcome, gap: Gap | None) -> str:
    """Why an outcome is not good; empty for one that is."""
    match judge(outcome, gap):
        case "passed" | "gap":
            return ""
        case "closed":
            return f"the gap is closed ({gap.why if gap else ''}): remove it from gaps.yaml"
        case "failed":
            known = f"the gap is known to fail with {gap.code}, not " if gap is not None else ""
            assert outcome.failure is not None
            return f"{known}{outcome.failure.code}: {outcome.failure.text}"
