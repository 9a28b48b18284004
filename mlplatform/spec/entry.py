"""A field of the grammar: what the reader, the JSON Schema and the reference know of a key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, field
from typing import Any


def entry(
    default: Any = MISSING,  # Any: the field's own type
    *,
    doc: str,
    name: str | None = None,
    factory: Callable[[], Any] | None = None,
    pending: bool = False,
    check: str | None = None,
) -> Any:  # Any: dataclasses.field is typed so
    """A field of the grammar.

    Args:
        default: the value when the key is absent; a key without default is required.
        doc: one line, shown by editors and in the reference.
        name: the key's word in YAML where it is not the field's name (`from`).
        factory: makes the default of a mutable kind.
        pending: part of the grammar, but not built yet: its use is E_NOT_SUPPORTED.
        check: a rule that the text must pass (`sql` expression, `name` of a source or step,
            `dataset`, `duration`, `tolerance`, `size`, `type`, `identifier`, `connector`). Texts under `sql` keep their
            `${…}` for the plan.
    """
    metadata = {"doc": doc, "name": name, "pending": pending, "check": check}
    if factory is not None:
        return field(default_factory=factory, metadata=metadata)
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)
