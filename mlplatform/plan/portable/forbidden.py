"""What no engine may run: a function that reads files, the clock, the session or chance has no repeatable meaning."""

from __future__ import annotations

from sqlglot import exp

from mlplatform.errors import PlanError
from mlplatform.plan.places import word_span
from mlplatform.spec.located import Located

_CLOCK = "a run can be repeated, so nothing reads the clock; use ${run.started_at} or a parameter"
_CHANCE = "a run can be repeated, so nothing is random; hash a key instead, as in sha256(id)"
_OUTSIDE = "files and networks are read by sources only; declare one under `sources`"
_SESSION = "a spec sees nothing of the session it runs in"

FORBIDDEN: dict[str, str] = {
    **dict.fromkeys(
        ("now", "today", "current_timestamp", "current_date", "current_time", "localtime", "localtimestamp",
         "get_current_timestamp", "transaction_timestamp", "get_current_time", "current_localtimestamp",
         "current_localtime", "utc_timestamp", "utc_date", "utc_time"), _CLOCK),
    **dict.fromkeys(
        ("random", "rand", "setseed", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "hash", "nextval", "currval"),
        _CHANCE),
    **dict.fromkeys(
        ("read_parquet", "parquet_scan", "read_csv", "read_csv_auto", "read_json", "read_json_auto", "read_ndjson",
         "read_ndjson_auto", "read_json_objects", "read_ndjson_objects", "read_json_objects_auto", "read_text",
         "read_blob", "glob", "sniff_csv", "delta_scan", "iceberg_scan", "sqlite_scan", "postgres_scan",
         "postgres_query", "mysql_scan", "parquet_metadata", "parquet_schema", "parquet_file_metadata",
         "parquet_kv_metadata", "parquet_bloom_probe", "arrow_scan", "pandas_scan", "query", "query_table",
         "read_duckdb", "st_read", "read_xlsx"), _OUTSIDE),
    **dict.fromkeys(
        ("getenv", "current_setting", "current_database", "current_schema", "current_schemas", "current_user",
         "current_role", "session_user", "user", "version", "txid_current", "pg_typeof", "current_query",
         "in_search_path", "getvariable", "write_log", "error", "add_parquet_key", "current_connection_id",
         "current_query_id", "current_transaction_id"), _SESSION),
}  # fmt: skip
_FORBIDDEN_NODES: tuple[type[exp.Expr], ...] = (
    exp.DDL, exp.DML, exp.Command, exp.Pragma, exp.Into, exp.TableSample, exp.Set, exp.Use, exp.Copy, exp.Attach,
    exp.Detach, exp.Drop, exp.Alter,
)  # fmt: skip

# Rows come in any order, so what these give is chance unless they are told an order.
_NEED_ORDER: dict[type[exp.Expr], str] = {
    exp.ArrayAgg: "list", exp.GroupConcat: "string_agg", exp.First: "first", exp.Last: "last",
    exp.AnyValue: "any_value",
}  # fmt: skip
_NEED_ORDER_BY_NAME = ("arbitrary", "group_concat")
# Of rows that tie these take any, and nothing says which.
_TIES: dict[type[exp.Expr], str] = {exp.ArgMax: "arg_max", exp.ArgMin: "arg_min", exp.Mode: "mode"}
_TIES_BY_NAME = ("arg_max_null", "arg_min_null")
ALWAYS_REFUSED = (*_TIES.values(), *_TIES_BY_NAME)


def check_portable(tree: exp.Expr, text: Located) -> None:
    """Refuse what has no repeatable, engine-neutral meaning.

    Raises: PlanError E_SQL_FORBIDDEN at the function's place.
    """
    for node in tree.walk():
        if isinstance(node, _FORBIDDEN_NODES) and not isinstance(node, exp.Query):
            raise _forbidden(node.key.upper(), "a step is a SELECT and nothing else", text)
        if isinstance(node, exp.Func | exp.Table):
            name = _function_name(node)
            if name in FORBIDDEN:
                raise _forbidden(f"{name}()", FORBIDDEN[name], text)
            _check_order(node, name, text)


def check_limit(node: exp.Query, text: Located) -> None:
    """Refuse rows of a step that are cut off in no order: which ones are left is chance.

    Raises: PlanError E_LIMIT_ORDER at the limit's place.
    """
    cut = node.args.get("limit") or node.args.get("offset")
    if cut is not None and node.args.get("order") is None and cut.expression != exp.Literal.number(0):
        raise PlanError(
            "E_LIMIT_ORDER",
            f"a query has {'a limit' if isinstance(cut, exp.Limit) else 'an offset or fetch'} and no order",
            at=word_span(cut.key, [text]) or text.at,
            hint="say which rows come first: `order by column`",
        )


def _check_order(node: exp.Expr, name: str, text: Located) -> None:
    """Refuse an aggregate whose answer depends on the order of rows, where no order is given."""
    ties = _TIES.get(type(node)) or (name if name in _TIES_BY_NAME else None)
    if ties is not None:
        hint = "of rows that tie, which one is chance; write first(x order by …) with an order that decides"
        raise _forbidden(f"{ties}()", hint, text, node)
    needs = _NEED_ORDER.get(type(node)) or (name if name in _NEED_ORDER_BY_NAME else None)
    if needs is not None and not _is_ordered(node):
        hint = f"rows come in any order; write {needs}(x order by …)"
        raise _forbidden(f"{needs}()", hint, text, node)


def _is_ordered(node: exp.Expr) -> bool:
    if node.find(exp.Order) is not None:
        return True
    around = node.parent
    while isinstance(around, exp.IgnoreNulls | exp.RespectNulls | exp.Filter | exp.WithinGroup):
        if isinstance(around, exp.WithinGroup):
            return True
        around = around.parent
    # A named window is seen where it is defined, and may have an order there.
    return isinstance(around, exp.Window) and (around.args.get("order") or around.args.get("alias")) is not None


def _function_name(node: exp.Expr) -> str:
    if isinstance(node, exp.Table):
        return "read_text" if isinstance(node.this, exp.Literal) else ""
    if isinstance(node, exp.Anonymous):
        return str(node.this).lower()
    return str(node.sql_name()).lower() if isinstance(node, exp.Func) else ""


def _forbidden(what: str, why: str, text: Located, node: exp.Expr | None = None) -> PlanError:
    names = [what.removesuffix("()"), *(node.sql_names() if isinstance(node, exp.Func) else ())]
    spans = (word_span(name, [text]) for name in names)
    at = next((span for span in spans if span is not None), None) or text.at
    return PlanError("E_SQL_FORBIDDEN", f"{what} cannot stand in a step", at=at, hint=why)
