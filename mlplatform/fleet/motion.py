"""Where a vehicle is, in closed form: on a round road, as far along as its speed has brought it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlplatform.fleet.design import Drive, Fleet
from mlplatform.fleet.numbers import Floats, Ints, raw
from mlplatform.fleet.scenes import PERIOD_US, PHASE_US, RATE_HZ, SAMPLES, STEP_MPS, Ramp, Scene, scene_of

_DESIGN = 0  # stream number of what is drawn once for a drive or a minute
_SLOWEST, _SPREAD = 61_440, 40_960  # 15 m/s to 25 m/s, in steps
_RADII_M = (200.0, 300.0, 450.0, 600.0)


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute of a drive: what happens, and what it starts from."""

    drive: Drive
    number: int
    speed: int
    scene: Scene
    distance_m: float

    @property
    def radius_m(self) -> float:
        """Radius of the road."""
        return _RADII_M[self.drive.road % len(_RADII_M)]


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a vehicle is in the world, and where it looks: east is 0, against the clock, in (-π, π]."""

    x_m: Floats
    y_m: Floats
    yaw_rad: Floats


def minutes_of(fleet: Fleet, drive: Drive) -> list[Minute]:
    """The minutes of a drive in their order."""
    speed = _SLOWEST + int(raw(fleet.seed, drive.motion, _DESIGN, 0, 1)[0] % _SPREAD)
    made = list[Minute]()
    distance_m = 0.0
    for number in range(fleet.minutes):
        draw = int(raw(fleet.seed, drive.motion, _DESIGN, number + 1, 1)[0])
        scene = scene_of(drive.motion, number, speed, draw)
        made.append(Minute(drive, number, speed, scene, distance_m))
        distance_m += float(_steps_gone(made[-1], np.array([float(SAMPLES)]))[0]) * STEP_MPS / RATE_HZ
    return made


def samples_at(ticks_us: Ints) -> Floats:
    """Ticks of a minute as samples of its speed, fractions included."""
    return (ticks_us - PHASE_US) / float(PERIOD_US)


def speed_mps(minute: Minute, at: Floats) -> Floats:
    """Speed at samples of a minute; exact at whole ones."""
    steps = np.full(at.shape, float(minute.speed))
    for ramp in minute.scene.ramps:
        steps += ramp.slope * np.clip(at - ramp.start, 0, ramp.length)
    return steps * STEP_MPS


def acceleration_mps2(minute: Minute, at: Floats) -> Floats:
    """Acceleration at samples of a minute."""
    steps = np.zeros(at.shape)
    for ramp in minute.scene.ramps:
        steps += ramp.slope * ((at >= ramp.start) & (at < ramp.stop))
    return steps * (STEP_MPS * RATE_HZ)


def pose(minute: Minute, at: Floats) -> Pose:
    """Pose at samples of a minute, to nine decimals: the last bits of a sine are the machine's own."""
    distance_m = minute.distance_m + _steps_gone(minute, at) * (STEP_MPS / RATE_HZ)
    angle = distance_m / minute.radius_m
    yaw = angle - 2 * np.pi * np.ceil(angle / (2 * np.pi) - 0.5)
    x_m = minute.radius_m * np.sin(angle)
    y_m = minute.radius_m * (1 - np.cos(angle))
    return Pose(np.round(x_m, 9), np.round(y_m, 9), np.round(yaw, 9))


def _steps_gone(minute: Minute, at: Floats) -> Floats:
    """Integral of the speed from sample 0 on, in steps times samples."""
    gone = minute.speed * at
    for ramp in minute.scene.ramps:
        gone += _ramp_gone(ramp, at)
    return gone


def _ramp_gone(ramp: Ramp, at: Floats) -> Floats:
    inside: Floats = np.clip(at - ramp.start, 0, ramp.length)
    after: Floats = np.maximum(at - ramp.stop, 0)
    return ramp.slope * (inside * inside / 2 + ramp.length * after)
