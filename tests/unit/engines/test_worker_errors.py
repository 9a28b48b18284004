"""Errors of workers, found in whatever a runner makes of them."""

from __future__ import annotations

import pickle

import pytest

from mlplatform.engines.worker_errors import WorkerError, carried, from_text, to_text
from mlplatform.errors import EngineError, PlatformError, SourceError, Span, UserCodeError

ERRORS = [
    EngineError("E_CAST", "a value cannot be cast", hint="use try_cast"),
    SourceError("E_SOURCE_CHANGED", "a.csv changed", transient=True, at=Span("p.yaml", 3, 7, 4, "  path: é")),
    UserCodeError("E_USER_CODE", "rules:f raised ValueError: >mlplatform-error<", notes=["a.py:3 in f: raise", "x"]),
]


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_comes_through_a_text(error: PlatformError) -> None:
    with pytest.raises(WorkerError) as raised, carried():
        raise error
    text = f"Pipeline job-1 failed: Traceback\n  {raised.value} [while running 'x']\nat org.apache…"
    found = from_text(text)
    assert found is not None
    assert type(found) is type(error)
    assert found.as_dict() == error.as_dict()
    assert found.render() == error.render()
    assert getattr(found, "transient", None) == getattr(error, "transient", None)


def test_a_worker_error_is_made_again_of_its_text() -> None:
    error = WorkerError(to_text(ERRORS[0]))
    again = pickle.loads(pickle.dumps(type(error)(str(error) + " [while running 'x']", *error.args[1:])))
    assert from_text(str(again)) is not None


@pytest.mark.parametrize("text", ["", "boom", "mlplatform-error<>", "mlplatform-error<AAAA", "mlplatform-error<AAAA>"])
def test_texts_without_an_error(text: str) -> None:
    assert from_text(text) is None


def test_other_exceptions_are_left_alone() -> None:
    with pytest.raises(KeyError), carried():
        raise KeyError("x")
