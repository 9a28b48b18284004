"""Any reply becomes an answer or an error of ours."""

from __future__ import annotations

import contextlib
import pickle
from itertools import chain
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.client.answers import JSON, Reply, answer_of, error_of, json_of
from serving.client.errors import BadAnswer, ServingError, error_class
from serving.client.requests import BATCH_BYTES, BATCH_KEYS, filtered, index, row, rows, rows_arrow, segment, split

JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["error", "code", "retryable", "retry_after_ms", "details", "rows", "next_cursor"]), inner),
    max_leaves=12,
)  # fmt: skip
BODIES = st.binary(max_size=60) | JSONS.map(orjson.dumps)
HEADERS = st.dictionaries(
    st.sampled_from(["x-dataset-version", "age", "x-cache", "retry-after", "x-request-id"]),
    st.text(max_size=12) | st.sampled_from(["41", "a=1, b=2", "-1", "1.5", "²"]),
)
REPLIES = st.builds(Reply, st.sampled_from([200, 400, 404, 429, 500, 502, 503, 599]), HEADERS, BODIES)


@settings(deadline=None)
@given(REPLIES)
def test_any_refusal_is_an_error_that_pickles(reply: Reply) -> None:
    error = error_of(reply)
    again = pickle.loads(pickle.dumps(error))
    assert type(error) is type(again) is error_class(reply.status)
    assert (again.code, again.retryable, again.retry_after_s) == (error.code, error.retryable, error.retry_after_s)
    assert error.retry_after_s is None or error.retry_after_s >= 0


@settings(deadline=None)
@given(REPLIES)
def test_any_answer_is_read_or_refused(reply: Reply) -> None:
    with contextlib.suppress(BadAnswer):
        answer_of(reply, None)
    with contextlib.suppress(BadAnswer):
        json_of(reply)


@settings(deadline=None)
@given(REPLIES)
def test_any_reply_to_any_request(reply: Reply) -> None:
    calls: list[Any] = [
        row("t", 1, columns=None, version=None),
        rows("t", [1, 2], columns=None, version=None, missing="null"),
        rows_arrow("t", [1], columns=None, version=None, missing="null"),
        index("t", "i", 1, JSON, {}),
        filtered("t", {"where": []}, JSON),
    ]
    for call in calls:
        next(call)
        with contextlib.suppress(ServingError, StopIteration):
            call.send(reply)


@settings(deadline=None)
@given(st.lists(st.integers(0, 9) | st.text(max_size=9), max_size=30), st.integers(1, 7))
def test_keys_are_split_without_loss(keys: list[int | str], repeat: int) -> None:
    made = split(keys * repeat * 20)
    assert list(chain.from_iterable(made)) == [[key] for key in keys * repeat * 20]
    assert all(len(part) <= BATCH_KEYS and len(orjson.dumps(part)) <= BATCH_BYTES + 1000 for part in made)


@pytest.mark.parametrize(("key", "text"), [("", ""), (["a", ""], "a,"), (("a,b", 1), "a%2Cb,1"), (-5, "-5")])
def test_segments(key: object, text: str) -> None:
    assert segment(key) == text
