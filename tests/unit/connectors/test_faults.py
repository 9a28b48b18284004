"""DuckDB's messages, said our way; no value of a row is repeated."""

from __future__ import annotations

import pytest

from connectors.faults import csv_fault, json_fault, kind_of, parquet_fault

_TAIL = "\n\n  file = /d/a.csv\n  delimiter = , (Set By User)\n"


@pytest.mark.parametrize(
    ("message", "code", "said"),
    [
        ('CSV Error on Line: 4\nOriginal Line: secret,w\nError when converting column "a". Could not convert string '
         "\"secret\" to 'BIGINT'", "E_CAST", '/d/a.csv:4: column "a" holds text, which is no bigint'),
        ("CSV Error on Line: 3\nOriginal Line: secret\nExpected Number of Columns: 2 Found: 1", "E_CSV",
         "/d/a.csv:3: the line has 1 fields, the others have 2"),
        ("CSV Error on Line: 3\nOriginal Line: secret\nValue with unterminated quote found.", "E_CSV",
         "/d/a.csv:3: a quoted field does not end, or text follows its closing quote"),
        ("CSV Error on Line: 3\nOriginal Line: secret\nMaximum line size of 2000000 bytes exceeded.", "E_CSV",
         "/d/a.csv:3: the line is too long"),
        ("CSV Error on Line: 3\nOriginal Line: secret\nInvalid unicode (byte sequence mismatch) detected. This file is "
         "not utf-8 encoded.", "E_ENCODING", "/d/a.csv:3: the bytes are not valid in the file's encoding"),
        ("The CSV Parser state machine reached an invalid state.", "E_CSV",
         "/d/a.csv: the text does not follow its dialect: line ends of two kinds, a bare carriage return or a stray "
         "quote"),
    ],
)  # fmt: skip
def test_csv(message: str, code: str, said: str) -> None:
    fault = csv_fault("Invalid Input Error: " + message + _TAIL)
    assert fault is not None
    assert (fault.code, fault.message) == (code, said)
    assert "secret" not in fault.render()
    assert fault.hint is not None


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ('JSON transform error in file "/d/a.json", in line 3: Failed to cast value to numerical: "secret"',
         "/d/a.json: line 3: Failed to cast value to numerical"),
        ('JSON transform error in file "/d/a.json", in line 4: Object {"a":"secret"} has duplicate key "a"',
         '/d/a.json: line 4: an object has the key "a" twice'),
        ('Malformed JSON in file "/d/a.json", at byte 7 in line 3: unexpected end of data. ',
         "/d/a.json: near line 3: unexpected end of data"),
        ('Malformed JSON in file "/d/a.json", at byte 1 in record/value 4: unexpected character. ',
         "/d/a.json: near value 4: unexpected character"),
    ],
)  # fmt: skip
def test_json(message: str, said: str) -> None:
    fault = json_fault("Invalid Input Error: " + message)
    assert fault is not None
    assert (fault.code, fault.message) == ("E_JSON", said)
    assert "secret" not in fault.render()


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('IO Error: No files found that match the pattern "/d/a.parquet"', "E_FILE_MISSING"),
        ('IO Error: Cannot open file "/d/a.parquet": Permission denied', "E_PERMISSION"),
        ("Invalid Input Error: No magic bytes found at end of file '/d/a.parquet'", "E_FILE_UNREADABLE"),
        ("IO Error: Unexpected end of GZIP stream: /d/a.parquet", "E_FILE_UNREADABLE"),
    ],
)
def test_files(message: str, code: str) -> None:
    fault = parquet_fault(message, ["/d/a.parquet"])
    assert fault is not None
    assert (fault.code, "/d/a.parquet" in fault.message) == (code, True)


def test_messages_about_something_else() -> None:
    message = "Conversion Error: Could not convert string 'x' to INT64"
    assert (csv_fault(message), json_fault(message), parquet_fault(message, ["/d/a.parquet"])) == (None, None, None)


def test_kinds_of_values() -> None:
    texts = [None, " ", "-12", "1.5e3", "2013-01-01", "31/12/2013", "x1"]
    assert [kind_of(text) for text in texts] == [
        "a value", "an empty text", "a whole number", "a number with a fraction or exponent", "a date or time",
        "a date or time", "text",
    ]  # fmt: skip
