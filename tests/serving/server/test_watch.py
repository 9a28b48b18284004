"""What a worker does when the host's pointers change."""

from __future__ import annotations

from pathlib import Path

from serving.admission.limiter import Gradient2
from serving.http.plane import Plane
from serving.http.scan import ScanLane
from serving.http.slow import Slow
from serving.publish.fetch import LocalPacks
from serving.publish.publish import purge
from serving.publish.store import FolderStore
from serving.query.cache import Entry
from serving.query.link import QueryLink
from serving.server.watch import PackWatch
from serving.tenants.directory import Directory
from tests.services.serving.published import TABLE, publish_rows, publisher, trips


def test_a_deletion_on_request_drops_cached_answers_of_the_table_and_takes_no_older_ones_back(tmp_path: Path) -> None:
    plane = Plane(Directory())
    link = QueryLink([])
    plane.slow = Slow(plane, link, ScanLane(plane.clock, Gradient2(2, 1, 2)), 60.0)
    local, store = LocalPacks(tmp_path / "host"), FolderStore(tmp_path / "packs")
    watch = PackWatch(local, plane, lambda event, /, **facts: None)
    for mark in "ab":
        publish_rows(tmp_path, trips(10, mark=mark))
        local.sync(store)
        watch.look()
    link.keep(b"a" * 16, Entry(b"[]", {TABLE: 0}, b"a"))
    link.keep(b"b" * 16, Entry(b"[]", {"other.table": 0}, b"b"))
    purge(publisher(tmp_path), TABLE, 1, reason="subject 7")
    local.sync(store)
    watch.look()
    assert (link.cache.newest(b"a"), link.cache.newest(b"b") is not None) == (None, True)
    assert plane.tables[TABLE.encode()].versions() == [1]

    link.keep(b"a" * 16, Entry(b"[]", {TABLE: 0}, b"a"))  # was on its way
    link.keep(b"c" * 16, Entry(b"[]", {TABLE: 1}, b"c"))
    watch.look()
    assert (link.cache.newest(b"a"), link.cache.newest(b"c") is not None) == (None, True)
