"""Rows as pandas frames. Needs pandas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlplatform.errors import UsageError
from serving.client.requests import Key, parts

if TYPE_CHECKING:
    import pandas as pd

    from serving.client.client import Client


def frame(
    client: Client, table: str, keys: Sequence[Key], *, columns: Sequence[str] | None = None, version: int | None = None
) -> pd.DataFrame:
    """One row for each key in the keys' order, all of one version; a key without a row has nulls.

    The index holds the keys as they were given, so a frame of look-ups joins by position or by key.
    `attrs` has `version` and `cache`. Columns that may be null have pandas' nullable types: whole numbers stay whole.
    Raises: ServingError.
    """

    answer = client.get_many(table, keys, columns=columns, version=version, format="arrow")
    made: pd.DataFrame = answer.value.to_pandas(types_mapper=_nullable().get)
    made.index = _index(keys)
    made.attrs.update(version=answer.version, cache=answer.cache)
    return made


def joined(
    client: Client, rows: pd.DataFrame, table: str, *, on: Sequence[str], columns: Sequence[str] | None = None,
    version: int | None = None,
) -> pd.DataFrame:  # fmt: skip
    """`rows` with a table's columns beside them, looked up by the columns `on`; order, index and duplicates stay.

    Raises: UsageError: for a column that is in both; ServingError.
    """
    keys = [tuple(key) for key in rows[list(on)].itertuples(index=False, name=None)]
    found = frame(client, table, keys, columns=columns, version=version).drop(columns=list(on), errors="ignore")
    twice = [name for name in found.columns if name in rows.columns]
    if twice:
        raise UsageError("E_USAGE", f"columns of both: {', '.join(twice)}", hint="rename yours, or name columns=…")
    return rows.assign(**{name: found[name].array for name in found.columns})


def _index(keys: Sequence[Key]) -> pd.Index:
    import pandas as pd

    every = [parts(key) for key in keys]
    is_plain = all(len(key) == 1 for key in every)
    made: pd.Index = pd.Index([key[0] for key in every]) if is_plain else pd.MultiIndex.from_tuples(every)
    return made


def _nullable() -> dict[object, object]:
    import pandas as pd
    import pyarrow as pa

    return {
        pa.int8(): pd.Int8Dtype(),
        pa.int16(): pd.Int16Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }
