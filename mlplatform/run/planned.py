"""A plan as people hold it: with its changes, its parameters and the spec that it came from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from typing import Any

from mlplatform.plan.explain import explain, plan_document
from mlplatform.plan.nodes import CheckedPlan
from mlplatform.run.changes import Change
from mlplatform.run.publishing import pack_estimate, serve_lines
from mlplatform.spec.model import Spec
from mlplatform.spec.params import Values


@dataclass(frozen=True, slots=True)
class Plan:
    """A spec, typed and priced: what it reads, what each step gives, what would change. Prints as a tree.

    `choice` says why this engine was chosen where the choice was left to us.
    """

    checked: CheckedPlan
    changes: tuple[Change, ...] = ()
    values: Values | None = None
    spec: Spec | None = None
    run_id: str = ""
    choice: str = ""

    def __str__(self) -> str:
        text = explain(
            self.checked, {change.sink.name: [*change.lines(), *serve_lines(change)] for change in self.changes}
        )
        if self.choice:
            head, _, rest = text.partition("\n")
            text = f"{head}  chosen: {self.choice}\n{rest}"
        return self._redacted(text)

    def _repr_html_(self) -> str:
        return f"<pre style='line-height:1.3'>{escape(str(self))}</pre>"

    def as_dict(self) -> dict[str, Any]:  # Any: JSON
        """The document that `mlp plan --json` prints."""
        document = plan_document(self.checked, {change.sink.name: _as_dict(change) for change in self.changes})
        if self.choice:
            document["engine_choice"] = self.choice
        redacted: dict[str, Any] = json.loads(self._redacted(json.dumps(document, default=str)))  # Any: JSON
        return redacted

    def _redacted(self, text: str) -> str:
        return self.values.redact(text) if self.values is not None else text


def _as_dict(change: Change) -> dict[str, Any]:  # Any: JSON
    document, lines = change.as_dict(), serve_lines(change)
    if not lines:
        return document
    return {**document, "why": [*document["why"], *lines], "serve": pack_estimate(change)}
