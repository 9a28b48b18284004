"""The schema contract: each event under each policy."""

from __future__ import annotations

import pytest

from mlplatform.errors import PlanError
from mlplatform.tables.evolve import Target, reconcile
from mlplatform.types import Column, Schema, parse_type

POLICIES = ("fail", "append_new_columns", "sync_all_columns", "ignore")


def schema(**types: str) -> Schema:
    return Schema.of([(name, parse_type(text)) for name, text in types.items()])


def target(current: Schema | None, incoming: Schema, policy: str, **more: object) -> Target:
    return reconcile(current, incoming, policy, dataset="a.b", at=None, **more)  # type: ignore[arg-type]  # texts


def outcome(current: Schema, incoming: Schema, policy: str, **more: object) -> str:
    """The schema after the write, or the differences that stopped it."""
    try:
        return str(target(current, incoming, policy, **more).schema)
    except PlanError as error:
        assert error.code == "E_SCHEMA_CHANGE"
        assert error.hint
        return "; ".join(error.notes)


def test_a_first_write_takes_the_rows_as_they_are() -> None:
    made = target(None, schema(a="int", b="string"), "fail")
    assert str(made.schema) == "a int, b string"
    assert [(p.name, p.source, p.cast) for p in made.projection] == [("a", "a", False), ("b", "b", False)]
    assert not made.is_changed


def test_order_and_case_are_no_change() -> None:
    made = target(schema(Id="int", Name="string"), schema(name="string", ID="int"), "fail")
    assert str(made.schema) == "Id int, Name string"
    assert [(p.name, p.source, p.cast) for p in made.projection] == [("Id", "ID", False), ("Name", "name", False)]
    assert not made.is_changed


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("fail", 'new column "b" string'),
        ("append_new_columns", "a int, b string"),
        ("sync_all_columns", "a int, b string"),
        ("ignore", "a int"),
    ],
)
def test_a_new_column(policy: str, expected: str) -> None:
    assert outcome(schema(a="int"), schema(a="int", b="string"), policy) == expected


def test_a_new_column_is_nullable_and_listed() -> None:
    incoming = Schema((Column("a", parse_type("int")), Column("b", parse_type("string"), nullable=False)))
    made = target(schema(a="int"), incoming, "append_new_columns")
    assert made.schema["b"].nullable
    assert made.added == ("b",)
    assert target(schema(a="int"), incoming, "ignore").ignored == ("b",)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_missing_nullable_column_is_null_or_dropped(policy: str, mode: str) -> None:
    made = target(schema(a="int", b="string"), schema(a="int"), policy, mode=mode)
    if policy == "sync_all_columns" and mode == "overwrite":
        assert (str(made.schema), made.dropped, made.missing) == ("a int", ("b",), ())
    else:
        assert (str(made.schema), made.dropped, made.missing) == ("a int, b string", (), ("b",))
        assert made.projection[1].source is None


@pytest.mark.parametrize(
    ("now", "policy", "mode", "way"),
    [
        ("bigint", "fail", "append", "or write `mode: overwrite` and `on_schema_change: append_new_columns`"),
        ("bigint", "append_new_columns", "append", "or write `mode: overwrite` and"),
        ("bigint", "fail", "overwrite", "write `on_schema_change: append_new_columns`, or change"),
        ("string", "fail", "overwrite", "cast the column to the table's type, or give it another name"),
        ("string", "sync_all_columns", "append", "cast the column to the table's type, or give it another name"),
    ],
)
def test_the_hint_is_a_way_out(now: str, policy: str, mode: str, way: str) -> None:
    with pytest.raises(PlanError) as raised:
        target(schema(a="int"), schema(a=now), policy, mode=mode)
    assert raised.value.hint is not None
    assert way in raised.value.hint


@pytest.mark.parametrize("policy", POLICIES)
def test_a_missing_not_null_column_stops(policy: str) -> None:
    current = Schema((Column("a", parse_type("int")), Column("b", parse_type("string"), nullable=False)))
    assert outcome(current, schema(a="int"), policy) == 'column "b", which is declared not null, is missing'


@pytest.mark.parametrize("policy", POLICIES)
def test_a_missing_key_stops(policy: str) -> None:
    assert "which is the key" in outcome(schema(a="int", b="int"), schema(a="int"), policy, key=("b",))


WIDER = [
    ("tinyint", "smallint"), ("smallint", "int"), ("int", "bigint"), ("float", "double"), ("date", "timestamp"),
    ("decimal(10,2)", "decimal(12,2)"), ("decimal(10,2)", "decimal(12,4)"),
]  # fmt: skip


@pytest.mark.parametrize(("narrow", "wide"), WIDER)
def test_a_wider_type_needs_an_overwrite_and_a_policy(narrow: str, wide: str) -> None:
    current, incoming = schema(a=narrow), schema(a=wide)
    for policy in ("append_new_columns", "sync_all_columns"):
        assert "Delta cannot change the type" in outcome(current, incoming, policy)
        made = target(current, incoming, policy, mode="overwrite")
        assert str(made.schema) == f"a {wide}"
        assert [(name, str(old), str(new)) for name, old, new in made.widened] == [("a", narrow, wide)]
    assert outcome(current, incoming, "fail", mode="overwrite") == f'column "a": table {narrow}, output {wide}'
    ignored = target(current, incoming, "ignore")
    assert (str(ignored.schema), ignored.projection[0].cast) == (f"a {narrow}", True)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("narrow", "wide"), WIDER)
def test_a_narrower_type_fits(narrow: str, wide: str, policy: str) -> None:
    made = target(schema(a=wide), schema(a=narrow), policy)
    assert (str(made.schema), made.projection[0].cast, made.is_changed) == (f"a {wide}", True, False)


def test_decimals_that_need_both_sides_widen_to_hold_both() -> None:
    made = target(schema(a="decimal(10,2)"), schema(a="decimal(8,4)"), "sync_all_columns", mode="overwrite")
    assert str(made.schema) == "a decimal(12,4)"
    assert "neither" in outcome(schema(a="decimal(38,0)"), schema(a="decimal(38,2)"), "sync_all_columns")


@pytest.mark.parametrize(
    "kinds", [("string", "int"), ("date", "timestamp_ntz"), ("bigint", "double"), ("int", "list<int>")]
)
@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_another_type_stops_unless_ignored(kinds: tuple[str, str], mode: str) -> None:
    for old, new in (kinds, kinds[::-1]):
        for policy in ("fail", "append_new_columns", "sync_all_columns"):
            assert "neither holds the other" in outcome(schema(a=old), schema(a=new), policy, mode=mode)
        assert outcome(schema(a=old), schema(a=new), "ignore", mode=mode) == f"a {old}"


def test_a_struct_grows_by_fields() -> None:
    current, incoming = schema(s="struct<x: int, y: int>"), schema(s="struct<Y: int, z: string>")
    made = target(current, incoming, "append_new_columns")
    assert str(made.schema) == "s struct<x: int, y: int, z: string>"
    assert (made.added, made.projection[0].cast) == (("s.z",), True)
    assert "table struct" in outcome(current, incoming, "fail")


def test_a_struct_that_lacks_fields_fits() -> None:
    assert outcome(schema(s="struct<x: int, y: int>"), schema(s="struct<y: int>"), "fail") == "s struct<x: int, y: int>"


def test_a_list_of_structs_cannot_grow_in_place() -> None:
    current, incoming = schema(s="list<struct<x: int>>"), schema(s="list<struct<x: int, y: int>>")
    assert "Delta cannot" in outcome(current, incoming, "append_new_columns")
    made = outcome(current, incoming, "append_new_columns", mode="overwrite")
    assert made == "s list<struct<x: int, y: int>>"


def test_descriptions_follow_the_output_and_else_stay() -> None:
    current = schema(a="int", b="int").describe({"a": "old a", "b": "old b"})
    made = target(current, schema(a="int", b="int").describe({"a": "new a"}), "fail")
    assert [column.description for column in made.schema] == ["new a", "old b"]


def test_all_differences_are_listed_at_once() -> None:
    current = schema(a="int", b="string", c="date")
    with pytest.raises(PlanError) as caught:
        target(current, schema(a="bigint", b="int", d="int"), "fail")
    assert len(caught.value.notes) == 3
    assert "on_schema_change: fail" in caught.value.message
