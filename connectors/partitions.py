"""Partition keys in folder names, as Hive writes them: `day=2013-01-01/part.parquet`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from mlplatform.errors import PlanError, SourceError, Span, listed, repr_name
from mlplatform.types import DataType, to_duckdb

NULL = "__HIVE_DEFAULT_PARTITION__"

Partition = tuple[tuple[str, str | None], ...]


def partition_of(uri: str, base: str) -> Partition:
    """The (key, text) pairs of the folders of `uri` below `base`; text is percent-decoded, None for Hive's null.

    >>> partition_of("/data/day=2013-01-01/place=a%3Ab/x.csv", "/data")
    (('day', '2013-01-01'), ('place', 'a:b'))
    """
    folders = uri[len(base) :].strip("/").split("/")[:-1]
    pairs = (folder.split("=", 1) for folder in folders if "=" in folder and not folder.startswith("="))
    return tuple((unquote(key), None if text == NULL else unquote(text)) for key, text in pairs)


def same_keys(uris: Sequence[str], partitions: Sequence[Partition], *, at: Span | None) -> tuple[str, ...]:
    """The keys that all files share, in order.

    Raises: SourceError E_PARTITION when two files differ in their keys, or one names a key twice.
    """
    if not uris:
        return ()
    keys = tuple(key for key, _ in partitions[0])
    if len({key.lower() for key in keys}) < len(keys):
        raise SourceError(
            "E_PARTITION", f"{uris[0]} has a partition key twice", at=at, hint="set hive_partitions: false"
        )
    for uri, partition in zip(uris, partitions, strict=True):
        here = tuple(key for key, _ in partition)
        if here != keys:
            raise SourceError(
                "E_PARTITION",
                f"{uri} and {uris[0]} have different partition keys",
                at=at,
                hint="set `hive_partitions: false`, or read them as two sources",
                notes=[f"keys: {listed(here) or 'none'} and {listed(keys) or 'none'}"],
            )
    return keys


def check_values(
    uris: Sequence[str], partitions: Sequence[Partition], types: Mapping[str, DataType], *, at: Span | None
) -> None:
    """Refuse partition texts that their declared type does not hold.

    Raises: PlanError E_PARTITION naming file, key and type.
    """
    for key in (key for key, kind in types.items() if str(kind) != "string"):
        texts = {dict(pairs)[key]: uri for uri, pairs in zip(uris, partitions, strict=True)}
        for text in _misfits([text for text in texts if text is not None], to_duckdb(types[key])):
            raise PlanError(
                "E_PARTITION",
                f"{texts[text]}: partition key {repr_name(key)} is no {types[key]} there",
                at=at,
                hint=f"set `partition_types: {{{key}: string}}`",
            )


def _misfits(texts: list[str], duckdb_type: str) -> list[str]:
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        given = connection.sql("select unnest($texts::varchar[]) as text", params={"texts": texts})
        try:
            given.select(duckdb.ColumnExpression("text").cast(duckdb.sqltype(duckdb_type))).fetchall()
        except duckdb.Error:
            return texts if len(texts) == 1 else [bad for text in texts for bad in _misfits([text], duckdb_type)]
    return []
