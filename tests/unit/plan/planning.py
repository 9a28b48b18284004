"""Checked plans from a few lines, over sources without rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import yaml

from connectors.registry import OptionClasses, connectors
from mlplatform.errors import PlatformError
from mlplatform.plan.build import build_plan
from mlplatform.plan.nodes import CheckedPlan
from mlplatform.scan import RowScan, Stream
from mlplatform.spec.located import Located
from mlplatform.spec.model import SourceSpec
from mlplatform.spec.params import bind_params
from mlplatform.spec.reader import read_spec
from mlplatform.types import Schema, parse_type


def plan_of(
    sources: Mapping[str, Mapping[str, str]],
    steps: Mapping[str, Any],
    outputs: Mapping[str, Any] | None = None,
    **extra: Any,
) -> CheckedPlan:
    """The plan of steps over sources given as column → type; raises what is wrong."""
    plan, errors = built(sources, steps, outputs, **extra)
    assert not errors, "\n".join(error.render() for error in errors)
    return plan


def built(
    sources: Mapping[str, Mapping[str, str]],
    steps: Mapping[str, Any],
    outputs: Mapping[str, Any] | None = None,
    **extra: Any,
) -> tuple[CheckedPlan, list[PlatformError]]:
    """The plan and its errors."""
    document = {"version": 1, "pipeline": "p", **extra}
    document["sources"] = {name: {"dataset": f"raw.{name}"} for name in sources}
    document |= {"steps": dict(steps), "outputs": dict(outputs or {})}
    text = yaml.safe_dump(document, sort_keys=False)
    spec, errors = read_spec(text, "spec.yaml", connectors=OptionClasses(connectors()))
    assert spec is not None
    values = bind_params(spec, {}, env={}, run_id="r", started_at=datetime(2026, 1, 1, tzinfo=timezone.utc))

    def resolve(name: Located, source: SourceSpec) -> Stream:
        schema = Schema.of((column, parse_type(kind)) for column, kind in sources[str(name)].items())
        return Stream(RowScan((), schema), str(source.dataset), str(source.dataset), 0)

    plan, found = build_plan(spec, values, resolve, engine="duckdb")
    return plan, [*errors, *found]
