"""What a server is told, what it refuses, and what it takes over while it runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mlplatform.errors import UsageError
from serving.server.config import ServeConfig, check_exposure, read_config, reloaded, serve_config, write_config

PLACES = {
    "root": "/w",
    "data_dir": ".mlp/serving",
    "store": "packs",
    "warehouse": "/w/warehouse",
    "catalog": "sqlite://",
}


def test_variables_go_over_the_file_and_options_over_both() -> None:
    document = {"port": "1", "workers": "2", "query_memory_bytes": "2GiB", "tls": {"cert": "c", "key": "k"}}
    env = {"MLP_SERVING_PORT": "2", "MLP_SERVING_BEHIND_PROXY": "true", "MLP_SERVING_L3_URL": ""}
    found = serve_config(document, env, PLACES, {"control_port": 3})
    assert (found.port, found.workers, found.control_port) == (2, 2, 3)
    assert (found.query_memory_bytes, found.tls_cert, found.behind_proxy, found.l3_url) == (2**31, "c", True, None)
    assert (found.data_dir, found.store) == (Path("/w/.mlp/serving"), "/w/packs")


@pytest.mark.parametrize(
    "document",
    [
        {"prot": 1},
        {"port": "x"},
        {"port": 70000},
        {"workers": 0},
        {"query_workers": -1},
        {"behind_proxy": "perhaps"},
        {"tls": {"cert": "c"}},
        {"trusted_proxies": ["proxy.example"]},
        {"sync_s": 0},
        {"shadow_rate": 2},
        {"query_memory_bytes": "many"},
    ],
)
def test_what_cannot_run_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(UsageError) as caught:
        serve_config(document, {}, PLACES, {})
    assert caught.value.code == "E_WORKSPACE"


def test_other_machines_need_tokens_and_encryption(tmp_path: Path) -> None:
    config = ServeConfig(data_dir=tmp_path, store="s", host="0.0.0.0")
    for open_to, has_tokens in ((config, False), (replace(config, behind_proxy=True), False), (config, True)):
        with pytest.raises(UsageError) as caught:
            check_exposure(open_to, has_tokens)
        assert caught.value.code == "E_SERVE_EXPOSED"
    check_exposure(replace(config, behind_proxy=True), True)
    check_exposure(replace(config, tls_cert="c", tls_key="k"), True)
    check_exposure(replace(config, host="::1"), False)
    for name in ("host", "control_host"):
        open_to = ServeConfig(data_dir=tmp_path, store="s", **{name: "10.0.0.7"})  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=r"10\.0\.0\.7"):
            check_exposure(open_to, True)
        check_exposure(replace(open_to, behind_proxy=True), True)


def test_a_reload_takes_what_may_change_and_names_the_rest(tmp_path: Path) -> None:
    running = ServeConfig(data_dir=tmp_path, store="s", port=1, workers=2, query_workers=1)
    config, refused = reloaded(running, replace(running, port=2, workers=3, max_staleness_s=5.0))
    assert config == replace(running, max_staleness_s=5.0)
    assert refused == ("port", "workers")


def test_children_read_what_was_written(tmp_path: Path) -> None:
    config = ServeConfig(data_dir=tmp_path, store="s", trusted_proxies=("10.0.0.1",))
    write_config(config)
    assert read_config(tmp_path) == config
