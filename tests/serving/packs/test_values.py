"""Values as JSON and msgpack: one text for each type, and the reference writes the same by another way."""

from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal as Number
from typing import Any

import msgspec
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlplatform.types import Schema, from_arrow
from serving.packs.reference import plain_rows, reference_text
from serving.packs.values import encode_rows

INF = float("inf")
UTC = dt.timezone.utc
MOMENT = dt.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
CASES: list[tuple[pa.DataType, Any, str]] = [
    (pa.bool_(), True, "true"),
    (pa.int8(), -128, "-128"),
    (pa.int32(), 5, "5"),
    (pa.int64(), 2**63 - 1, "9223372036854775807"),
    (pa.float64(), 0.1, "0.1"),
    (pa.float64(), -0.0, "-0.0"),
    (pa.float64(), 1.0, "1.0"),
    (pa.float64(), 5e-324, "5e-324"),
    (pa.float64(), math.nan, '"NaN"'),
    (pa.float64(), INF, '"Infinity"'),
    (pa.float64(), -INF, '"-Infinity"'),
    (pa.float32(), 0.1, "0.1"),
    (pa.float32(), math.nan, '"NaN"'),
    (pa.float32(), 3.4028234663852886e38, orjson.dumps(3.4028235e38).decode()),
    (pa.string(), 'a"\\\n\0é\u2028😀', '"a\\"\\\\\\n\\u0000é\u2028😀"'),
    (pa.binary(), b"\0\xff", '"AP8="'),
    (pa.binary(), b"", '""'),
    (pa.decimal128(38, 20), Number("0E-20"), '"0.00000000000000000000"'),
    (pa.decimal128(10, 2), Number("-12.50"), '"-12.50"'),
    (pa.decimal128(20, 0), Number(18446744073709551615), '"18446744073709551615"'),
    (pa.date32(), dt.date(1, 1, 1), '"0001-01-01"'),
    (pa.timestamp("us", "UTC"), MOMENT, '"2026-01-02T03:04:05.000678Z"'),
    (pa.timestamp("us", "UTC"), dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
     '"1969-12-31T23:59:59.999999Z"'),
    (pa.timestamp("us"), MOMENT.replace(tzinfo=None), '"2026-01-02T03:04:05.000678"'),
    (pa.timestamp("ms", "UTC"), MOMENT.replace(microsecond=7000), '"2026-01-02T03:04:05.007Z"'),
    (pa.timestamp("s"), MOMENT.replace(microsecond=0, tzinfo=None), '"2026-01-02T03:04:05"'),
    (pa.list_(pa.float64()), [1.5, None, math.nan], '[1.5,null,"NaN"]'),
    (pa.list_(pa.list_(pa.int64())), [[1], [], None], "[[1],[],null]"),
    (pa.struct([("a", pa.int64()), ("b", pa.binary())]), {"a": 1, "b": b"\1"}, '{"a":1,"b":"AQ=="}'),
    (pa.struct([("a", pa.int64())]), {"a": None}, '{"a":null}'),
    (pa.map_(pa.string(), pa.float64()), [("k", math.nan), ("l", None)], '[["k","NaN"],["l",null]]'),
    (pa.map_(pa.int64(), pa.date32()), [], "[]"),
    (pa.null(), None, "null"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "text"), CASES, ids=lambda part: str(part)[:24])
def test_json_of_each_type(kind: pa.DataType, value: Any, text: str) -> None:
    rows = pa.table({"v": pa.array([None, value, None, value], kind)})
    empty, one = b'{"v":null}', f'{{"v":{text}}}'.encode()
    assert encode_rows(rows) == [empty, one, empty, one]
    assert encode_rows(rows.slice(1, 2)) == [one, empty]
    assert encode_rows(rows.slice(3)) == [one]
    assert json.loads(one) is not None


MSGPACK = [
    (pa.binary(), b"\0\xff", b"\0\xff"),
    (pa.float64(), INF, INF),
    (pa.float32(), 0.1, 0.1),
    (pa.float64(), -INF, -INF),
    (pa.int64(), -(2**63), -(2**63)),
    (pa.decimal128(10, 2), Number("1.50"), "1.50"),
    (pa.timestamp("us", "UTC"), MOMENT, "2026-01-02T03:04:05.000678Z"),
    (pa.map_(pa.string(), pa.binary()), [("k", b"\1")], [["k", b"\1"]]),
    (pa.struct([("a", pa.list_(pa.binary()))]), {"a": [b"x", None]}, {"a": [b"x", None]}),
]


@pytest.mark.parametrize(("kind", "value", "wanted"), MSGPACK, ids=lambda part: str(part)[:24])
def test_msgpack_keeps_binaries_and_floats(kind: pa.DataType, value: Any, wanted: Any) -> None:
    (text,) = encode_rows(pa.table({"v": pa.array([value], kind)}), "msgpack")
    assert msgspec.msgpack.decode(text) == {"v": wanted}


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_every_nan_is_one_in_msgpack(kind: pa.DataType) -> None:
    negative = pa.array([-math.nan, math.nan], kind)
    one, other = encode_rows(pa.table({"v": negative}), "msgpack")
    assert one == other == b"\x81\xa1v\xcb\x7f\xf8\0\0\0\0\0\0"


def test_64_bit_numbers_as_texts_also_inside() -> None:
    kind = pa.struct([("a", pa.list_(pa.int64())), ("b", pa.int32())])
    rows = pa.table({"v": pa.array([{"a": [2**60, None], "b": 1}], kind), "w": pa.array([7], pa.int64())})
    assert encode_rows(rows, int64_as_text=True) == [b'{"v":{"a":["1152921504606846976",null],"b":1},"w":"7"}']


def test_rows_without_columns_and_tables_without_rows() -> None:
    assert encode_rows(pa.table({"a": pa.array([], pa.list_(pa.int8()))})) == []


def kinds() -> st.SearchStrategy[pa.DataType]:
    simple = st.sampled_from([
        pa.bool_(), pa.int8(), pa.int64(), pa.float32(), pa.float64(), pa.string(), pa.binary(), pa.date32(),
        pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.decimal128(20, 3),
    ])  # fmt: skip
    return st.recursive(
        simple,
        lambda inner: (
            st.builds(pa.list_, inner)
            | st.builds(lambda one, other: pa.struct([("x", one), ('ÿ"', other)]), inner, inner)
            | st.builds(lambda item: pa.map_(pa.string(), item), inner)
        ),
        max_leaves=3,
    )


def values(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_map(kind):
        made = st.lists(st.tuples(st.text(max_size=2), values(kind.item_type)), max_size=3)
    elif pa.types.is_list(kind):
        made = st.lists(values(kind.value_type), max_size=3)
    elif pa.types.is_struct(kind):
        made = st.fixed_dictionaries({part.name: values(part.type) for part in kind})
    else:
        made = {
            pa.bool_(): st.booleans(), pa.int8(): st.integers(-128, 127), pa.int64(): st.integers(-(2**63), 2**63 - 1),
            pa.float32(): st.floats(width=32), pa.float64(): st.floats(), pa.binary(): st.binary(max_size=5),
            pa.string(): st.text(st.characters(exclude_categories=["Cs"]), max_size=5), pa.date32(): st.dates(),
            pa.timestamp("us", "UTC"): st.datetimes(timezones=st.just(UTC)), pa.timestamp("us"): st.datetimes(),
            pa.decimal128(20, 3): st.integers(-(10**19), 10**19).map(lambda number: Number(number).scaleb(-3)),
        }[kind]  # fmt: skip
    return st.none() | made


@settings(deadline=None)
@given(st.data())
def test_the_reference_writes_the_same(data: st.DataObject) -> None:
    """Two ways that share no code for a value: vectors of Arrow here, Python's own values there."""
    kind = data.draw(kinds())
    rows = pa.table({"v": pa.array(data.draw(st.lists(values(kind), min_size=1, max_size=6)), kind)})
    schema = Schema.of({"v": from_arrow(kind)})
    for row_format in ("json", "msgpack"):
        expected = [reference_text(row, schema, row_format) for row in plain_rows(rows)]
        assert encode_rows(rows, row_format) == expected
        assert encode_rows(rows.slice(1), row_format) == expected[1:]
