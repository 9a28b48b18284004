"""Interactive requests go first: none is refused while a batch request waits or is served in its place."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serving.http.harness import Answer, Worker, request

INTERACTIVE = request("GET", "/v1/tables/t.x/rows/5")
BATCH = request("GET", "/v1/tables/t.x/rows/5", x_priority="batch")
MOST = 16


def small() -> Worker:
    worker = Worker()
    worker.plane.lane_most = MOST
    return worker


def test_interactive_requests_take_the_places_of_batch_ones() -> None:
    worker = small()
    batch = [worker.connect() for _ in range(4)]
    for connection, _ in batch:
        connection.data_received(BATCH)
    interactive = [worker.connect() for _ in range(MOST + 1)]
    for connection, _ in interactive:
        connection.data_received(INTERACTIVE)
    assert [Answer(b"".join(transport.out)).code for _, transport in batch] == ["overloaded"] * 4
    late, transport = worker.connect()
    late.data_received(INTERACTIVE)
    assert Answer(b"".join(transport.out)).code == "overloaded"
    worker.turn()
    assert {Answer(b"".join(transport.out)).status for _, transport in interactive} == {200}
    assert worker.plane.shed == {("wait", True): 4, ("wait", False): 1}


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.booleans(), st.integers(1, 30)),
        st.tuples(st.just("turn"), st.booleans(), st.integers(1, 2)),
        st.tuples(st.just("leisure"), st.booleans(), st.integers(0, 1)),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(_STEPS)
def test_no_interactive_request_is_refused_while_a_batch_one_waits(steps: list[tuple[str, bool, int]]) -> None:
    worker = small()
    plane = worker.plane
    asked = []
    for kind, is_batch, count in steps:
        for _ in range(count):
            if kind == "turn" and worker._soon:
                worker._soon.pop(0)()
            elif kind == "leisure":
                plane.leisure_s = 10.0 if is_batch else 0.0
            elif kind == "ask":
                before = plane.shed.get(("wait", False), 0)
                connection, transport = worker.connect()
                asked.append(transport)
                had_batch = plane.lane.has_batch
                connection.data_received(BATCH if is_batch else INTERACTIVE)
                assert not (had_batch and plane.shed.get(("wait", False), 0) > before)
                assert len(plane.lane) <= MOST + 1
    worker.turn()
    assert all(b"".join(transport.out).count(b"HTTP/1.1 ") == 1 for transport in asked)
