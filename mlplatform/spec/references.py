"""Names between the parts of a spec: whatever a step, an output or a test names must exist."""

from __future__ import annotations

from collections.abc import Iterable

from mlplatform.errors import listed, repr_name
from mlplatform.spec.located import Located
from mlplatform.spec.model import OutputSpec, SourceSpec, StepSpec, TestSpec
from mlplatform.spec.reading import DATASET, Reading
from mlplatform.spec.shapes import names_in


def check_step(reading: Reading, step: StepSpec, inputs: Iterable[str]) -> None:
    """Record the names that stand for no source or step."""
    for name in names_in(step.operator):
        _check(reading, name, inputs, "sources and steps")


def check_output_source(reading: Reading, output: OutputSpec, inputs: Iterable[str]) -> None:
    """Record an output that reads nothing known."""
    _check(reading, output.from_, inputs, "sources and steps")


def check_test(
    reading: Reading, test: TestSpec, sources: dict[Located, SourceSpec], known: dict[str, set[str]]
) -> None:
    """Record what a test gives or expects but the spec does not have.

    Args:
        known: all names by kind (`params`, `sources`, `steps`, `outputs`), of broken parts too.
    """
    by_dataset = {str(source.dataset): name for name, source in sources.items() if source.dataset is not None}
    for name in test.params:
        if name not in known["params"]:
            hint = reading.near(name, known["params"])
            note = f"params: {listed(sorted(known['params'])) or 'none'}"
            reading.error("E_PARAM", f"unknown parameter {repr_name(name)}", name.at, hint, [note])
    for name in test.given:
        if name in by_dataset and name not in known["outputs"]:
            hint = f"write the source's name, {repr_name(by_dataset[name])}"
            reading.error("E_NAME_UNKNOWN", f"{repr_name(name)} is no source and no output", name.at, hint)
        else:
            _check(reading, name, known["sources"] | known["outputs"], "sources and outputs")
    for name in test.expect:
        _check(reading, name, known["outputs"] | known["steps"], "outputs and steps")


def _check(reading: Reading, name: Located, known: Iterable[str], what: str) -> None:
    if name in known:
        return
    names = sorted(known)
    hint = reading.near(name, names)
    if hint is None and DATASET.match(name) and what == "sources and steps":
        hint = f"a dataset becomes a source first: sources: {{{name.split('.')[1]}: {{dataset: {name}}}}}"
    reading.error("E_NAME_UNKNOWN", f"unknown name {repr_name(name)}", name.at, hint, [f"{what}: {listed(names)}"])
