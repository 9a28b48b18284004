"""When children are started again, and what happens to a host without its catalog or store."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from mlplatform.errors import CatalogError, UsageError
from serving.server.config import ServeConfig
from serving.server.sockets import listen
from serving.server.supervisor import RESTART_S, Child, Sources, Supervisor
from serving.tenants.snapshot import Snapshot, read_snapshot, write_snapshot
from serving.tenants.tenants import Grant, Tenant
from serving.tenants.tokens import new_token


def test_a_child_that_keeps_dying_is_started_ever_later() -> None:
    child = Child("data", 0)
    pauses = []
    now_s = 0.0
    for _ in range(12):
        child.died(now_s)
        pauses.append(child.start_at_s - now_s)
        now_s += 0.5
    assert pauses[:4] == pytest.approx([RESTART_S] * 4)
    assert pauses[4:] == pytest.approx([1, 2, 4, 8, 16, 30, 30, 30])
    assert child.is_failing(now_s)
    assert not child.is_failing(now_s + 61)


def _supervisor(folder: Path, tenants: object, **more: object) -> Supervisor:
    config = ServeConfig(data_dir=folder, store="s", workers=1, query_workers=0, **more)  # type: ignore[arg-type]
    return Supervisor(config, Sources(tenants, lambda: (), lambda: config), stream=io.StringIO())  # type: ignore[arg-type]


def _down() -> list[Tenant]:
    raise CatalogError("E_CATALOG", "it is down")


def test_without_the_catalog_the_last_tenants_stay(tmp_path: Path) -> None:
    kept = Snapshot((Tenant("a", (Grant("*"),), (new_token(0.0)[1],), slot=1),), 5.0)
    write_snapshot(tmp_path, kept)
    assert _supervisor(tmp_path, _down)._take_tenants() == kept
    assert read_snapshot(tmp_path) == kept
    changed = _supervisor(tmp_path, lambda: [Tenant("b", ())])._take_tenants()
    assert changed is not None
    assert [tenant.id for tenant in changed.tenants] == ["b"]


def test_a_server_for_others_does_not_start_without_tokens(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        _supervisor(tmp_path, lambda: [], host="0.0.0.0", port=0).run()
    assert caught.value.code == "E_SERVE_EXPOSED"


def test_a_port_that_somebody_listens_on_is_not_shared(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as other:
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UsageError) as caught:
            _supervisor(tmp_path, lambda: [], port=port).run()
        assert caught.value.code == "E_SERVE_PORT"


def test_one_folder_has_one_server(tmp_path: Path) -> None:
    from serving.server.supervisor import _only_one

    with _only_one(tmp_path), pytest.raises(UsageError) as caught:
        _supervisor(tmp_path, lambda: []).run()
    assert caught.value.code == "E_SERVE_RUNNING"
