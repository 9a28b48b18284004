"""Keys as bytes: their order is that of the values, each has one, and nothing from outside gets past the parsers."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal as Number
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlplatform.types import parse_type, to_arrow
from serving.packs.keys import MAX_KEY_BYTES, BadKeyError, KeyCodec, may_be_key

UTC = dt.timezone.utc
TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.just("\0"), max_size=12)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "tinyint": st.integers(-(2**7), 2**7 - 1),
    "smallint": st.integers(-(2**15), 2**15 - 1),
    "int": st.integers(-(2**31), 2**31 - 1),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.booleans(),
    "string": TEXTS,
    "binary": st.binary(max_size=12) | st.lists(st.sampled_from([b"\0", b"\xff", b"\1"])).map(b"".join),
    "date": st.dates(),
    "timestamp": st.datetimes(timezones=st.just(UTC)),
    "timestamp_ntz": st.datetimes(),
    "decimal(9,2)": st.integers(-(10**9) + 1, 10**9 - 1).map(lambda cents: Number(cents).scaleb(-2)),
    "decimal(38,0)": st.integers(-(10**28) + 1, 10**28 - 1).map(Number),
}


@st.composite
def two_keys(draw: st.DrawFn) -> tuple[KeyCodec, tuple[Any, ...], tuple[Any, ...]]:
    kinds = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=3))
    codec = KeyCodec.of((f"c{number}", parse_type(kind)) for number, kind in enumerate(kinds))
    return codec, *(tuple(draw(VALUES[kind]) for kind in kinds) for _ in range(2))


def comparable(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.encode() if isinstance(value, str) else value for value in values)


@settings(deadline=None)
@given(two_keys())
def test_keys_stand_in_the_order_of_their_values(drawn: tuple[KeyCodec, tuple[Any, ...], tuple[Any, ...]]) -> None:
    codec, one, other = drawn
    left, right = codec.encode(one), codec.encode(other)
    assert (left < right) == (comparable(one) < comparable(other))
    assert (left == right) == (one == other)


@settings(deadline=None)
@given(two_keys())
def test_columns_urls_and_json_give_the_same_key(drawn: tuple[KeyCodec, tuple[Any, ...], tuple[Any, ...]]) -> None:
    codec, *keys = drawn
    fields = [pa.field(name, to_arrow(kind)) for name, kind in codec.columns]
    rows = pa.Table.from_pylist([dict(zip(codec.names, key, strict=True)) for key in keys], schema=pa.schema(fields))
    encoded = [codec.encode(key) for key in keys]
    assert codec.encode_columns(rows) == encoded
    assert [codec.parse_segment(codec.segment(key)) for key in keys] == encoded


def test_a_zero_byte_is_no_end() -> None:
    """With an end of one byte these two would be one key."""
    codec = KeyCodec.of([("a", parse_type("binary")), ("b", parse_type("binary"))])
    assert codec.encode([b"a", b"\xff\x00"]) != codec.encode([b"a\x00", b"\xff"])
    assert codec.encode([b"a", b"\xff"]) < codec.encode([b"a\x00", b""])


def test_the_bytes_of_each_type() -> None:
    def key(kind: str, value: Any) -> str:
        return KeyCodec.of([("k", parse_type(kind))]).encode([value]).hex()

    assert key("bigint", 1) == "8000000000000001"
    assert key("bigint", -1) == "7fffffffffffffff"
    assert key("int", -(2**31)) == "00000000"
    assert key("smallint", 2) == "8002"
    assert key("tinyint", 0) == "80"
    assert key("boolean", True) == "01"
    assert key("string", "é\0") == "c3a900ff0001"
    assert key("date", dt.date(1970, 1, 2)) == "80000001"
    assert key("timestamp", dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)) == "80000000000f4240"
    assert key("decimal(5,2)", Number("-0.01")) == "7f" + "ff" * 15


SEGMENTS = [
    ("bigint", "x"), ("bigint", ""), ("bigint", "1.0"), ("bigint", "99999999999999999999"), ("bigint", "１"),
    ("boolean", "1"), ("boolean", "TRUE"), ("date", "2026-02-30"), ("date", "20260101"), ("date", "2026-1-1"),
    ("timestamp", "2026-01-01T00:00:00"), ("timestamp_ntz", "2026-01-01T00:00:00Z"),
    ("timestamp", "2026-01-01T00:00:00.0000001Z"), ("timestamp", "0000-01-01T00:00:00Z"),
    ("decimal(5,2)", "1.001"), ("decimal(5,2)", "1000"), ("decimal(5,2)", "1e2"), ("decimal(5,2)", "NaN"),
    ("binary", "%"), ("binary", "a"), ("string", "%zz"), ("string", "%ff"), ("string", "a,b"), ("string", "x" * 500),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "segment"), SEGMENTS)
def test_what_is_no_key_is_refused(kind: str, segment: str) -> None:
    with pytest.raises(BadKeyError):
        KeyCodec.of([("k", parse_type(kind))]).parse_segment(segment)


def test_times_may_have_any_zone_and_fewer_digits() -> None:
    codec = KeyCodec.of([("t", parse_type("timestamp"))])
    wanted = codec.encode([dt.datetime(2026, 1, 1, 10, 0, 0, 500_000, tzinfo=UTC)])
    for text in ("2026-01-01T10:00:00.5Z", "2026-01-01T11:30:00.500%2B01:30", "2026-01-01T05:00:00.5-05:00"):
        assert codec.parse_segment(text) == wanted


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
)


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=2), ANY | st.lists(ANY, max_size=3))
def test_no_json_breaks_the_parser(kinds: list[str], value: Any) -> None:
    codec = KeyCodec.of((f"c{number}", parse_type(kind)) for number, kind in enumerate(kinds))
    try:
        assert len(codec.parse_json(value)) <= MAX_KEY_BYTES
    except BadKeyError as error:
        assert str(error)


@settings(deadline=None)
@given(st.sampled_from(sorted(VALUES)), st.text(max_size=40) | st.from_regex(r"[0-9TZ:.,%+-]{1,40}"))
def test_no_url_breaks_the_parser(kind: str, segment: str) -> None:
    codec = KeyCodec.of([("k", parse_type(kind))])
    try:
        codec.parse_segment(segment)
    except BadKeyError as error:
        assert segment not in str(error) or len(segment) < 2


def test_numbers_may_be_texts_in_json_and_only_whole() -> None:
    codec = KeyCodec.of([("k", parse_type("bigint"))])
    assert codec.parse_json([7]) == codec.parse_json(["7"]) == codec.encode([7])
    for wrong in ([7.0], [True], [None], [[7]], [], [7, 7], "7", {"k": 7}):
        with pytest.raises(BadKeyError):
            codec.parse_json(wrong)  # type: ignore[arg-type]  # what a client may send


@pytest.mark.parametrize("kind", ["double", "float", "list<int>", "struct<a: int>", "map<int, int>"])
def test_floats_and_nested_values_are_no_keys(kind: str) -> None:
    assert not may_be_key(parse_type(kind))
    with pytest.raises(ValueError, match="cannot be"):
        KeyCodec.of([("k", parse_type(kind))])


def test_null_is_no_key() -> None:
    codec = KeyCodec.of([("k", parse_type("int"))])
    with pytest.raises(ValueError, match="null"):
        codec.encode_columns(pa.table({"k": pa.array([1, None], pa.int32())}))
