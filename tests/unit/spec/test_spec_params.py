from __future__ import annotations

import pickle
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from spec_samples import EXAMPLE, FilesOptions, good

from mlplatform.errors import PlatformError, Span, all_errors
from mlplatform.spec.located import Located
from mlplatform.spec.model import OutputSpec, QueryStep
from mlplatform.spec.params import Secret, Values, as_text, bind_params, param_type, placeholders
from mlplatform.spec.placeholders import unescape
from mlplatform.types import BIGINT, DATE, STRING, TIMESTAMP, parse_type

STARTED = datetime(2024, 5, 6, 7, 8, 9, 10, tzinfo=timezone(timedelta(hours=2)))


def bind(text: str, given: Mapping[str, object] | None = None, env: Mapping[str, str] | None = None) -> Values:
    return bind_params(good(text), given or {}, env=env or {}, run_id="r1", started_at=STARTED)


def coerced(kind: str, value: object) -> Any:
    return bind(f"params: {{x: {{type: '{kind}'}}}}", {"x": value}).params["x"][0]


@pytest.mark.parametrize(
    ("kind", "value", "result"),
    [
        ("int", "5", 5), ("int", " -5 ", -5), ("tinyint", -128, -128), ("bigint", "9223372036854775807", 2**63 - 1),
        ("double", "1.5", 1.5), ("double", "1e3", 1000.0), ("double", 2, 2.0), ("double", Decimal("0.5"), 0.5),
        ("double", ".inf", float("inf")), ("float", "-3", -3.0),
        ("boolean", "true", True), ("boolean", "False", False), ("boolean", True, True),
        ("string", "", ""), ("string", "5", "5"), ("string", "null", "null"),
        ("date", "2013-02-28", date(2013, 2, 28)), ("date", date(2013, 2, 28), date(2013, 2, 28)),
        ("timestamp", "2013-02-28T05:06:07Z", datetime(2013, 2, 28, 5, 6, 7, tzinfo=timezone.utc)),
        ("timestamp", "2013-02-28 05:06+02:00", datetime(2013, 2, 28, 3, 6, tzinfo=timezone.utc)),
        ("timestamp", "2013-02-28T05:06:07.25-0130", datetime(2013, 2, 28, 6, 36, 7, 250000, tzinfo=timezone.utc)),
        ("timestamp", STARTED, datetime(2024, 5, 6, 5, 8, 9, 10, tzinfo=timezone.utc)),
        ("timestamp_ntz", "2013-02-28T05:06:07.123456", datetime(2013, 2, 28, 5, 6, 7, 123456)),
        ("timestamp_ntz", "2013-02-28", datetime(2013, 2, 28)),
        ("decimal(5,2)", "123.45", Decimal("123.45")), ("decimal(5,2)", 1, Decimal("1.00")),
        ("decimal(5,2)", 0.1, Decimal("0.10")), ("decimal(38,0)", "9" * 38, Decimal("9" * 38)),
        ("decimal(38,38)", "0." + "1" * 38, Decimal("0." + "1" * 38)),
    ],
)  # fmt: skip
def test_values_get_their_type(kind: str, value: object, result: object) -> None:
    read = coerced(kind, value)
    assert read == result
    assert type(read) is type(result)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int", "1.0"), ("int", 1.0), ("int", True), ("int", "x"), ("int", ""), ("int", "1_000"), ("int", "٣"),
        ("int", 2**31), ("tinyint", 128), ("bigint", 2**63), ("int", None), ("int", [1]), ("int", "9" * 5000),
        ("double", "1,5"), ("double", True), ("double", "one"), ("double", {}), ("double", "1_0"), ("float", 1e39),
        ("boolean", "yes"), ("boolean", 1), ("boolean", "1"), ("string", 5), ("string", b"x"),
        ("date", "2013-02-30"), ("date", "28.02.2013"), ("date", STARTED), ("date", "2013-2-1"),
        ("timestamp", "2013-02-28T05:06:07"), ("timestamp", "2013-02-28"), ("timestamp", datetime(2013, 1, 1)),
        ("timestamp", "2013-02-28T05:06:07.1234567Z"), ("timestamp", "2013-02-28T25:00Z"), ("timestamp", 0),
        ("timestamp", "0001-01-01T00:00+02:00"), ("timestamp_ntz", "2013-02-28T05:06:07Z"), ("timestamp_ntz", STARTED),
        ("decimal(5,2)", "1234.5"), ("decimal(5,2)", "0.001"), ("decimal(5,2)", "NaN"), ("decimal(5,2)", True),
        ("decimal(5,2)", "1e5000"), ("decimal(5,2)", float("nan")),
    ],
)  # fmt: skip
def test_values_that_do_not_fit(kind: str, value: object) -> None:
    with pytest.raises(PlatformError) as caught:
        coerced(kind, value)
    assert caught.value.code == "E_PARAM"
    assert caught.value.exit_code == 2


def test_a_default_gives_the_type() -> None:
    params = good("params: {a: 1, b: 1.5, c: true, d: x, e: 2013-01-01, f: {type: int, default: 1}}").params
    assert [str(param_type(param)) for param in params.values()] == [
        "bigint", "double", "boolean", "string", "string", "int",
    ]  # fmt: skip


def test_defaults_are_coerced() -> None:
    values = bind(
        "params: {a: {type: date, default: 2013-01-01}, b: {type: double, default: 1}, c: {type: int, default: null}}"
    )
    assert values.params["a"] == (date(2013, 1, 1), DATE)
    assert values.params["b"][0] == 1.0
    assert values.params["c"][0] is None


def test_a_default_may_hold_an_escaped_placeholder() -> None:
    assert bind("params: {p: '$${x}', q: {type: string, default: 'a $${b'}}\n").params == {
        "p": ("${x}", STRING),
        "q": ("a ${b", STRING),
    }
    assert bind("params: {p: x}\n", {"p": "$${x}"}).params == {"p": ("$${x}", STRING)}


def test_all_wrong_parameters_at_once() -> None:
    with pytest.raises(PlatformError) as caught:
        bind("params: {month: 1, day: {type: date}, kind: x}", {"mnth": 2, "month": "x"})
    said = [(error.code, error.message, error.hint) for error in all_errors(caught.value)]
    assert said == [
        ("E_PARAM", 'unknown parameter "mnth"', 'did you mean "month"?'),
        ("E_PARAM", 'parameter "month" must be a bigint, not "x"', None),
        ("E_PARAM", 'parameter "day" has no value', "run with -p day=…, or add a default"),
    ]


def test_wrong_parameters_of_a_test_have_their_place() -> None:
    with pytest.raises(PlatformError) as caught:
        bind("params: {month: 1}", {"month": Located("x", Span("x.yaml", 9, 5))})
    assert caught.value.at == Span("x.yaml", 9, 5)


def test_names_of_the_run() -> None:
    values = bind("params: {m: 3}")
    assert values.get("m") == (3, BIGINT)
    assert values.get("run.id") == ("r1", STRING)
    assert values.get("run.started_at") == (datetime(2024, 5, 6, 5, 8, 9, 10, tzinfo=timezone.utc), TIMESTAMP)
    with pytest.raises(PlatformError, match="unknown parameter"):
        values.get("n", Span("x", 1, 1))


def test_secrets_never_show() -> None:
    text = "sources: {a: {connector: files, path: 'x?${env:TOKEN}'}, b: {connector: files, path: '${env:TOKEN}'}}"
    values = bind(text, env={"TOKEN": "s3cr3t", "OTHER": "o"})
    secret, kind = values.get("env:TOKEN")
    assert (repr(secret), str(secret), f"{secret}", secret.reveal(), kind) == ("***", "***", "***", "s3cr3t", STRING)
    assert "s3cr3t" not in repr(values)
    assert "s3cr3t" not in repr(pickle.loads(pickle.dumps(secret)))
    one, two = (source.options.path for source in values.fill(good(text).sources).values())
    assert (one, one.reveal(), two.reveal()) == (Secret("x?s3cr3t"), "x?s3cr3t", "s3cr3t")
    assert values.redact("a s3cr3t o") == "a *** o"
    assert values.shown() == {}


def test_a_variable_that_is_not_set() -> None:
    values = bind("sources: {a: {connector: files, path: '${env:TOKEN}'}}")
    with pytest.raises(PlatformError) as caught:
        values.get("env:TOKEN", Span("x", 2, 3))
    assert (caught.value.code, caught.value.at) == ("E_ENV_MISSING", Span("x", 2, 3))
    assert values.redact("text") == "text"


def filled_query(text: str, params: str = "n: 5, flag: true, name: x, ratio: 1.5") -> QueryStep:
    spec = good(f"params: {{{params}}}\nsources: {{a: {{dataset: x.y}}}}\nsteps:\n  s: {{from: a, {text}}}\n")
    values = bind_params(spec, {}, env={}, run_id="r1", started_at=STARTED)
    (step,) = spec.steps.values()
    operator = values.fill(step.operator)
    assert isinstance(operator, QueryStep)
    return operator


def test_a_whole_placeholder_becomes_its_value() -> None:
    query = filled_query("limit: '${n}', distinct: '${flag}', order_by: '${n}', filter: 'a = ${n}'")
    assert (query.limit, query.distinct) == (5, True)
    assert (query.order_by, query.filter) == ("${n}", "a = ${n}")  # SQL is the plan's


@pytest.mark.parametrize("text", ["limit: '${flag}'", "limit: '${name}'", "limit: '${ratio}'", "distinct: '${n}'"])
def test_a_value_must_fit_its_field(text: str) -> None:
    with pytest.raises(PlatformError) as caught:
        filled_query(text)
    assert caught.value.code == "E_PARAM"
    assert caught.value.at is not None
    assert (caught.value.at.line, caught.value.at.path) == (6, "x.yaml")


def test_texts_choices_options_and_rows_are_filled() -> None:
    spec = good(
        "params: {mode: append, n: 5, day: {type: date, default: 2013-01-02}}\n"
        "sources: {a: {connector: files, path: ['in/${day}/${n}.csv', '${n}', '$${n}'], skip: '${n}', ratio: '${n}'}}\n"
        "outputs: {x.y: {from: a, mode: '${mode}', description: 'of ${run.id}, not $${n}'}}\n"
        "tests: {t: {params: {n: 6}, given: {a: [{d: '${day}', t: 'x${n}', u: [1, '${n}']}]}, expect: {x.y: []}}}\n"
    )
    values = bind_params(spec, {}, env={}, run_id="r1", started_at=STARTED)
    filled = values.fill(spec)
    (source,), (output,), (test,) = filled.sources.values(), filled.outputs.values(), filled.tests.values()
    assert source.options == FilesOptions(path=("in/2013-01-02/5.csv", "5", "${n}"), skip=5, ratio=5.0)
    assert isinstance(output, OutputSpec)
    assert (output.mode, output.description) == ("append", "of r1, not ${n}")
    assert test.given["a"] == ({"d": date(2013, 1, 2), "t": "x5", "u": (1, 5)},)  # type: ignore[index]
    assert filled.text == spec.text
    assert isinstance(source.options.path[0], Located)
    assert source.options.path[0].at.line == 4


def test_a_choice_must_be_one_of_its_words() -> None:
    spec = good("params: {mode: upsert}\nsources: {a: {dataset: x.y}}\noutputs: {x.y: {from: a, mode: '${mode}'}}\n")
    values = bind_params(spec, {}, env={}, run_id="r1", started_at=STARTED)
    with pytest.raises(PlatformError, match="one of append, overwrite"):
        values.fill(spec.outputs)


def test_null_cannot_be_written_into_a_text() -> None:
    values = bind("params: {x: {type: int, default: null}}")
    assert values.fill(("${x}",)) == (None,)
    with pytest.raises(PlatformError) as caught:
        values.fill(Located("a${x}", Span("f", 1, 1)))
    assert caught.value.at == Span("f", 1, 2, 4)


def test_placeholders() -> None:
    assert placeholders(Located("a ${b} $${c} ${env:D} ${e", Span("x", 1, 1))) == [(2, 6, "b"), (13, 21, "env:D")]
    assert placeholders("$$${x} ${y}") == [(7, 11, "y")]
    assert unescape("$${a} ${b} $$${c}") == "${a} ${b} $${c}"


def test_values_as_text() -> None:
    moments = datetime(2013, 1, 2, 3, 4, 5, tzinfo=timezone.utc), datetime(2013, 1, 2, 3, 4, 5, 60)
    assert [as_text(moment) for moment in moments] == ["2013-01-02T03:04:05Z", "2013-01-02T03:04:05.000060"]
    assert [as_text(value) for value in (True, 7, 1.5, "x", Decimal("1E+3"))] == ["true", "7", "1.5", "x", "1000"]
    assert bind("params: {a: {type: 'decimal(4,1)', default: 1.5}, b: 2}").shown() == {"a": "1.5", "b": 2}


def test_the_example_binds() -> None:
    spec_values = bind_params(
        good(EXAMPLE.split("pipeline: departure_weather\n")[1]), {"day": "2013-02-01"},
        env={}, run_id="r", started_at=STARTED,
    )  # fmt: skip
    assert {name: str(kind) for name, (_, kind) in spec_values.params.items()} == {
        "month": "int", "min_delay_min": "bigint", "day": "date", "label": "string",
    }  # fmt: skip
    assert parse_type("int") == spec_values.get("month")[1]
