"""Curves as SVG: lines over a shared axis, drawn by hand so that nothing needs installing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from serving.bench.scenarios.base import Curve

_LEFT, _TOP, _WIDTH, _HEIGHT = 70, 30, 560, 260
_COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#805ad5", "#b7791f", "#4a5568")


def merged(curves: Iterable[Curve], chart: str) -> list[Curve]:
    """The curves of a chart, those of one name as one, by x."""
    points: dict[str, list[tuple[float, float]]] = {}
    for curve in curves:
        if curve.chart == chart:
            points.setdefault(curve.name, []).extend(curve.points)
    return [Curve(chart, name, tuple(sorted(found))) for name, found in points.items()]


def chart(curves: Sequence[Curve], *, title: str, x: str, y: str, is_log: bool = False) -> str:
    """Curves as one picture; `is_log` draws y by its logarithm. Points that are no number are left out."""
    kept = [
        Curve(each.chart, each.name, tuple(point for point in each.points if all(map(math.isfinite, point))))
        for each in curves
    ]
    every = [point for each in kept for point in each.points] or [(0.0, 1.0)]
    right = max(at for at, _ in every) or 1.0
    values = [value for _, value in every if not is_log or value > 0] or [1.0]
    low, high = (10 ** math.floor(math.log10(min(values))), max(values)) if is_log else (0.0, max(values) or 1.0)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        at, value = point
        share = math.log(max(value, low) / low) / math.log(high / low or 1) if is_log and high > low else value / high
        return _LEFT + at / right * _WIDTH, _TOP + (1 - min(share, 1.0)) * _HEIGHT

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 110} {_TOP + _HEIGHT + 50}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="18" font-weight="bold">{escape(title)}</text>',
        *_grid(low, high, right, x, y, is_log=is_log),
    ]
    for number, curve in enumerate(kept):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{at:.1f},{value:.1f}" for at, value in map(place, curve.points))
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        lines.append(
            f'<text x="{_LEFT + _WIDTH + 10}" y="{_TOP + 14 + 18 * number}" fill="{colour}">{escape(curve.name)}</text>'
        )
    return "\n".join([*lines, "</svg>"]) + "\n"


def _grid(low: float, high: float, right: float, x: str, y: str, *, is_log: bool) -> list[str]:
    lines = []
    for part in range(5):
        share = part / 4
        value = low * (high / low) ** share if is_log and low > 0 else high * share
        height = _TOP + (1 - share) * _HEIGHT
        at = _LEFT + share * _WIDTH
        lines += [
            f'<line x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{height:.1f}" y2="{height:.1f}" stroke="#e2e8f0"/>',
            f'<text x="{_LEFT - 6}" y="{height + 4:.1f}" font-size="10" text-anchor="end">{value:,.3g}</text>',
            f'<text x="{at:.1f}" y="{_TOP + _HEIGHT + 16}" font-size="10" text-anchor="middle">'
            f"{right * share:,.3g}</text>",
        ]
    middle = _LEFT + _WIDTH / 2
    lines.append(f'<text x="{middle:.0f}" y="{_TOP + _HEIGHT + 36}" text-anchor="middle">{escape(x)}</text>')
    turned = f'transform="rotate(-90 14 {_TOP + _HEIGHT / 2:.0f})"'
    lines.append(f'<text x="14" y="{_TOP + _HEIGHT / 2:.0f}" text-anchor="middle" {turned}>{escape(y)}</text>')
    return lines
