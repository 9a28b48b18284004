"""CSV files, from the text to typed rows or to an error that names file and line."""

from __future__ import annotations

import gzip
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mlplatform.spec.located import Located
from tests.services.files_reading import failing, opened, read, rows_of


def write(folder: Path, name: str, text: str | bytes) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.mark.parametrize(
    ("values", "kind", "first"),
    [
        (["1", "-2", "+3"], "bigint", 1),
        (["9223372036854775807", "9223372036854775808"], "decimal(38,0)", Decimal(9223372036854775807)),
        (["1" * 39], "string", "1" * 39),
        (["007", "012"], "string", "007"),
        (["0", "10"], "bigint", 0),
        (["1.5", "2", "1e3", ".5"], "double", 1.5),
        (["1.5", "nan", "-inf"], "double", 1.5),
        (["nan"], "string", "nan"),
        (["1e400"], "string", "1e400"),
        (["true", "FALSE"], "boolean", True),
        (["2013-01-31", "2000-02-29"], "date", date(2013, 1, 31)),
        (["2013-01-31", "2013-02-30"], "string", "2013-01-31"),
        (["2013-01-31 05:00", "2013-01-31T05:00:00.5"], "timestamp_ntz", datetime(2013, 1, 31, 5)),
        (["2013-01-31", "2013-01-31 05:00:00"], "timestamp_ntz", datetime(2013, 1, 31)),
        (["2013-01-31T05:00:00Z", "2013-01-31 07:00:00+02:00"], "timestamp",
         datetime(2013, 1, 31, 5, tzinfo=timezone.utc)),
        (["2013-01-31 05:00:00.1234560"], "timestamp_ntz", datetime(2013, 1, 31, 5, 0, 0, 123456)),
        (["2013-01-31 05:00:00.1234567"], "string", "2013-01-31 05:00:00.1234567"),
        (["05:00:00"], "string", "05:00:00"),
        (["", ""], "string", None),
        (["1", ""], "bigint", 1),
        (["NA", "1"], "string", "NA"),
        (["x"], "string", "x"),
    ],
)  # fmt: skip
def test_a_column_gets_the_narrowest_type_that_holds_all_its_values(
    tmp_path: Path, values: list[str], kind: str, first: Any
) -> None:
    write(tmp_path, "a.csv", "id,v\n" + "".join(f"{i},{value}\n" for i, value in enumerate(values)))
    types, rows = read(tmp_path, "a.csv")
    assert types == {"id": "bigint", "v": kind}
    assert rows[0] == (0, first)


def test_an_empty_field_is_null_and_a_quoted_one_is_text(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", 'id,a\n1,\n2,""\n3,NA\n4,"NA"\n')
    assert read(tmp_path, "a.csv", null_values=("", "NA"))[1] == [(1, None), (2, ""), (3, None), (4, "NA")]
    assert read(tmp_path, "a.csv", null_values=("NA",))[1] == [(1, ""), (2, ""), (3, None), (4, "NA")]


def test_plan_says_which_word_made_a_column_text(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "a,b\n1,x\nNA,NA\n")
    facts = opened(tmp_path, "a.csv").facts
    assert facts["dialect"] == "delimiter ',' quote '\"' header yes nulls ''"
    assert facts["text because of"] == "NA; `null_values: ['', 'NA']` would type a (bigint)"
    assert "text because of" not in opened(tmp_path, "a.csv", schema={"a": "string"}).facts


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("a;b\n1,5;x\n", "delimiter ';'"),
        ("a\tb\n1\t2\n", "delimiter '\\t'"),
        ("a|b\n1|2\n", "delimiter '|'"),
        ("a,b\n'x,1',2\n'y',3\n", 'quote "\'"'),
        ("a\n1\n2\n", "delimiter ','"),
        ("1,2\n3,4\n", "header no"),
        ("2013-01-01,x\n", "header no"),
    ],
)
def test_the_dialect_is_found(tmp_path: Path, text: str, fact: str) -> None:
    write(tmp_path, "a.csv", text)
    assert fact in opened(tmp_path, "a.csv").facts["dialect"]


def test_without_a_header_columns_are_numbered_or_named_by_the_schema(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "1,x\n2,y\n")
    assert read(tmp_path, "a.csv") == ({"column0": "bigint", "column1": "string"}, [(1, "x"), (2, "y")])
    assert read(tmp_path, "a.csv", schema={"id": "int", "name": "string"}) == (
        {"id": "int", "name": "string"},
        [(1, "x"), (2, "y")],
    )


def test_given_options_win(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "a note\n01/02/2013|31.12.2013 05:06\n")
    types, rows = read(
        tmp_path, "a.txt", format="csv", delimiter="|", header=False, skip=1,
        date_format="%d/%m/%Y", timestamp_format="%d.%m.%Y %H:%M",
    )  # fmt: skip
    assert types == {"column0": "date", "column1": "timestamp_ntz"}
    assert rows == [(date(2013, 2, 1), datetime(2013, 12, 31, 5, 6))]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("ends_file", [True, False])
def test_every_kind_of_line_end_is_read(tmp_path: Path, end: str, ends_file: bool) -> None:
    lines = ["a,b", "1,x", '2,"y"', "3,z"]
    write(tmp_path, "a.csv", end.join(lines) + (end if ends_file else ""))
    assert read(tmp_path, "a.csv")[1] == [(1, "x"), (2, "y"), (3, "z")]


def test_line_ends_of_both_kinds_are_read_after_a_full_check(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", 'a,b\r\n1,x\r\n2,"y\nz"\n')
    assert read(tmp_path, "a.csv")[1] == [(1, "x"), (2, "y\nz")]
    assert "line ends mixed" in opened(tmp_path, "a.csv").facts["dialect"]
    write(tmp_path, "b.csv", "a,b\r\n1,x\r\n2,y,z\n")
    error = failing(tmp_path, "b.csv")
    assert (error.code, "b.csv:3: the line has 3 fields" in error.message) == ("E_CSV", True)


def test_lines_of_one_field_must_end_alike(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "a\n1\r\n2\r\n")
    assert failing(tmp_path, "a.csv").code == "E_CSV"


def test_a_bare_carriage_return_behind_the_header_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "a,b\n\r1,x\n")
    assert failing(tmp_path, "a.csv").code == "E_CSV"


def test_quoted_line_ends_do_not_make_a_file_mixed(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", 'a,b\r\n1,"x\ny"\r\n')
    stream = opened(tmp_path, "a.csv")
    assert rows_of(stream.scan) == [(1, "x\ny")]


# --- files together -----------------------------------------------------------------------------------


def test_columns_in_another_order_are_matched_by_name(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "a,b,c\n1,x,true\n")
    write(tmp_path, "b.csv", "c,A,b\nfalse,2,y\n")
    write(tmp_path, "c.csv", "")
    types, rows = read(tmp_path, "*.csv")
    assert types == {"a": "bigint", "b": "string", "c": "boolean"}
    assert rows == [(1, "x", True), (2, "y", False)]


def test_types_hold_for_all_files(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "a\n1\n")
    write(tmp_path, "b.csv", "a\n1.5\n")
    assert read(tmp_path, "*.csv") == ({"a": "double"}, [(1.0,), (1.5,)])


def test_files_with_different_columns_are_an_error_that_names_both(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "a,b\n1,2\n")
    write(tmp_path, "b.csv", "a,c\n1,2\n")
    error = failing(tmp_path, "*.csv")
    assert error.code == "E_COLUMN_MISSING"
    assert error.message == f"{tmp_path}/b.csv and {tmp_path}/a.csv have different columns"
    assert error.notes == (f"only in {tmp_path}/b.csv: c", f"only in {tmp_path}/a.csv: b")


def test_a_header_alone_is_no_rows(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "a,b\n")
    assert read(tmp_path, "a.csv") == ({"a": "string", "b": "string"}, [])
    assert read(tmp_path, "a.csv", schema={"b": "double"}) == ({"a": "string", "b": "double"}, [])


def test_an_empty_file_takes_the_columns_of_the_others_or_of_the_schema(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "")
    assert failing(tmp_path, "a.csv").hint == "declare `schema: {column: type, …}`"
    assert read(tmp_path, "a.csv", schema={"a": "int"}) == ({"a": "int"}, [])
    write(tmp_path, "b.csv", "a\n1\n")
    assert read(tmp_path, "*.csv") == ({"a": "bigint"}, [(1,)])
    assert opened(tmp_path, "*.csv").facts["empty files"] == "1"


def test_an_empty_file_may_be_compressed(tmp_path: Path) -> None:
    write(tmp_path, "a.csv.gz", gzip.compress(b""))
    assert failing(tmp_path, "a.csv.gz").code == "E_CSV"
    assert read(tmp_path, "a.csv.gz", schema={"a": "int"})[1] == []


# --- declared schema ------------------------------------------------------------------------------------


def test_declared_types_win_for_their_columns(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "a,b,c,d,e\n1,2,3.10,2013-01-01 05:00:00,00ff\n")
    types, rows = read(
        tmp_path, "a.csv",
        schema={"A": "string", "c": "decimal(6,2)", "d": "timestamp", "e": "binary"},
    )  # fmt: skip
    assert types == {"a": "string", "b": "bigint", "c": "decimal(6,2)", "d": "timestamp", "e": "binary"}
    assert rows == [("1", 2, Decimal("3.10"), datetime(2013, 1, 1, 5, tzinfo=timezone.utc), b"\0\xff")]


def test_an_unknown_declared_column_is_an_error_at_its_place(tmp_path: Path) -> None:
    from mlplatform.errors import Span

    write(tmp_path, "a.csv", "origin,b\n1,2\n")
    name = Located("origni", Span("x.yaml", 3, 7))
    error = failing(tmp_path, "a.csv", schema={name: "string"})
    assert (error.code, error.at, error.hint) == ("E_COLUMN_MISSING", name.at, 'did you mean "origin"?')


@pytest.mark.parametrize(
    ("kind", "value", "what"),
    [
        ("int", "1.5", "a number with a fraction or exponent, which is no int"),
        ("int", "secret", "text, which is no int"),
        ("int", "3000000000", "a whole number, which is no int"),
        ("bigint", "2013-01-01", "a date or time, which is no bigint"),
        ("decimal(4,2)", "1.239", "a number with a fraction or exponent, which is no decimal(4,2)"),
        ("timestamp", "2013-01-01 00:00:00.1234567", "a date or time, which is no timestamp"),
        ("timestamp_ntz", "soon", "text, which is no timestamp_ntz"),
        ("binary", "xyz", "text, which is no binary"),
    ],
)
def test_a_value_that_would_change_is_refused(tmp_path: Path, kind: str, value: str, what: str) -> None:
    write(tmp_path, "a.csv", f"a,b\n,1\n{value},2\n")
    error = failing(tmp_path, "a.csv", schema={"a": kind})
    assert (error.code, error.message) == ("E_CAST", f'{tmp_path}/a.csv: row 2, column "a" holds {what}')
    assert value not in error.render()


@pytest.mark.parametrize(("kind", "value"), [("double", "x"), ("date", "2013-02-30"), ("boolean", "maybe")])
def test_a_value_that_duckdb_refuses_is_named_by_line(tmp_path: Path, kind: str, value: str) -> None:
    write(tmp_path, "a.csv", f"a,b\n,1\n{value},2\n")
    error = failing(tmp_path, "a.csv", schema={"a": kind})
    assert error.code == "E_CAST"
    assert error.message.startswith(f'{tmp_path}/a.csv:3: column "a" holds ')
    assert "declare `schema: {a: string}`" in str(error.hint)


def test_whole_numbers_may_be_written_with_a_point(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "a\n1.0\n2.\n")
    assert read(tmp_path, "a.csv", schema={"a": "smallint"})[1] == [(1,), (2,)]


def test_a_value_beyond_the_sample_that_breaks_the_type_is_an_error(tmp_path: Path) -> None:
    rows = [f"{i},{'x' * 40}" for i in range(200_000)]
    rows[150_000] = "1.5," + "x" * 40
    write(tmp_path, "a.csv", "a,b\n" + "\n".join(rows) + "\n")
    assert opened(tmp_path, "a.csv").facts["types from"] == "a sample"
    error = failing(tmp_path, "a.csv")
    assert error.code == "E_CAST"
    assert error.message.startswith(f'{tmp_path}/a.csv: row 150001, column "a" holds a number with a fraction')


def test_the_sample_sees_the_end_of_a_large_file(tmp_path: Path) -> None:
    rows = [f"{i},{'x' * 40}" for i in range(200_000)] + ["1.5,y"]
    write(tmp_path, "a.csv", "a,b\n" + "\n".join(rows) + "\n")
    assert str(opened(tmp_path, "a.csv").schema) == "a double, b string"


# --- broken files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a,b\n1,2\n3\n", 3, "the line has 1 fields, the others have 2"),
        ("a,b\n1,2\n3,4,5\n", 3, "the line has 3 fields, the others have 2"),
        ('a,b\n1,2\n3,"x\n4,5\n', 3, "a quoted field does not end, or text follows its closing quote"),
        ('a,b\n1,2\n3,"x"y\n', 3, "a quoted field does not end, or text follows its closing quote"),
    ],
)
def test_a_line_that_breaks_the_form_is_named(tmp_path: Path, text: str, line: int, what: str) -> None:
    write(tmp_path, "a.csv", text)
    error = failing(tmp_path, "a.csv")
    assert (error.code, error.message) == ("E_CSV", f"{tmp_path}/a.csv:{line}: {what}")
    assert error.hint is not None


def test_a_line_that_never_ends_is_named(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "a,b\n1," + "x" * 3_000_000 + "\n")
    error = failing(tmp_path, "a.csv")
    assert (error.code, error.message) == ("E_CSV", f"{tmp_path}/a.csv:2: the line is too long")


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ("a,a", '{}: two columns are named "a" (case is ignored)'),
        ("a,A", '{}: two columns are named "A" and "a" (case is ignored)'),
        ("a,", "{}: column 2 has no name"),
    ],
)
def test_columns_need_names_of_their_own(tmp_path: Path, header: str, what: str) -> None:
    file = write(tmp_path, "a.csv", f"{header}\n1,2\n")
    error = failing(tmp_path, "a.csv")
    assert (error.code, error.message) == ("E_COLUMN_COLLISION", what.format(file))


def test_encodings_are_declared_never_guessed(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "a,b\n1,x\n2,café\n".encode("latin-1"))
    error = failing(tmp_path, "a.csv")
    assert (error.code, error.message) == (
        "E_ENCODING",
        f"{tmp_path}/a.csv:3: the bytes are not valid in the file's encoding",
    )
    assert "encoding: latin-1" in str(error.hint)
    assert read(tmp_path, "a.csv", encoding="latin-1")[1] == [(1, "x"), (2, "café")]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path, encoding: str) -> None:
    write(tmp_path, "a.csv", "a,b\n1,é\n".encode(encoding))
    assert read(tmp_path, "a.csv") == ({"a": "bigint", "b": "string"}, [(1, "é")])


def test_utf16_is_read_or_refused_but_never_empty(tmp_path: Path) -> None:
    text = "a,b\n1,é\n"
    write(tmp_path, "le.csv", b"\xff\xfe" + text.encode("utf-16-le"))
    assert read(tmp_path, "le.csv", encoding="utf-16")[1] == [(1, "é")]
    write(tmp_path, "be.csv", b"\xfe\xff" + text.encode("utf-16-be"))
    assert failing(tmp_path, "be.csv", encoding="utf-16").code == "E_ENCODING"
    write(tmp_path, "emoji.csv", b"\xff\xfe" + "a,b\n1,😀\n".encode("utf-16-le"))
    assert failing(tmp_path, "emoji.csv", encoding="utf-16").code == "E_ENCODING"


def test_damaged_compression_is_named(tmp_path: Path) -> None:
    whole = gzip.compress(b"a,b\n" + b"1,2\n" * 1000)
    write(tmp_path, "cut.csv.gz", whole[: len(whole) // 2])
    write(tmp_path, "garbage.csv.gz", b"hello")
    for name in ("cut.csv.gz", "garbage.csv.gz"):
        error = failing(tmp_path, name)
        assert (error.code, name in error.message) == ("E_FILE_UNREADABLE", True)


def test_compressed_files_are_read(tmp_path: Path) -> None:
    import pyarrow as pa

    write(tmp_path, "a.csv.gz", gzip.compress(b"a\n1\n") + gzip.compress(b"2\n"))
    assert read(tmp_path, "a.csv.gz")[1] == [(1,), (2,)]
    write(tmp_path, "b.csv.zst", pa.Codec("zstd").compress(b"a\n1\n", asbytes=True))
    assert read(tmp_path, "b.csv.zst")[1] == [(1,)]
    assert failing(tmp_path, ("a.csv.gz", "b.csv.zst")).code == "E_VALUE"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("\n\na,b\n1,2\n", {}, "a.csv:1: the line that should name the columns is empty"),
        ("\n", {}, "a.csv:1: the line that should name the columns is empty"),
        ('"no\nte"\na,b\n1,2\n', {"skip": 1}, "a.csv:3: the line has 2 fields, the others have 1"),
        ("a,b\n1,2\n", {"skip": 9}, "a.csv:10: the line that should name the columns is empty"),
    ],
)
def test_a_header_is_never_read_as_a_row(tmp_path: Path, text: str, options: dict[str, Any], message: str) -> None:
    write(tmp_path, "a.csv", text)
    error = failing(tmp_path, "a.csv", **options)
    assert (error.code, message in error.message) == ("E_CSV", True), error.message


def test_lines_before_the_header_are_skipped_on_request(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "note\x0b\u2028\r\n\r\na,b\r\n1,x\r\n")
    assert read(tmp_path, "a.csv", skip=2) == ({"a": "bigint", "b": "string"}, [(1, "x")])


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"delimiter": "||"}, "E_VALUE"),
        ({"delimiter": ""}, "E_VALUE"),
        ({"quote": "''"}, "E_VALUE"),
        ({"skip": -1}, "E_VALUE"),
        ({"delimiter": '"', "quote": '"'}, "E_CSV"),
        ({"timestamp_format": "%Q"}, "E_CSV"),
        ({"schema": {"a": "list<int>"}}, "E_TYPE"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, options: dict[str, Any], code: str) -> None:
    write(tmp_path, "a.csv", "a,b\n1,x\n")
    assert failing(tmp_path, "a.csv", **options).code == code


# --- finding files --------------------------------------------------------------------------------------


def test_names_with_glob_characters_are_read_as_they_are(tmp_path: Path) -> None:
    write(tmp_path, "we[1]rd.csv", "a\n1\n")
    write(tmp_path, "we1rd.csv", "a\n2\n")
    assert read(tmp_path, "we[1]rd.csv")[1] == [(1,)]
    assert read(tmp_path, "*.csv")[1] == [(1,), (2,)]


def test_the_specs_folder_is_no_pattern(tmp_path: Path) -> None:
    base = tmp_path / "we[1]rd" / ".hidden"
    write(base, "k=1/a.csv", "a\n1\n")
    write(tmp_path / "we1rd" / ".hidden", "k=1/a.csv", "a\n2\n")
    assert read(base, "*/*.csv")[1] == [(1, "1")]


def test_folders_above_the_spec(tmp_path: Path) -> None:
    (tmp_path / "x=9" / "specs").mkdir(parents=True)
    write(tmp_path, "x=9/data/k=1/a.csv", "a\n1\n")
    assert read(tmp_path / "x=9" / "specs", "../data/*/*.csv") == ({"a": "bigint", "k": "string"}, [(1, "1")])


def test_lists_and_folders(tmp_path: Path) -> None:
    write(tmp_path, "d/a.csv", "a\n1\n")
    write(tmp_path, "d/e/b.csv", "a\n2\n")
    write(tmp_path, "d/_SUCCESS", "")
    write(tmp_path, "d/.a.csv.crc", "x")
    assert read(tmp_path, "d")[1] == [(1,), (2,)]
    assert read(tmp_path, ("d/a.csv", "d/**/*.csv"))[1] == [(1,), (2,)]


def test_nothing_found(tmp_path: Path) -> None:
    write(tmp_path, "flights.csv", "a\n1\n")
    error = failing(tmp_path, "fligths.csv")
    assert (error.code, error.message) == ("E_FILE_MISSING", '"fligths.csv" does not exist')
    assert error.hint == 'did you mean "flights.csv"?'
    assert error.notes[0] == f"looked for {tmp_path}/fligths.csv"
    assert failing(tmp_path, "x/*.csv").message == '"x/*.csv" matches no file'
    assert failing(tmp_path, "x/*.csv", missing="skip").hint == "declare `schema: {column: type, …}`"
    assert read(tmp_path, "x/*.csv", missing="skip", schema={"a": "int"}) == ({"a": "int"}, [])


def test_a_file_that_goes_away_after_planning(tmp_path: Path) -> None:
    from mlplatform.errors import SourceError

    file = write(tmp_path, "a.csv", "a\n1\n")
    stream = opened(tmp_path, "a.csv")
    file.unlink()
    with pytest.raises(SourceError) as caught:
        rows_of(stream.scan)
    assert (caught.value.code, str(file) in caught.value.message) == ("E_FILE_MISSING", True)


def test_options_of_csv_do_not_fit_other_formats(tmp_path: Path) -> None:
    write(tmp_path, "a.json", '{"a": 1}')
    assert failing(tmp_path, "a.json", delimiter=";").code == "E_KEY_CONFLICT"


def test_opening_twice_gives_equal_streams(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "a,b\n1,x\n")
    assert opened(tmp_path, "a.csv") == opened(tmp_path, "a.csv")
