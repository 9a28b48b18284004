"""What happens in a minute: changes of speed on an integer grid, events that follow from them, faults beside them.

Speed is counted in steps of 2^-12 m/s at 50 samples a second, so that every sample, every difference of two samples
and thereby every truth is exact. A minute begins and ends at the drive's own speed: minutes need no memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

STEP_MPS = 2.0**-12
RATE_HZ = 50
PERIOD_US = 20_000
PHASE_US = 3_000  # of the first sample of speed in a minute
SAMPLES = 60 * RATE_HZ

BRAKE_MPS2 = 3.0
MIN_BRAKE_SAMPLES = 15  # 300 ms
STANDING_STEPS = 2048  # 0.5 m/s

# Steps for each sample: 245.76 are 3 m/s².
_HARD, _NEAR, _FIRM, _SOFT, _RECOVER = 246, 245, 300, 163, 82


@dataclass(frozen=True, slots=True)
class Ramp:
    """A change of speed by `slope` steps for each of `length` samples, from sample `start` on."""

    start: int
    slope: int
    length: int

    @property
    def stop(self) -> int:
        """First sample after it."""
        return self.start + self.length


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it can be mined from the samples of speed, in samples of its minute.

    Attributes:
        kind: `hard_brake` and `stop` are events, other kinds are near misses.
        start: first sample at which the condition holds.
        stop: first sample at which it does not; None when the signal ends inside, after sample `last`.
        last: last sample of an event that the signal's end cuts off.
        slope: deceleration in steps for each sample.
        n_samples: samples for which the condition holds or is taken to hold.
        n_null: those of them for which it is unknown.
    """

    kind: str
    start: int
    stop: int | None
    slope: int
    n_samples: int
    n_null: int = 0
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of one stream, or of all (`*`), in samples [start, stop) of its minute."""

    stream: str
    kind: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Scene:
    """A minute: its name, the changes of speed, what is true of it.

    `cut` is the sample at which the car beside begins to change the lane, and how far it goes, in metres.
    """

    name: str
    ramps: tuple[Ramp, ...] = ()
    events: tuple[Event, ...] = ()
    faults: tuple[Fault, ...] = ()
    cut: tuple[int, float] | None = None


def scene_of(motion: int, minute: int, speed: int, draw: int) -> Scene:
    """The scene of a minute.

    Args:
        motion: number of the drive whose motion it is.
        minute: number of the minute; scenes take turns over drives and minutes, so a small fleet has all of them.
        speed: the drive's own speed in steps.
        draw: a random whole number, which places the scene in its minute.
    """
    return SCENES[(2 * motion + minute) % len(SCENES)](speed, 500 + draw % 700)


# --- speed ------------------------------------------------------------------------------------------------------------


def _change(start: int, total: int, slope: int) -> tuple[Ramp, ...]:
    """Ramps that change the speed by exactly `total`, in the direction of `slope`."""
    whole, rest = divmod(abs(total), abs(slope))
    sign = 1 if slope > 0 else -1
    tail = (Ramp(start + whole, sign * rest, 1),) if rest else ()
    return (Ramp(start, slope, whole), *tail)


def _brake(start: int, slope: int, length: int) -> tuple[Ramp, ...]:
    """A brake, a second at the lower speed, and back."""
    return (Ramp(start, -slope, length), *_change(start + length + RATE_HZ, slope * length, _RECOVER))


def _braked(start: int, slope: int, length: int, **more: int) -> Event:
    """The event of a brake: where the difference of the samples on both sides is the whole slope."""
    return Event("hard_brake", start + 1, start + length, slope, length - 1, **more)


# --- scenes -----------------------------------------------------------------------------------------------------------


def _cruise(speed: int, at: int) -> Scene:  # noqa: ARG001  (a scene's signature)
    return Scene("cruise")


def _hard_brake(speed: int, at: int) -> Scene:  # noqa: ARG001
    return Scene("just_hard", _brake(at, _HARD, 60), (_braked(at, _HARD, 60),))


def _near_brake(speed: int, at: int) -> Scene:  # noqa: ARG001
    return Scene("just_not_hard", _brake(at, _NEAR, 60), (Event("near_brake", at + 1, at + 60, _NEAR, 59),))


def _firm_brake(speed: int, at: int) -> Scene:  # noqa: ARG001
    return Scene("firm", _brake(at, 400, 50), (_braked(at, 400, 50),))


def _just_long(speed: int, at: int) -> Scene:  # noqa: ARG001
    length = MIN_BRAKE_SAMPLES + 1
    return Scene("just_long", _brake(at, _FIRM, length), (_braked(at, _FIRM, length),))


def _just_short(speed: int, at: int) -> Scene:  # noqa: ARG001
    stop = at + MIN_BRAKE_SAMPLES
    return Scene(
        "just_short", _brake(at, _FIRM, stop - at), (Event("short_brake", at + 1, stop, _FIRM, stop - at - 1),)
    )


def _pumped(speed: int, at: int) -> Scene:  # noqa: ARG001
    """Two brakes with 100 ms between: one event for who bridges 120 ms, from the first to the end of the second."""
    second = at + 30 + 5
    ramps = (Ramp(at, -_FIRM, 30), *_brake(second, _FIRM, 30), *_change(second + 900, _FIRM * 30, _RECOVER))
    return Scene("pumped", ramps, (Event("hard_brake", at + 1, second + 30, _FIRM, second + 29 - at),))


def _twice(speed: int, at: int) -> Scene:  # noqa: ARG001
    """Two brakes three seconds apart: two events, whose clips overlap."""
    second = at + 30 + 150
    ramps = (Ramp(at, -_FIRM, 30), *_brake(second, _FIRM, 30), *_change(second + 900, _FIRM * 30, _RECOVER))
    return Scene("twice", ramps, (_braked(at, _FIRM, 30), _braked(second, _FIRM, 30)))


def _missing_value(kind: str) -> Callable[[int, int], Scene]:
    def scene(speed: int, at: int) -> Scene:  # noqa: ARG001
        """One sample without a value: the differences beside it are unknown, and the event goes on."""
        return Scene(
            f"{kind}_sample", _brake(at, _FIRM, 60), (_braked(at, _FIRM, 60, n_null=2),),
            (Fault("can_speed", kind, at + 30, at + 31),),
        )  # fmt: skip

    return scene


def _duplicates(speed: int, at: int) -> Scene:  # noqa: ARG001
    """Some times stand twice: first with a wrong value, and with a higher `seq` the right one."""
    return Scene(
        "duplicates", _brake(at, _FIRM, 60), (_braked(at, _FIRM, 60),),
        (Fault("can_speed", "duplicate", at + 20, at + 40),),
    )  # fmt: skip


def _outage(speed: int, at: int) -> Scene:  # noqa: ARG001
    """The signal stops for three seconds inside a brake: what is left of it ends with the last sample."""
    event = Event("hard_brake", at + 1, None, _FIRM, 29, n_null=1, last=at + 29)
    return Scene("outage", _brake(at, _FIRM, 60), (event,), (Fault("can_speed", "outage", at + 30, at + 180),))


def _gap(speed: int, at: int) -> Scene:  # noqa: ARG001
    """No sensor says anything for twenty seconds, longer than any tolerance."""
    return Scene("gap", faults=(Fault("*", "gap", at, at + 20 * RATE_HZ),))


def _stop(speed: int, at: int) -> Scene:
    at -= 200
    down = _change(at, speed, -_SOFT)
    start_again = down[-1].stop + 5 * RATE_HZ
    first = at + (speed - STANDING_STEPS) // _SOFT + 1
    stop = start_again - (-STANDING_STEPS // _RECOVER)
    event = Event("stop", first, stop, 0, stop - first)
    return Scene("stop", (*down, *_change(start_again, speed, _RECOVER)), (event,))


def _cut_in(name: str, kind: str, metres: float) -> Callable[[int, int], Scene]:
    def scene(speed: int, at: int) -> Scene:  # noqa: ARG001
        """The car beside changes into the lane, at 1.75 m/s: inside half a lane (1.75 m) 1.1 s after it began."""
        at -= at % 5  # its track has ten samples a second
        first = at + 55
        return Scene(name, events=(Event(kind, first, first + 5, 0, 1),), cut=(at, metres))

    return scene


SCENES: tuple[Callable[[int, int], Scene], ...] = (
    _hard_brake,
    _near_brake,
    _outage,
    _firm_brake,
    _just_long,
    _just_short,
    _pumped,
    _twice,
    _missing_value("null"),
    _missing_value("nan"),
    _duplicates,
    _gap,
    _stop,
    _cruise,
    _cut_in("cut_in", "cut_in", 3.5),
    _cut_in("near_cut_in", "near_cut_in", 1.7),
)
