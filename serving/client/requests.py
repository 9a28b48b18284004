"""Requests of each kind, as generators that give requests, take replies and return answers; input and output apart."""

from __future__ import annotations

import base64
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import quote, urlencode

import orjson

from serving.client.answers import ARROW, JSON, Answer, Reply, answer_of, json_of
from serving.client.attempts import Request
from serving.client.errors import BadAnswer, VersionUnavailable

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
Call = Generator[Request, Reply, Answer[T]]
Row = dict[str, Any]  # Any: a value of a column, as JSON has it
Key = Any  # Any: a value of the key's only column, or a sequence of one value a column
Missing = Literal["null", "omit", "error"]
BATCH_KEYS, BATCH_BYTES = 1000, 900_000


def parts(key: Key) -> tuple[Any, ...]:  # Any: values of the key's columns
    """A key as one value a column."""
    return tuple(key) if isinstance(key, tuple | list) else (key,)


def segment(key: Key) -> str:
    """A key as a URL's path segment."""
    return ",".join(quote(_text(part), safe="") for part in parts(key))


def row(table: str, key: Key, *, columns: Sequence[str] | None, version: int | None) -> Call[Row]:
    """One row."""
    options = _query(columns=",".join(columns) if columns is not None else None, version=version)
    reply = yield Request("GET", f"/v1/tables/{quote(table)}/rows/{segment(key)}{options}", JSON)
    return answer_of(reply, _typed(json_of(reply), dict, reply))


def rows(
    table: str, keys: Sequence[Key], *, columns: Sequence[str] | None, version: int | None, missing: Missing
) -> Call[list[Row | None]]:
    """Rows by key as JSON has them, in the order of the keys; in requests of at most `BATCH_KEYS`, of one version."""
    replies = yield from _batches(table, keys, JSON, version, {"columns": columns, "missing": missing})
    found = [each for reply in replies for each in _rows(reply)]
    return answer_of(replies[0], found)


def rows_arrow(
    table: str, keys: Sequence[Key], *, columns: Sequence[str] | None, version: int | None, missing: Missing
) -> Call[pa.Table]:
    """As `rows`, as one Arrow table with the columns' own types."""

    replies = yield from _batches(table, keys, ARROW, version, {"columns": columns, "missing": missing})
    return answer_of(replies[0], _concatenated([_arrow(reply) for reply in replies]))


def _batches(
    table: str,
    keys: Sequence[Key],
    accept: str,
    version: int | None,
    options: Mapping[str, Any],  # Any: JSON
) -> Generator[Request, Reply, list[Reply]]:
    """Replies of all batches; the first one's version is asked for by the others.

    Where that version retires meanwhile, all is asked for once more.
    """
    for is_last in (False, True):
        replies: list[Reply] = []
        asked = version
        try:
            for part in split(keys):
                replies.append((yield _batch(table, part, accept, asked, options)))
                asked = answer_of(replies[0], None).version if asked is None else asked
        except VersionUnavailable:
            if is_last or version is not None or not replies:
                raise
        else:
            return replies
    return []


def _batch(
    table: str,
    part: Sequence[Any],
    accept: str,
    version: int | None,
    options: Mapping[str, Any],  # Any: JSON
) -> Request:
    said = {"keys": part, "version": version, **options}
    body = orjson.dumps({name: value for name, value in said.items() if value is not None})
    return Request("POST", f"/v1/tables/{quote(table)}/rows:batchGet", accept, body)


def split(keys: Sequence[Key]) -> list[list[Any]]:  # Any: JSON
    """Keys as JSON has them, in parts that a server takes; one empty part for no keys."""
    made: list[list[Any]] = [[]]  # Any: JSON
    size = 0
    for key in keys:
        values = [_json(part) for part in parts(key)]
        size += len(orjson.dumps(values)) + 1
        if len(made[-1]) >= BATCH_KEYS or (made[-1] and size > BATCH_BYTES):
            made.append([])
            size = 0
        made[-1].append(values)
    return made


def index(table: str, name: str, key: Key, accept: str, options: Mapping[str, Any]) -> Call[Any]:
    """One page of an index's rows, as a list or an Arrow table."""  # Any: JSON
    columns = options.get("columns")
    given = _query(**{**options, "columns": ",".join(columns) if columns is not None else None})
    reply = yield Request("GET", f"/v1/tables/{quote(table)}/by/{quote(name)}/{segment(key)}{given}", accept)
    if accept == ARROW:
        cursor = reply.headers.get("x-next-cursor")
        return answer_of(reply, _arrow(reply), next_cursor=cursor, truncated=cursor is not None)
    return _list(reply)


def filtered(table: str, said: Mapping[str, Any], accept: str) -> Call[Any]:  # Any: JSON; rows or an Arrow table
    """Rows of a table that fulfil conditions."""
    body = orjson.dumps({name: value for name, value in said.items() if value is not None}, default=_json)
    reply = yield Request("POST", f"/v1/tables/{quote(table)}:filter", accept, body)
    return answer_of(reply, _arrow(reply)) if accept == ARROW else _list(reply)


def query(said: Mapping[str, Any], accept: str) -> Call[Any]:  # Any: JSON; rows or an Arrow table
    """Rows of a statement of SQL."""
    body = orjson.dumps({name: value for name, value in said.items() if value is not None}, default=_json)
    reply = yield Request("POST", "/v1/query", accept, body)
    return answer_of(reply, _arrow(reply)) if accept == ARROW else _list(reply)


def scan(table: str, *, columns: Sequence[str] | None, version: int | None, from_key: Key, to_key: Key) -> Request:
    """All rows in the order of the key, from `from_key` on and below `to_key`."""
    options = _query(
        columns=",".join(columns) if columns is not None else None,
        version=version,
        from_key=segment(from_key) if from_key is not None else None,
        to_key=segment(to_key) if to_key is not None else None,
    )
    return Request("GET", f"/v1/tables/{quote(table)}/scan{options}", ARROW, is_streamed=True)


def told(path: str) -> Call[Row]:
    """A document about tables; that of one table names its version."""
    reply = yield Request("GET", path, JSON)
    document = _typed(json_of(reply), dict, reply)
    answer: Answer[Row] = answer_of(reply, document)
    return answer if answer.version is not None else replace(answer, version=document.get("version"))


# --- values ----------------------------------------------------------------------------------------------------------


def _query(**options: str | int | None) -> str:
    given = {name: value for name, value in options.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""


def _text(value: Any) -> str:  # Any: a value of a key's column
    told = _json(value)
    return str(told).lower() if isinstance(told, bool) else str(told)


def _json(value: Any) -> Any:  # Any: a value of a column; JSON
    """A value as the server's JSON has it: decimals as text, times RFC 3339, binaries base64."""
    if isinstance(value, datetime):
        utc = value.astimezone(timezone.utc).replace(tzinfo=None) if value.tzinfo is not None else value
        return utc.isoformat() + ("Z" if value.tzinfo is not None else "")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    item = getattr(value, "item", None)  # NumPy's and torch's scalars have it
    return item() if item is not None and not isinstance(value, str | int | float) else value


def _rows(reply: Reply) -> list[Any]:  # Any: JSON
    found = _typed(json_of(reply), dict, reply).get("rows")
    made: list[Any] = _typed(found, list, reply)  # Any: JSON
    return made


def _list(reply: Reply) -> Answer[list[Row]]:
    document = _typed(json_of(reply), dict, reply)
    cursor = document.get("next_cursor")
    return answer_of(reply, _rows(reply), next_cursor=cursor, truncated=bool(document.get("truncated")))


def _typed(value: Any, kind: type, reply: Reply) -> Any:  # Any: JSON
    if not isinstance(value, kind):
        raise BadAnswer("bad_answer", f"the answer is no {kind.__name__}", status=reply.status)
    return value


def _arrow(reply: Reply) -> pa.Table:
    import pyarrow as pa

    try:
        return pa.ipc.open_stream(reply.body).read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise BadAnswer("bad_answer", "the answer is no Arrow stream", status=reply.status) from error


def _concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of one version, of which only some may be null where rows are missing."""
    import pyarrow as pa

    return pa.concat_tables(tables, promote_options="default")
