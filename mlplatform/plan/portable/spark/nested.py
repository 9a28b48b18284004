"""Lists, structs and maps. A list counts from 1, and gives null outside of itself."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from mlplatform.plan.portable.kinds import NULL, WHOLE
from mlplatform.plan.portable.literals import whole
from mlplatform.plan.portable.model import Arg, Call, Function, Refused, Says
from mlplatform.plan.portable.spark.build import both, case, fn, is_null, lambda_, number, text, to_type
from mlplatform.plan.portable.spark.casts import cast
from mlplatform.types import BIGINT, INT, STRING, DataType, Decimal, List, Map, Struct


def array(items: Sequence[exp.Expr], gives: List) -> exp.Expr:
    """`[a, b]`."""
    return to_type(fn("ARRAY", *items), gives) if gives.element != NULL else fn("ARRAY", *items)


def struct(values: Sequence[exp.Expr], gives: Struct) -> exp.Expr:
    """`{'a': x}`."""
    named = [part for (name, _), value in zip(gives.fields, values, strict=True) for part in (text(name), value)]
    return fn("NAMED_STRUCT", *named)


def element(tree: exp.Expr, position: Arg) -> exp.Expr:
    """`list[n]`: from 1, from the end where negative; null for 0 and outside."""
    known = whole(position.node)
    if known == 0 or position.kind == NULL:
        return fn("GET", tree, number(-1))
    place = cast(position.tree, position.kind, INT)
    if known is not None:
        return fn("TRY_ELEMENT_AT", tree, place)
    return fn("TRY_ELEMENT_AT", tree, fn("NULLIF", place, number(0)))


def value_of(value: Arg, key: Arg) -> exp.Expr:
    """`map[key]`: null where the map lacks the key."""
    assert isinstance(value.kind, Map)
    return fn("TRY_ELEMENT_AT", value.tree, cast(key.tree, key.kind, value.kind.key))


def _length(call: Call) -> exp.Expr:
    kind = call.args[0].kind
    if kind == STRING:
        return to_type(fn("CHAR_LENGTH", call.args[0].tree), call.kind)
    if isinstance(kind, List | Map):
        value = call.args[0].tree
        return to_type(case((is_null(value), exp.null()), default=fn("SIZE", value)), call.kind)
    raise Refused(call.name, f"not of a {kind}")


def _element_kind(call: Call) -> DataType:
    kind = call.args[0].kind
    if not isinstance(kind, List):
        raise Refused(call.name, f"not of a {kind}")
    return kind.element


def contains(call: Call) -> exp.Expr:
    """Null elements match nothing; no list, or a null to look for, gives null."""
    wanted = cast(call.args[1].tree, call.args[1].kind, _element_kind(call))
    value = call.args[0].tree
    found = fn("COALESCE", fn("ARRAY_CONTAINS", value, wanted), exp.false())
    return case((exp.Or(this=is_null(value), expression=is_null(wanted)), exp.null()), default=found)


def _position(call: Call) -> exp.Expr:
    wanted = cast(call.args[1].tree, call.args[1].kind, _element_kind(call))
    found = fn("NULLIF", fn("ARRAY_POSITION", call.args[0].tree, wanted), number(0))
    return to_type(found, call.kind)


def _transform(call: Call) -> exp.Expr:
    if len(call.args[1].tree.expressions) > 1:
        raise Refused(call.name, "with a position")
    return fn("TRANSFORM", call.args[0].tree, call.args[1].tree)


def _filter(call: Call) -> exp.Expr:
    return fn("FILTER", call.args[0].tree, call.args[1].tree)


def _sorted(call: Call) -> exp.Expr:
    """Ascending and nulls last, unless words say otherwise."""
    order = [str(arg.node.this).upper() for arg in call.args[1:]]
    is_desc = bool(order and order[0] == "DESC") or "reverse" in call.name
    nulls = order[1] if len(order) > 1 else "NULLS LAST"
    _element_kind(call)
    value = call.args[0].tree
    plain = fn("SORT_ARRAY", value, exp.false() if is_desc else exp.true())
    if (nulls == "NULLS FIRST") == (not is_desc):
        return plain
    lambda_null = exp.Lambda(this=is_null(exp.column("e")), expressions=[exp.to_identifier("e")])
    rest = exp.Lambda(this=exp.Not(this=is_null(exp.column("e"))), expressions=[exp.to_identifier("e")])
    nothing, known = fn("FILTER", value, lambda_null), fn("FILTER", value, rest)
    ordered = fn("SORT_ARRAY", known, exp.false() if is_desc else exp.true())
    return fn("CONCAT", nothing, ordered) if nulls == "NULLS FIRST" else fn("CONCAT", ordered, nothing)


def _joined(call: Call) -> exp.Expr:
    if _element_kind(call) != STRING:
        raise Refused(call.name, "of a list of text only")
    value = call.args[0].tree
    known = fn("SIZE", fn("ARRAY_COMPACT", value))
    is_joined = exp.Or(this=exp.GT(this=known, expression=number(0)),
                       expression=exp.EQ(this=fn("SIZE", value), expression=number(0)))  # fmt: skip
    return case((is_joined, fn("ARRAY_JOIN", value, call.args[1].tree)))  # of nothing but nulls it is null


def _added(call: Call) -> exp.Expr:
    """`list_append(list, x)` and `list_prepend(x, list)`; null counts as an empty list."""
    assert isinstance(call.kind, List)
    is_append = "append" in call.name or "push_back" in call.name
    value, item = call.args if is_append else reversed(call.args)
    one = fn("ARRAY", cast(item.tree, item.kind, call.kind.element))
    many = fn("COALESCE", cast(value.tree, value.kind, call.kind), to_type(fn("ARRAY"), call.kind))
    return fn("CONCAT", many, one) if is_append else fn("CONCAT", one, many)


def _unique(call: Call) -> exp.Expr:
    _element_kind(call)
    known = fn("ARRAY_DISTINCT", fn("ARRAY_COMPACT", call.args[0].tree))
    return to_type(case((is_null(call.args[0].tree), exp.null()), default=fn("SIZE", known)), call.kind)


def _flattened(call: Call) -> exp.Expr:
    """The elements of all lists; a null among the lists is passed over."""
    _element_kind(call)
    return fn("FLATTEN", fn("ARRAY_COMPACT", call.args[0].tree))


def _best(name: str) -> Says:
    def says(call: Call) -> exp.Expr:
        _element_kind(call)
        return fn(name, call.args[0].tree)

    return says


def _sum(call: Call) -> exp.Expr:
    """Null of a list without values."""
    element_kind = _element_kind(call)
    if element_kind not in WHOLE:
        raise Refused(call.name, "of whole numbers only")
    known = fn("ARRAY_COMPACT", call.args[0].tree)
    step = to_type(both(exp.Add, exp.column("s"), to_type(exp.column("e"), Decimal(38, 0))), Decimal(38, 0))
    total = fn("AGGREGATE", known, to_type(number(0), Decimal(38, 0)), lambda_(["s", "e"], step))
    return to_type(case((exp.GT(this=fn("SIZE", known), expression=number(0)), total)), call.kind)


def _extract(call: Call) -> exp.Expr:
    value, key = call.args
    if isinstance(value.kind, Map):
        return value_of(value, key)
    if isinstance(value.kind, Struct):
        return exp.Dot(this=exp.Paren(this=value.tree), expression=exp.to_identifier(str(key.node.this), quoted=True))
    if isinstance(value.kind, List):
        return element(value.tree, key)
    raise Refused(call.name, f"not of a {value.kind}")


def _slice(call: Call) -> exp.Expr:
    _element_kind(call)
    first, last = whole(call.args[1].node), whole(call.args[2].node)
    if len(call.args) != 3 or first is None or last is None or first < 1 or last < 0:
        raise Refused(call.name, "only from and to a positive number")
    return fn("SLICE", call.args[0].tree, number(first), number(max(0, last - first + 1)))


def _range(call: Call) -> exp.Expr:
    """`range(a, b)` without b, `generate_series(a, b)` with it."""
    if any(arg.kind not in WHOLE for arg in call.args) or len(call.args) != 2:
        raise Refused(call.name, "only of two whole numbers")
    first, last = (cast(arg.tree, arg.kind, BIGINT) for arg in call.args)
    if call.name == "range":
        last = both(exp.Sub, last, number(1))
    is_empty = exp.LT(this=exp.Paren(this=last.copy()), expression=exp.Paren(this=first.copy()))
    nothing = to_type(fn("ARRAY"), call.kind)
    return case((is_empty, nothing), default=fn("SEQUENCE", first, last))


FUNCTIONS: tuple[Function, ...] = (
    Function("length", _length, "nested", ("len", "array_length", "cardinality")),
    Function("list_contains", contains, "nested", ("array_contains", "list_has", "array_has")),
    Function("list_position", _position, "nested", ("array_position", "list_indexof", "array_indexof")),
    Function("list_transform", _transform, "nested",
             ("array_transform", "list_apply", "array_apply", "apply")),
    Function("list_filter", _filter, "nested", ("array_filter", "filter")),
    Function("list_sort", _sorted, "nested", ("array_sort", "list_reverse_sort", "array_reverse_sort")),
    Function("array_to_string", _joined, "nested"),
    Function("list_extract", _extract, "nested",
             ("array_extract", "list_element", "struct_extract", "map_extract_value")),
    Function("list_slice", _slice, "nested", ("array_slice",)),
    Function("list_append", _added, "nested",
             ("array_append", "array_push_back", "list_prepend", "array_prepend", "array_push_front")),
    Function("list_unique", _unique, "nested", ("array_unique",)),
    Function("list_max", _best("ARRAY_MAX"), "nested"),
    Function("list_min", _best("ARRAY_MIN"), "nested"),
    Function("list_sum", _sum, "nested"),
    Function("flatten", _flattened, "nested"),
    Function("list_distinct", None, "", ("array_distinct",), note="its order is chance; use list_sort of it on duckdb"),
    Function("range", _range, "nested", ("generate_series",)),
    Function("map_keys", lambda call: fn("MAP_KEYS", call.args[0].tree), "nested"),
    Function("map_values", lambda call: fn("MAP_VALUES", call.args[0].tree), "nested"),
    Function("map_entries", lambda call: fn("MAP_ENTRIES", call.args[0].tree), "nested"),
    Function("list_value", lambda call: to_type(fn("ARRAY", *(arg.tree for arg in call.args)), call.kind), "nested",
             ("list_pack",)),
)  # fmt: skip
