"""Where Beam must not run two stages as one: each would wait for rows that the other broadcasts.

Beam runs a stage together with the one whose rows it maps. It looks no further than at the two, so that a job where
`a` is broadcast to a map of `b`, and `b` to a map of `a`, is left with two stages that wait for each other for ever.
"""

from __future__ import annotations

from mlplatform.engines.beam.stages import Broadcast, Compute, Flatten, Forward, Input, Job, Read, Stage, reads


def torn(job: Job) -> frozenset[str]:
    """Stages whose mapped rows have to be shuffled first, so that Beam runs them on their own."""
    together: dict[str, str] = {}  # stage → the first stage of those that run as one
    before: dict[str, set[str]] = {}  # first stage → those that have to end before it begins
    found = set()
    for stage in job.stages.values():
        waits = {together[name] for name in reads(stage)}
        mapped = _mapped(stage)
        if mapped is None:
            together[stage.name], before[stage.name] = stage.name, waits
            continue
        group = together[mapped]
        sides = {together[item.stage] for item in _broadcasts(stage)}
        if group in sides:  # Beam sees this by itself
            together[stage.name], before[stage.name] = stage.name, waits
        elif any(_comes_before(group, side, before) for side in sides):
            found.add(stage.name)
            together[stage.name], before[stage.name] = stage.name, waits
        else:
            together[stage.name] = group
            before[group] |= sides
    return frozenset(found)


def _mapped(stage: Stage) -> str | None:
    """The stage whose rows this one maps where they are."""
    match stage:
        case Compute():
            return next((item.stage for item in stage.inputs if isinstance(item.exchange, Forward)), None)
        case Read() | Flatten():
            return None
    return stage.stage


def _broadcasts(stage: Stage) -> list[Input]:
    inputs = stage.inputs if isinstance(stage, Compute) else ()
    return [item for item in inputs if isinstance(item.exchange, Broadcast)]


def _comes_before(one: str, other: str, before: dict[str, set[str]]) -> bool:
    """Whether `other` waits for `one`, by however many steps."""
    seen: set[str] = set()
    stack = [other]
    while stack:
        name = stack.pop()
        if name == one:
            return True
        if name not in seen:
            seen.add(name)
            stack += before[name]
    return False
