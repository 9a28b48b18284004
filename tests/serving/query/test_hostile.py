"""Hostile SQL: refused by the check, and harmless where it reaches a session all the same."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from serving.http.errors import ApiError
from serving.query.check import Parser, bound
from serving.query.sessions import Session, SessionLimits
from tests.serving.query.packs import source

SECRET = "a text that no answer may show"

# Each construct, and what a session does with it: refuse it, or run it without harm.
WRITES = [
    "insert into {t} (id) values (-1)",
    "update {t} set id = 1",
    "delete from {t}",
    "drop table {t}",
    "alter table {t} add column z int",
    "create table z as select 1",
    "create table {db}.z as select 1",
    "create view z as select 1",
    "create schema z",
    "create sequence z",
    "create macro z() as 1",
    "create type z as enum ('a')",
    "create index z on {t} (id)",
    "create or replace table {t} as select 1",
    "comment on table {t} is 'x'",
    "merge into {t} using (select 1 as id) s on s.id = {t}.id when matched then delete",
    "with q as (insert into {t} (id) values (-1) returning *) select * from q",
    "with q as (delete from {t} returning *) select * from q",
    "truncate {t}",
]
FILES = [
    "select * from read_csv('{secret}')",
    "select * from read_text('{secret}')",
    "select * from read_blob('{secret}')",
    "select * from read_json('{secret}')",
    "select * from parquet_scan('{secret}')",
    "select * from '{secret}'",
    "select * from glob('{folder}/*')",
    "select * from sniff_csv('{secret}')",
    "select * from read_duckdb('{other}')",
    "copy (select 1) to '{folder}/new.csv'",
    "copy {t} from '{secret}'",
    "export database '{folder}/exported'",
    "import database '{folder}'",
    "attach '{other}' as other",
    "attach '{folder}/new.duckdb' as other",
    "attach ':memory:' as other",
    "install httpfs",
    "load '{folder}/x.duckdb_extension'",
    "select * from 'http://127.0.0.1:{port}/x.csv'",
    "select * from read_csv('http://127.0.0.1:{port}/x.csv')",
    "select * from query_table('{secret}')",
    "select * from query('select * from read_text(''{secret}'')')",
    "create secret s (type s3, key_id 'a')",
    "pragma import_database('{folder}')",
]
SETTINGS = [
    "set threads = 8",
    "set memory_limit = '100GB'",
    "set enable_external_access = true",
    "set lock_configuration = false",
    "set temp_directory = '{folder}/elsewhere'",
    "reset memory_limit",
    "pragma enable_profiling = 'json'",
    "pragma profiling_output = '{folder}/profile.json'",
    "set python_enable_replacements = true",
    "set log_query_path = '{folder}/log'",
    "set profiling_output = '{folder}/profile'",
    "pragma disable_checkpoint_on_shutdown",
]
# What DuckDB itself does without harm: nothing of it leaves the cursor, or shows another tenant's data.
HARMLESS = [
    "create temp table z as select 1",
    "create temp view z as select 1",
    "prepare z as select 1",
    "set variable z = 1",
    "checkpoint",
    "force checkpoint",
    "begin",
    "vacuum",
    "analyze",
    "explain select 1",
    "explain analyze select 1",
    "call pragma_version()",
    "pragma database_list",
    "select * from duckdb_settings()",
    "select * from duckdb_databases()",
    "select * from query('select 1')",
    "select * from range(10)",
    "select write_log('x')",
    "select current_setting('temp_directory')",
    "select getvariable('x')",
    "select version()",
    "select nextval('x')",
    "select current_user",
    "select now()",
    "select random()",
    "show tables",
    "describe {t}",
    "summarize {t}",
    "show databases",
    "pivot {t} on name using count(*)",
    "select * from {t} pivot (count(*) for name in ('a'))",
    "select * from {t} unpivot (a for b in (id))",
    "select * from {t} tablesample 10%",
    "with recursive q as (select 1 as n from {t} union all select n + 1 from q) select * from q",
    "select * from {t} a, {t} b",
    "select * from {t} a cross join {t} b",
    "select * from {t} a join {t} b on true",
    "select * from {t} positional join {t} b",
    "select repeat('x', 10) from {t}",
    "select * from {t} at (version => 1)",
    "select 1",
    "values (1)",
    "select * from (values (1)) v(a)",
    "execute z",
    "deallocate z",
    "use {db}",
    "select columns('.*') from {t}",
    "select id from {t} union select id from {t}",
    "select id from {t} except select id from {t}",
    "select id from {t} limit 10%",
    "select 1; select 2",
    "select id from {t}; drop table {t}",
    "select * from a.b.c.d",
    "select system.main.version() from {t}",
    "select ? from {t}",
    "select $1 from {t}",
    "select",
    "select \x00",
]


class Place:
    """A session over one table, with a file beside it that it must not read and a port that it must not call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        secret = folder / "secret.txt"
        secret.write_text(SECRET)
        with duckdb.connect(str(folder / "other.duckdb")) as connection:
            connection.execute(f"create table rows as select '{SECRET}' as secret")
        self.source = source(folder)
        self.session = Session([self.source], SessionLimits(256 * 2**20, _made(folder / "spill")))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(0)
        self.names = {
            "t": ".".join(self.session.paths["t.rows"]), "db": self.session.paths["t.rows"][0], "secret": str(secret),
            "other": str(folder / "other.duckdb"), "folder": str(folder),
            "port": str(self.listener.getsockname()[1]),
        }  # fmt: skip

    def files(self) -> dict[str, bytes]:
        """All files beside the spill folder, with their bytes."""
        return {
            str(path): path.read_bytes() for path in self.folder.rglob("*")
            if path.is_file() and "spill" not in path.parts
        }  # fmt: skip

    def was_called(self) -> bool:
        """Whether anybody connected to the port."""
        try:
            self.listener.accept()
        except BlockingIOError:
            return False
        return True


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("hostile"))
    yield made
    made.session.close()
    made.listener.close()


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    made = Parser()
    yield made
    made.close()


def said(text: str, place: Place) -> str:
    for name, value in place.names.items():
        text = text.replace("{" + name + "}", value)
    return text


@pytest.mark.parametrize("text", [*WRITES, *FILES, *SETTINGS, *HARMLESS, "", ";", "-- nothing"])
def test_the_check_refuses(parser: Parser, place: Place, text: str) -> None:
    with pytest.raises(ApiError) as caught:
        parser.check(said(text, place).replace(place.names["t"], "t.rows"))
    assert caught.value.code in ("sql_not_allowed", "sql_error")


@pytest.mark.parametrize("text", [*WRITES, *FILES, *SETTINGS])
def test_a_session_refuses_without_the_check(place: Place, text: str) -> None:
    before = place.files()
    cursor = place.session.cursor()
    with pytest.raises(duckdb.Error):
        cursor.execute(said(text, place)).fetchall()
    cursor.close()
    assert place.files() == before
    assert not place.was_called()
    assert place.session.is_sound()


CATALOGUES = ["information_schema.tables", "sqlite_master", "pg_catalog.pg_tables", "duckdb_tables", "main.rows",
              "p0.main.rows", "session0.main.rows"]  # fmt: skip


@pytest.mark.parametrize("name", CATALOGUES)
def test_names_of_the_catalogue_are_names_of_published_tables_only(parser: Parser, name: str) -> None:
    checked = parser.check(f"select * from {name}")
    with pytest.raises(KeyError):
        bound(checked, {}, 10)


@pytest.mark.parametrize("text", [*HARMLESS, *(f"select * from {name}" for name in CATALOGUES)])
def test_what_a_session_runs_leaves_nothing_behind(place: Place, text: str) -> None:
    before = place.files()
    cursor = place.session.cursor()
    try:
        shown = str(cursor.execute(said(text, place)).fetchmany(100))
    except (duckdb.Error, ValueError):
        shown = ""
    cursor.close()
    assert SECRET not in shown
    assert place.files() == before
    again = place.session.cursor()
    with pytest.raises(duckdb.Error):  # no temporary table or view of another cursor
        again.execute("select * from z")
    assert again.execute(f"select count(*) from {place.names['t']}").fetchall() == [(200,)]


def test_python_objects_are_no_tables(place: Place) -> None:
    import pyarrow as pa

    outside = pa.table({"a": [SECRET]})
    with pytest.raises(duckdb.Error):
        place.session.cursor().sql("select * from outside").fetchall()
    assert outside.num_rows == 1


@pytest.mark.parametrize(
    ("text", "construct"),
    [
        ("select " + "(" * 50 + "1" + ")" * 50 + " + 1 from t.rows", None),
        ("select " + "not " * 70 + "flag from t.rows", "nesting"),
        ("select " + "not " * 1500 + "flag from t.rows", "nesting"),
        ("select * from " + "(select * from " * 8 + "t.rows" + ")" * 8, "nesting"),
        ("select * from " + "(select * from " * 7 + "t.rows" + ")" * 7, None),
        ("select * from t.rows a" + "".join(f" join t.rows b{n} using (id)" for n in range(5)), "joins"),
        ("select * from t.rows a" + "".join(f" join t.rows b{n} using (id)" for n in range(4)), None),
        ("select " + "+".join(f"$p{n}" for n in range(50)) + " from t.rows", None),
        ("select " + ",".join(f"$p{n}" for n in range(101)) + " from t.rows", "parameters"),
        ("select '" + "x" * 17_000 + "' from t.rows", "a text of 17021 bytes"),
        ("select list_transform(tags, x -> x) from t.rows", "lambda with syntax type SINGLE_ARROW"),
        ("select name -> 'a' from t.rows", "lambda with syntax type SINGLE_ARROW"),
    ],
)
def test_bounds_of_a_text(parser: Parser, text: str, construct: str | None) -> None:
    if construct is None:
        assert parser.check(text).tables == ("t.rows",)
        return
    with pytest.raises(ApiError) as caught:
        parser.check(text)
    assert (caught.value.status, caught.value.details) == (422, {"construct": construct})


def test_texts_that_mean_the_same_have_one_key(parser: Parser) -> None:
    texts = ["select id from t.rows where id = $a", "SELECT  id\nFROM t.rows -- x\nWHERE id=$a;"]
    assert len({parser.check(text).key for text in texts}) == 1
    assert parser.check("select id from t.rows where id = $b").key != parser.check(texts[0]).key


def test_names_given_by_with_hide_tables_only_where_they_stand(parser: Parser) -> None:
    text = "select * from (with q as (select 1 as a from t.rows) select * from q) x join q y on x.a = y.a"
    assert parser.check(text).tables == ("q", "t.rows")
    assert parser.check("with Q as (select 1 as a from t.rows) select * from q").tables == ("t.rows",)
