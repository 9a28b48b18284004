"""Whether a text is one SELECT of the subset, and the tree of it that is run; the text itself is never executed."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import orjson
import xxhash

from serving.http.errors import ApiError
from serving.query.grammar import (
    CALLED_WORDS,
    CTE_KEYS,
    MAX_DEPTH,
    MAX_JOINS,
    MAX_NESTING,
    MAX_PARAMS,
    MAX_TEXT_BYTES,
    NODES,
    PLAIN_KEYS,
    SUBQUERY_VALUE,
    TYPES,
    Node,
    functions,
)

Tree = dict[str, Any]  # Any: DuckDB's syntax tree as JSON
_PART = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}\Z")
_PARAM = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
# A name given by WITH is written so in the tree that is run: one that were taken for a WITH by mistake finds no table.
_WITH = "__mlp_with_"


@dataclass(frozen=True, slots=True)
class Checked:
    """A statement of the subset.

    Attributes:
        key: 16 bytes, equal for texts that differ in spaces, case of key words and comments only.
        tables: names of the published tables that it reads, sorted.
        params: names of its parameters, sorted.
        tree: the statement as DuckDB's JSON, without positions; tables carry their published name.
    """

    key: bytes
    tables: tuple[str, ...]
    params: tuple[str, ...]
    tree: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a table is for a connection: its path there, and the columns that may be read (None for all)."""

    path: tuple[str, ...]
    columns: tuple[str, ...] | None = None


_IS_OLD = int(duckdb.__version__.partition(".")[0]) < 2


class Parser:
    """DuckDB's parser, on a connection of its own that holds no data."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(config={
            "threads": 1, "memory_limit": "256MB", "enable_external_access": "false",
            "python_enable_replacements": "false", "autoload_known_extensions": "false",
            "autoinstall_known_extensions": "false", "allow_community_extensions": "false",
        })  # fmt: skip
        self._connection.execute(f"SET max_expression_depth = {4 * MAX_DEPTH}; SET lock_configuration = true")
        self._lock = threading.Lock()

    def check(self, text: str) -> Checked:
        """The statement that a text holds. Raises: ApiError sql_not_allowed, sql_error."""
        return check_tree(self._parse(text))

    def text(self, tree: Tree) -> str:
        """A tree as SQL."""
        document = orjson.dumps({"error": False, "statements": [tree]}).decode()
        with self._lock:
            row = self._connection.execute("SELECT json_deserialize_sql($1::JSON)", [document]).fetchone()
        assert row is not None
        return str(row[0])

    def _parse(self, text: str) -> Tree:
        if _IS_OLD:
            raise _refused(
                "a query in SQL", "this server runs DuckDB 1, whose trees are others; DuckDB 2 needs Python 3.11"
            )
        try:
            size = len(text.encode())
        except UnicodeEncodeError as error:
            raise ApiError("bad_body", "the query is no Unicode text") from error
        if size > MAX_TEXT_BYTES:
            raise _refused(f"a text of {size} bytes", f"at most {MAX_TEXT_BYTES} are taken")
        with self._lock:
            try:
                statements = self._connection.extract_statements(text)
                if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                    names = ", ".join(each.type.name for each in statements[:5]) or "nothing"
                    raise _refused(names, "a query is exactly one SELECT")
                row = self._connection.execute("SELECT json_serialize_sql($1::VARCHAR)", [text]).fetchone()
            except (duckdb.Error, RuntimeError, ValueError) as error:
                raise _parser_error(_first_line(error)) from error
        assert row is not None
        return _statement(row[0])

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _statement(document: str) -> Tree:
    try:
        tree = orjson.loads(document)
    except ValueError as error:  # nested deeper than JSON is read
        raise _refused("nesting", f"expressions are at most {MAX_DEPTH} deep") from error
    if tree["error"]:
        message = str(tree.get("error_message", ""))
        if tree.get("error_type") == "not implemented":
            raise _refused("the statement", "a query is exactly one SELECT")
        raise _parser_error(message.partition("\n")[0][:500])
    if len(tree["statements"]) != 1:
        raise _refused("several statements", "a query is exactly one SELECT")
    statement: Tree = tree["statements"][0]
    return statement


def check_tree(statement: Tree) -> Checked:
    """A parsed statement, each node compared with the allow-list. Raises: ApiError sql_not_allowed."""
    walk = _Walk()
    try:
        clean = walk.plain(statement, frozenset(), 0)
    except RecursionError as error:
        raise _refused("nesting", f"expressions are at most {MAX_DEPTH} deep") from error
    if not walk.tables:
        raise _refused("a query without a table", "name a published table after FROM")
    tree = orjson.dumps(clean, option=orjson.OPT_SORT_KEYS)
    return Checked(xxhash.xxh3_128_digest(tree), tuple(sorted(walk.tables)), tuple(sorted(walk.params)), tree)


@dataclass(slots=True)
class _Walk:
    """One walk over a tree: gives it back without positions, and counts."""

    tables: set[str] = field(default_factory=set)
    params: set[str] = field(default_factory=set)
    joins: int = 0
    nesting: int = 0
    depth: int = 0

    def any(self, value: Any, names: frozenset[str], depth: int) -> Any:  # Any: a part of the tree
        """A part of the tree; `names` are those that WITH gives here."""
        if isinstance(value, list):
            return [self.any(part, names, depth) for part in value]
        if not isinstance(value, dict):
            return value
        return self.node(value, names, depth + 1) if isinstance(value.get("type"), str) else \
            self.plain(value, names, depth)  # fmt: skip

    def plain(self, value: Tree, names: frozenset[str], depth: int) -> Tree:
        unknown = [key for key in value if key not in PLAIN_KEYS]
        if unknown:
            raise _refused(f"the part {unknown[0]}")
        return {key: self.any(part, names, depth) for key, part in value.items()}

    def node(self, node: Tree, names: frozenset[str], depth: int) -> Tree:
        kind = node["type"]
        is_value = kind == "SUBQUERY" and "class" in node
        rule = SUBQUERY_VALUE if is_value else NODES.get(kind)
        if rule is None or node.get("class") != rule.under:
            raise _refused(_said(kind))
        if depth > MAX_DEPTH:
            raise _refused("nesting", f"expressions are at most {MAX_DEPTH} deep")
        kept = _kept(node, rule)
        match kind:
            case "SELECT_NODE" | "SET_OPERATION_NODE":
                return self._query(kept, names, depth)
            case "BASE_TABLE":
                return self._table(kept, names)
            case "JOIN":
                self._join(kept)
            case "VALUE_PARAMETER":
                self._param(str(kept["identifier"]))
            case _:
                _check_node(kind, kept)
        return self._parts(kept, names, depth)

    def _parts(self, node: Tree, names: frozenset[str], depth: int) -> Tree:
        return {key: part if key in _VERBATIM else self.any(part, names, depth) for key, part in node.items()}

    def _query(self, node: Tree, names: frozenset[str], depth: int) -> Tree:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise _refused("nesting", f"queries are at most {MAX_NESTING} deep")
        ctes, found = [], names
        for entry in (node.get("cte_map") or {}).get("map", []):
            ctes.append(self._with(entry, found, depth))
            found = found | {str(entry["key"]).lower()}
        rest = {key: part for key, part in node.items() if key != "cte_map"}
        clean = self._parts(rest, found, depth)
        self.nesting -= 1
        return {**clean, "cte_map": {"map": ctes}}

    def _with(self, entry: Tree, names: frozenset[str], depth: int) -> Tree:
        value = {key: part for key, part in entry["value"].items() if key in CTE_KEYS}
        left = [key for key, part in entry["value"].items() if key not in CTE_KEYS and part]
        if left or not _PART.match(str(entry["key"])):
            raise _refused(f"WITH … {_said(left[0]) if left else 'with such a name'}")
        inner = value.pop("query_node", None) or value.pop("query", None)
        if not isinstance(inner, dict):
            raise _refused("WITH")
        body = self.any(inner, names, depth)
        return {"key": _WITH + str(entry["key"]).lower(), "value": {
            **value, "key_targets": [], "payload_aggregates": [],
            "query_node": body,
        }}  # fmt: skip

    def _table(self, node: Tree, names: frozenset[str]) -> Tree:
        path = [str(node.get(key) or "") for key in ("catalog_name", "schema_name", "table_name")]
        parts = list((node.get("qualified_name") or {}).get("path") or [part for part in path if part])
        if [part for part in path if part] != parts[-3:] or not all(_PART.match(str(part)) for part in parts):
            raise _refused(f"the table {'.'.join(map(str, parts))[:100]!r}", "only published tables can be read")
        alias = node["alias"] or parts[-1]
        if len(parts) == 1 and parts[0].lower() in names:
            return _table_at((_WITH + parts[0].lower(),), alias, node["column_name_alias"])
        name = ".".join(parts)
        self.tables.add(name)
        return {**_table_at((), alias, node["column_name_alias"]), "published": name}

    def _join(self, node: Tree) -> None:
        self.joins += 1
        if self.joins > MAX_JOINS:
            raise _refused("joins", f"a query has at most {MAX_JOINS}")
        if node["ref_type"] == "CROSS":
            if node["right"].get("type") != "TABLE_FUNCTION":
                raise _refused("a join without a condition")
            return
        condition = node["condition"]
        if node["ref_type"] == "NATURAL" or node["using_columns"]:
            return
        if not isinstance(condition, dict) or condition.get("class") == "CONSTANT":
            raise _refused("a join without a condition")

    def _param(self, name: str) -> None:
        if not _PARAM.match(name):
            raise _refused("a parameter without a name", "write $name")
        self.params.add(name)
        if len(self.params) > MAX_PARAMS:
            raise _refused("parameters", f"a query has at most {MAX_PARAMS}")


# Parts that hold names and constants, no nodes.
_VERBATIM = frozenset({"literal", "qualified_name", "column_names", "exclude_list", "relation_name", "using_columns",
                       "rename_list", "qualified_exclude_list", "column_name_alias", "group_sets"})  # fmt: skip


def _kept(node: Tree, rule: Node) -> Tree:
    """The node without positions. Raises: ApiError for a key or a value that the rule lacks."""
    kept: Tree = {}
    for key, part in node.items():
        if key.startswith("query_location"):
            continue
        if key in rule.only and part not in rule.only[key]:
            raise _refused(f"{_said(node['type'])} with {_said(key)} {part if isinstance(part, str) else ''}".rstrip())
        if key not in rule.keys and key not in ("class", "type", "alias") and part:
            raise _refused(f"{_said(node['type'])} with {_said(key)}")
        kept[key] = part
    return kept


def _check_node(kind: str, node: Tree) -> None:
    if kind == "FUNCTION" or kind.startswith("WINDOW_"):
        name = str(node["function_name"])
        if name.lower() not in functions() or len((node.get("qualified_name") or {"path": [name]})["path"]) != 1:
            raise _refused(f"the function {name[:100]}")
    elif kind == "TABLE_FUNCTION":
        if str(node["function"].get("function_name", "")).lower() != "unnest":
            raise _refused(f"the table function {str(node['function'].get('function_name', ''))[:100]}")
    elif kind == "COLUMN_REF":
        names = node["column_names"]
        if len(names) == 1 and str(names[0]).lower() in CALLED_WORDS:
            raise _refused(str(names[0]).lower(), "answers do not depend on the clock or on who asks")
    elif kind == "TYPE":
        name = str(node["type_name"])
        if name.lower() not in TYPES or len((node.get("qualified_name") or {"path": [name]})["path"]) != 1:
            raise _refused(f"the type {name[:100]}")
    elif kind == "LIMIT_MODIFIER":
        for part in (node.get("limit"), node.get("offset")):
            if part is not None and part.get("class") not in ("CONSTANT", "PARAMETER"):
                raise _refused("LIMIT of an expression")


def bound(checked: Checked, places: Mapping[str, Place], row_limit: int) -> Tree:
    """The tree to run: tables at their places, and at most `row_limit` rows.

    Raises: KeyError for a table without a place.
    """
    statement = orjson.loads(checked.tree)
    tree: Tree = _placed(statement, places)
    tree["node"] = _limited(tree["node"], row_limit)
    return tree


def _placed(value: Any, places: Mapping[str, Place]) -> Any:  # Any: a part of the tree
    if isinstance(value, list):
        return [_placed(part, places) for part in value]
    if not isinstance(value, dict):
        return value
    if "published" not in value:
        return {key: _placed(part, places) for key, part in value.items()}
    place = places[value["published"]]
    if place.columns is None:
        return _table_at(place.path, value["alias"], value["column_name_alias"])
    inner = _select([_column(name) for name in place.columns], _table_at(place.path, "", []))
    return {"type": "SUBQUERY", "alias": value["alias"], "sample": None, "subquery": {"node": inner},
            "column_name_alias": value["column_name_alias"]}  # fmt: skip


def _limited(node: Tree, row_limit: int) -> Tree:
    """A query that gives at most so many rows; its order is kept."""
    modifiers = list(node["modifiers"])
    place = next((number for number, each in enumerate(modifiers) if each["type"] == "LIMIT_MODIFIER"), None)
    if place is None:
        return {**node, "modifiers": [*modifiers, _limit(row_limit)]}
    limit = modifiers[place]["limit"]
    if limit is None:
        modifiers[place] = {**modifiers[place], "limit": _number(row_limit)}
        return {**node, "modifiers": modifiers}
    text = str((limit.get("literal") or {}).get("text", ""))
    if text.isdecimal() and int(text) <= row_limit:
        return node
    star = {"class": "STAR", "type": "STAR", "alias": "", "relation_name": "", "exclude_list": [], "replace_list": [],
            "columns": False, "expr": None, "qualified_exclude_list": [], "rename_list": []}  # fmt: skip
    source: Tree = {"type": "SUBQUERY", "alias": "limited", "sample": None, "subquery": {"node": node},
              "column_name_alias": []}  # fmt: skip
    return {**_select([star], source), "modifiers": [_limit(row_limit)]}


def _limit(rows: int) -> Tree:
    return {"type": "LIMIT_MODIFIER", "limit": _number(rows), "offset": None, "limit_type": "ROW_COUNT"}


def _number(value: int) -> Tree:
    return {"class": "CONSTANT", "type": "VALUE_CONSTANT", "alias": "",
            "literal": {"kind": "INTEGER", "text": str(value)}}  # fmt: skip


def _column(name: str) -> Tree:
    return {"class": "COLUMN_REF", "type": "COLUMN_REF", "alias": "", "column_names": [name]}


def _table_at(path: Sequence[str], alias: str, columns: Sequence[str]) -> Tree:
    catalog, schema, table = ["", "", "", *path][-3:]
    return {"type": "BASE_TABLE", "alias": alias, "sample": None, "catalog_name": catalog, "schema_name": schema,
            "table_name": table, "column_name_alias": list(columns), "at_clause": None,
            "qualified_name": {"path": list(path)}}  # fmt: skip


def _select(columns: list[Tree], source: Tree) -> Tree:
    return {"type": "SELECT_NODE", "modifiers": [], "cte_map": {"map": []}, "select_list": columns,
            "from_table": source, "where_clause": None, "group_expressions": [], "group_sets": [],
            "aggregate_handling": "STANDARD_HANDLING", "having": None, "sample": None, "qualify": None}  # fmt: skip


def _said(name: str) -> str:
    return name.lower().replace("_", " ")


def _parser_error(message: str) -> ApiError:
    if "expression depth" in message:
        return _refused("nesting", f"expressions are at most {MAX_DEPTH} deep")
    return ApiError("sql_error", message)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:500]


def _refused(construct: str, why: str = "it is not part of the query language") -> ApiError:
    return ApiError("sql_not_allowed", f"{construct} is not allowed: {why}", details={"construct": construct})
