"""What a query may consist of: the nodes of DuckDB's syntax tree, their keys, and the values that these may have.

The names are those of DuckDB's `json_serialize_sql`. A node or key that is not here is refused, so syntax that a later
DuckDB adds is refused until it is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

MAX_TEXT_BYTES = 16 * 1024
MAX_PARAMS = 100
MAX_JOINS = 4
MAX_NESTING = 8
MAX_DEPTH = 64
FUNCTIONS_FILE = Path(__file__).with_name("functions.json")


@dataclass(frozen=True, slots=True)
class Node:
    """A kind of node: the class it stands under, its keys, and for some keys the only values they may have."""

    under: str | None
    keys: frozenset[str]
    only: Mapping[str, tuple[object, ...]] = field(default_factory=dict)


def _node(under: str | None, keys: str, **only: tuple[object, ...]) -> Node:
    return Node(under, _words(keys) | frozenset(only), only)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NONE, _NO, _BLANK = (None,), (False,), ("",)
_EMPTY: tuple[object, ...] = ([],)
_OPERATORS = (
    "ARRAY_EXTRACT", "ARRAY_SLICE", "COMPARE_IN", "COMPARE_NOT_IN", "GROUPING_FUNCTION", "OPERATOR_COALESCE",
    "OPERATOR_IS_NOT_NULL", "OPERATOR_IS_NULL", "OPERATOR_NOT", "OPERATOR_NULLIF", "OPERATOR_TRY", "STRUCT_EXTRACT",
)  # fmt: skip
_COMPARISONS = (
    "COMPARE_EQUAL", "COMPARE_NOTEQUAL", "COMPARE_LESSTHAN", "COMPARE_GREATERTHAN", "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_GREATERTHANOREQUALTO", "COMPARE_DISTINCT_FROM", "COMPARE_NOT_DISTINCT_FROM",
)  # fmt: skip
_WINDOWS = (
    "WINDOW_AGGREGATE", "WINDOW_ROW_NUMBER", "WINDOW_RANK", "WINDOW_RANK_DENSE", "WINDOW_NTILE", "WINDOW_PERCENT_RANK",
    "WINDOW_CUME_DIST", "WINDOW_FIRST_VALUE", "WINDOW_LAST_VALUE", "WINDOW_LEAD", "WINDOW_LAG", "WINDOW_NTH_VALUE",
)  # fmt: skip
_WINDOW = _node(
    "WINDOW",
    "function_name partitions orders start end start_expr end_expr offset_expr default_expr ignore_nulls "
    "filter_expr exclude_clause distinct arg_orders has_ignore_nulls arguments qualified_name",
    schema=_BLANK, catalog=_BLANK,
)  # fmt: skip
_ORDER = _node(None, "expression null_order")

NODES: dict[str, Node] = {
    "SELECT_NODE": _node(
        None, "modifiers cte_map select_list from_table where_clause group_expressions group_sets having qualify",
        aggregate_handling=("STANDARD_HANDLING", "FORCE_AGGREGATES", "NO_AGGREGATES_ALLOWED"), sample=_NONE,
    ),
    "SET_OPERATION_NODE": _node(None, "modifiers cte_map children", left=_NONE, right=_NONE, setop_type=("UNION",),
                                setop_all=(True,)),
    "BASE_TABLE": _node(None, "schema_name table_name catalog_name qualified_name column_name_alias", sample=_NONE,
                        at_clause=_NONE),
    "SUBQUERY": _node(None, "subquery column_name_alias", sample=_NONE),
    "EMPTY": _node(None, "", sample=_NONE),
    "JOIN": _node(
        None, "left right condition using_columns delim_flipped is_implicit nearest_count nearest_order_type",
        join_type=("INNER", "LEFT", "RIGHT", "OUTER", "FULL", "SEMI", "ANTI"),
        ref_type=("REGULAR", "NATURAL", "ASOF", "CROSS"), sample=_NONE, duplicate_eliminated_columns=_EMPTY,
        ranking_expression=_NONE, nearest_approx=_NO,
    ),
    "TABLE_FUNCTION": _node(None, "function column_name_alias with_ordinality", sample=_NONE),
    "ORDER_MODIFIER": _node(None, "orders"),
    "LIMIT_MODIFIER": _node(None, "limit offset", limit_type=("ROW_COUNT",)),
    "DISTINCT_MODIFIER": _node(None, "distinct_on_targets"),
    "ORDER_DEFAULT": _ORDER, "ASCENDING": _ORDER, "DESCENDING": _ORDER,
    "COMPARE_BETWEEN": _node("BETWEEN", "input lower upper"),
    "CASE_EXPR": _node("CASE", "case_checks else_expr"),
    "OPERATOR_CAST": _node("CAST", "child try_cast type_expr"),
    "COLUMN_REF": _node("COLUMN_REF", "column_names"),
    "CONJUNCTION_AND": _node("CONJUNCTION", "children"),
    "CONJUNCTION_OR": _node("CONJUNCTION", "children"),
    "VALUE_CONSTANT": _node("CONSTANT", "literal"),
    "FUNCTION": _node(
        "FUNCTION", "arguments distinct filter function_name is_operator order_bys qualified_name",
        schema=_BLANK, catalog=_BLANK, export_state=_NO,
    ),
    "LAMBDA": _node("LAMBDA", "lhs expr", syntax_type=("LAMBDA_KEYWORD",)),
    "VALUE_PARAMETER": _node("PARAMETER", "identifier"),
    "STAR": _node("STAR", "relation_name exclude_list replace_list columns rename_list qualified_exclude_list",
                  expr=_NONE),
    "TYPE": _node("TYPE", "type_name children qualified_name", schema=_BLANK, catalog=_BLANK),
    **{name: _node("OPERATOR", "children") for name in _OPERATORS},
    **{name: _node("COMPARISON", "left right") for name in _COMPARISONS},
    **dict.fromkeys(_WINDOWS, _WINDOW),
}  # fmt: skip
# A scalar subquery is of another class than one after FROM, but of the same type.
SUBQUERY_VALUE = _node("SUBQUERY", "subquery child comparison_type",
                       subquery_type=("SCALAR", "EXISTS", "NOT_EXISTS", "ANY"))  # fmt: skip
# Keys of parts that are no nodes themselves.
PLAIN_KEYS = frozenset({"name", "expression", "when_expr", "then_expr", "node", "named_param_map", "key", "value",
                        "kind", "text", "path", "orders", "type", "column", "index"})  # fmt: skip
CTE_KEYS = frozenset({"aliases", "materialized", "query_node", "query"})

# Words that DuckDB takes for a function without brackets, where no column has the name.
CALLED_WORDS = _words(
    "current_catalog current_database current_date current_role current_schema current_time current_timestamp "
    "current_user get_current_time get_current_timestamp localtime localtimestamp session_user today user"
)
TYPES = _words(
    "bool boolean logical tinyint int1 smallint int2 short integer int int4 signed bigint int8 long hugeint utinyint "
    "usmallint uinteger ubigint float float4 real double float8 decimal numeric dec varchar text string char bpchar "
    "blob bytea binary varbinary date time timestamp datetime timestamptz timestamp_s timestamp_ms timestamp_us "
    "timestamp_ns interval list struct row map array"
) | {"timestamp with time zone", "time without time zone", "timestamp without time zone"}


@lru_cache(maxsize=1)  # a file of the package
def functions() -> frozenset[str]:
    """Names of the functions and operators that a query may call."""
    return frozenset(json.loads(FUNCTIONS_FILE.read_text())["functions"])
