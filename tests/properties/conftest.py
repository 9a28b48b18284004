"""What the property tests share."""

from __future__ import annotations

import pytest

from tests.properties.pipelines import Pipelines


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Pipelines:
    """Makes pipelines in a folder of the test module."""
    return Pipelines(tmp_path_factory.mktemp("pipelines"))
