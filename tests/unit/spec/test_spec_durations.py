from __future__ import annotations

import pytest

from mlplatform.errors import PlatformError, Span
from mlplatform.spec.durations import parse_duration, parse_size, to_ticks


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0s", 0), ("1ns", 1), ("1us", 10**3), ("1ms", 10**6), ("1s", 10**9), ("1m", 60 * 10**9), ("1min", 60 * 10**9),
        ("1h", 3600 * 10**9), ("1d", 86400 * 10**9), ("1.5s", 1_500_000_000), ("0.1ms", 100_000), (".5us", 500),
        ("+2s", 2 * 10**9), (" 10 min ", 600 * 10**9), ("0.000000001s", 1), ("106751d", 106751 * 86400 * 10**9),
    ],
)  # fmt: skip
def test_durations(text: str, ns: int) -> None:
    assert parse_duration(text).ns == ns


@pytest.mark.parametrize(
    "text",
    ["5", "", "s", "-1s", "-0s", "1.5ns", "1e3s", "1 hour", "1H", "1h30m", "1_0s", "nan s", "∞", "106752d", "1,5s"],
)
def test_wrong_durations(text: str) -> None:
    with pytest.raises(PlatformError) as caught:
        parse_duration(text, at=Span("x", 3, 4))
    assert caught.value.code == "E_DURATION"
    assert caught.value.at == Span("x", 3, 4)


def test_ticks_are_never_rounded() -> None:
    assert to_ticks(parse_duration("1.5ms"), 1000) == 1500
    assert to_ticks(parse_duration("7ns"), 1) == 7
    with pytest.raises(PlatformError, match="not a whole number of us"):
        to_ticks(parse_duration("1500ns"), 1000)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0B", 0), ("1KiB", 1024), ("256MiB", 256 << 20), ("1.5GiB", 3 << 29), ("2KB", 2000), ("3MB", 3 * 10**6),
     ("1GB", 10**9), ("4 GiB", 4 << 30)],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["256", "1kb", "-1MB", "0.5B", "MB", "", "1 M"])
def test_wrong_sizes(text: str) -> None:
    with pytest.raises(PlatformError) as caught:
        parse_size(text)
    assert caught.value.code == "E_SIZE"
