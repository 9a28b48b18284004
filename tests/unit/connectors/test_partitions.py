"""Keys in folder names."""

from __future__ import annotations

import pytest

from connectors.partitions import check_values, partition_of, same_keys
from mlplatform.errors import PlanError, SourceError
from mlplatform.types import DATE, INT, TIMESTAMP


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/d/a.csv", ()),
        ("/d/k=1/a.csv", (("k", "1"),)),
        ("/d/k=1/x/l=2/a.csv", (("k", "1"), ("l", "2"))),
        ("/d/k=a%3Ab%2Fc/a.csv", (("k", "a:b/c"),)),
        ("/d/k=a=b/a.csv", (("k", "a=b"),)),
        ("/d/k=/a.csv", (("k", ""),)),
        ("/d/k=__HIVE_DEFAULT_PARTITION__/a.csv", (("k", None),)),
        ("/d/k=1/unit=ms.csv", (("k", "1"),)),
        ("/d/=1/a.csv", ()),
    ],
)
def test_partition_of(uri: str, expected: tuple[tuple[str, str | None], ...]) -> None:
    assert partition_of(uri, "/d") == expected


def test_same_keys() -> None:
    one, other = (("k", "1"), ("l", "2")), (("k", "3"), ("l", None))
    assert same_keys(["/a", "/b"], [one, other], at=None) == ("k", "l")
    assert same_keys([], [], at=None) == ()
    with pytest.raises(SourceError) as caught:
        same_keys(["/a", "/b"], [one, (("k", "1"),)], at=None)
    assert (caught.value.code, caught.value.notes) == ("E_PARTITION", ("keys: k and k, l",))
    with pytest.raises(SourceError):
        same_keys(["/a"], [(("k", "1"), ("K", "2"))], at=None)


def test_values_must_fit_their_type() -> None:
    pairs = [(("k", "01"), ("d", "2013-01-01")), (("k", None), ("d", "x"))]
    check_values(["/a", "/b"], pairs, {"k": INT}, at=None)
    check_values(["/a"], [(("t", "2013-01-01 00:00:00+02"),)], {"t": TIMESTAMP}, at=None)
    with pytest.raises(PlanError) as caught:
        check_values(["/a", "/b"], pairs, {"k": INT, "d": DATE}, at=None)
    assert caught.value.message == '/b: partition key "d" is no date there'
