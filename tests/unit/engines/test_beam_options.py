"""What `engine: {beam: …}` may say."""

from __future__ import annotations

from typing import Any

import pytest

from mlplatform.engines.beam.options import pipeline_options, read_options
from mlplatform.errors import PlatformError


def test_nothing_said_is_one_machine() -> None:
    options = read_options({})
    assert (options.runner, options.is_local, options.sizes, options.beam) == ("DirectRunner", True, {}, {})
    assert options.split_bytes == 1 << 30


def test_sizes_are_ours_and_the_rest_is_beams() -> None:
    options = read_options({"runner": "FlinkRunner", "bucket_bytes": "8MB", "flink_master": "f:8081"})
    assert (options.runner, options.is_local, options.split_bytes) == ("FlinkRunner", False, 64 << 20)
    assert options.sizes == {"bucket_bytes": 8_000_000}
    assert options.beam == {"flink_master": "f:8081"}


def test_beam_gets_its_options() -> None:
    pytest.importorskip("apache_beam", reason="needs the extra `beam`")
    given = {
        "runner": "DataflowRunner",
        "project": "p",
        "setup_file": "./setup.py",
        "num_workers": 3,
        "labels": ["a=b"],
    }
    found = pipeline_options(read_options(given)).get_all_options()
    assert {name: found[name] for name in given} == given
    local = pipeline_options(read_options({"runner": "PrismRunner"})).get_all_options()
    assert local["environment_type"] == "LOOPBACK"


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        ({"runner": "DirctRunner"}, "E_VALUE", 'did you mean "DirectRunner"'),
        ({"num_wrokers": 2}, "E_KEY_UNKNOWN", 'did you mean "num_workers"'),
        ({"bucket_byte": 2}, "E_KEY_UNKNOWN", 'did you mean "bucket_bytes"'),
        ({"runner": "DataflowRunner", "project": "p"}, "E_USAGE", "sdk_container_image"),
        ({"split_bytes": "many"}, "E_SIZE", "many"),
        ({"num_workers": "two"}, "E_VALUE", "num_workers"),
    ],
)
def test_wrong_options_are_refused(given: dict[str, Any], code: str, says: str) -> None:
    pytest.importorskip("apache_beam", reason="needs the extra `beam`")
    with pytest.raises(PlatformError) as raised:
        pipeline_options(read_options(given))
    assert raised.value.code == code
    assert says in raised.value.render()
