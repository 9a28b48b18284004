"""The values of one run: parameters, the run's own names and secrets of the environment, put into a spec."""

from __future__ import annotations

import dataclasses
import decimal
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from typing import Any, TypeVar, cast

from mlplatform.errors import PlatformError, Span, SpecError, UsageError, did_you_mean, listed, raise_all, repr_name
from mlplatform.spec.coerce import coerce, natural_type
from mlplatform.spec.located import Located, span_of
from mlplatform.spec.model import Param, Spec
from mlplatform.spec.placeholders import env_name, placeholders, unescape, whole_name
from mlplatform.spec.shapes import (
    AnyShape,
    BoolShape,
    ChoiceShape,
    IntShape,
    ListShape,
    MapShape,
    NumberShape,
    OneOf,
    Shape,
    TextShape,
    shapes_by_field,
    wanted,
)
from mlplatform.types import STRING, TIMESTAMP, DataType, parse_type

__all__ = ["Secret", "Values", "as_text", "bind_params", "param_type", "placeholders"]

T = TypeVar("T")
_SQL = TextShape("sql")
_NO_TEXTS_OF_A_SPEC = ("path", "text")  # where it stands, and the file itself


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A text that prints as `***`."""

    _value: str

    def reveal(self) -> str:
        """The text itself: for the one who sends it, never for a log."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Values:
    """What `${…}` stands for in one run. `params` holds a Python value (see `coerce`) and its type for each name."""

    params: Mapping[str, tuple[Any, DataType]]  # Any: a value of the type
    run_id: str
    started_at: datetime
    env: Mapping[str, str] = field(repr=False, default_factory=dict)
    secret_names: frozenset[str] = frozenset()

    def get(self, name: str, at: Span | None = None) -> tuple[Any, DataType]:  # Any: a value of the type
        """The value and type of `month`, `run.id`, `run.started_at` or `env:NAME`, the last one as a `Secret`.

        Raises: SpecError E_PARAM for an unknown name, E_ENV_MISSING for a variable that is not set.
        """
        if name in self.params:
            return self.params[name]
        if name == "run.id":
            return self.run_id, STRING
        if name == "run.started_at":
            return self.started_at, TIMESTAMP
        variable = env_name(name)
        if variable is None:
            known = [*self.params, "run.id", "run.started_at"]
            hint = did_you_mean(name, known)
            raise SpecError("E_PARAM", f"unknown parameter {repr_name(name)}", at=at, hint=hint)
        if variable not in self.env:
            message = f"the environment variable {variable} is not set"
            raise SpecError("E_ENV_MISSING", message, at=at, hint=f"export {variable}=…")
        return Secret(self.env[variable]), STRING

    def fill(self, value: T) -> T:
        """The same value with every `${…}` put in, in texts, tuples, dicts and dataclasses; SQL texts are left alone.

        A text that is one `${…}` becomes the value itself, typed as its field wants it; within a longer text the value
        is written as text (`as_text`). A secret makes the whole text a `Secret`.

        Raises: SpecError E_PARAM where a value does not fit its field, E_ENV_MISSING; all of them at once.
        """
        errors: list[PlatformError] = []
        filled = self._fill(value, AnyShape(), errors)
        raise_all(errors)
        return cast(T, filled)

    def redact(self, text: str) -> str:
        """The text with the value of every secret that the spec names replaced by `***`."""
        secrets = {self.env[name] for name in self.secret_names if self.env.get(name)}
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def shown(self) -> dict[str, Any]:  # Any: JSON
        """The parameters as JSON values, for records and for people; they hold no secret."""
        return {name: _as_json(value) for name, (value, _) in self.params.items()}

    def _fill(self, value: Any, shape: Shape, errors: list[PlatformError]) -> Any:  # Any: any part of a spec
        members = shape.members if isinstance(shape, OneOf) else (shape,)
        if isinstance(value, str):
            try:
                return self._fill_text(value, members)
            except PlatformError as error:
                errors.append(error)
                return value
        if isinstance(value, tuple):
            item = next((member.item for member in members if isinstance(member, ListShape)), AnyShape())
            return tuple(self._fill(part, item, errors) for part in value)
        if isinstance(value, dict):
            inner = next((member.value for member in members if isinstance(member, MapShape)), AnyShape())
            return {name: self._fill(part, inner, errors) for name, part in value.items()}
        if dataclasses.is_dataclass(value) and not isinstance(value, type | Span | Secret):
            return self._fill_fields(value, errors)
        return value

    def _fill_fields(self, value: Any, errors: list[PlatformError]) -> Any:  # Any: a dataclass of the model
        changes = {}
        for name, shape in shapes_by_field(value.__class__).items():
            if isinstance(value, Spec) and name in _NO_TEXTS_OF_A_SPEC:
                continue
            before = getattr(value, name)  # a field of its own
            after = self._fill(before, shape, errors)
            if after is not before:
                changes[name] = after
        return dataclasses.replace(value, **changes) if changes else value

    def _fill_text(self, text: str, members: tuple[Shape, ...]) -> Any:  # Any: the value of a parameter
        if "${" not in text or _SQL in members:
            return text
        name = whole_name(text)
        if name is None:
            return self._embed(text)
        value, kind = self.get(name, span_of(text))
        return _fit(value, kind, members, text)

    def _embed(self, text: str) -> Located | Secret | str:
        at, pieces, end, is_secret = span_of(text), [], 0, False
        for start, stop, name in placeholders(text):
            place = text.span_at(start, stop - start) if isinstance(text, Located) else None
            value, _ = self.get(name, place)
            is_secret = is_secret or isinstance(value, Secret)
            pieces += [
                unescape(text[end:start]),
                value.reveal() if isinstance(value, Secret) else as_text(value, place),
            ]
            end = stop
        whole = "".join([*pieces, unescape(text[end:])])
        if is_secret:
            return Secret(whole)
        return Located(whole, at) if at is not None else whole


def bind_params(
    spec: Spec, given: Mapping[str, object], *, env: Mapping[str, str], run_id: str, started_at: datetime
) -> Values:
    """The values of a run: what was given, else the defaults.

    Args:
        given: texts of the command line, or Python values.
        env: the environment that `${env:NAME}` reads.
        started_at: with a time zone.
    Raises: SpecError or UsageError E_PARAM for what is unknown, missing or of another type; all of them at once.
    """
    errors: list[PlatformError] = [
        _unknown(name, spec, value) for name, value in given.items() if _is_unknown(name, spec)
    ]
    params: dict[str, tuple[Any, DataType]] = {}  # Any: a value of the type
    for name, param in spec.params.items():
        try:
            params[str(name)] = _bind(name, param, given)
        except PlatformError as error:
            errors.append(error)
    raise_all(errors)
    moment = coerce(started_at, TIMESTAMP, what="the start of the run")
    names = (env_name(name) for _, _, name in placeholders(spec.text))
    return Values(params, run_id, moment, dict(env), frozenset(name for name in names if name is not None))


def samples(spec: Spec) -> dict[str, Any]:  # Any: a value of the type
    """A value for each parameter that has no default, to type a spec that no run has given values to."""
    return {
        str(name): _SAMPLES.get(str(param_type(param)), 0)
        for name, param in spec.params.items()
        if not param.has_default
    }


_SAMPLES = {
    "string": "sample", "boolean": False, "date": date(2000, 1, 1), "double": 0.0, "float": 0.0,
    "timestamp": datetime(2000, 1, 1, tzinfo=timezone.utc), "timestamp_ntz": datetime(2000, 1, 1),
}  # fmt: skip


def param_type(param: Param) -> DataType:
    """The declared type, or the one that the default gives: int → bigint, float → double."""
    if param.type is not None:
        return parse_type(param.type, at=param.type.at)
    return natural_type(param.default) or STRING


def as_text(value: Any, at: Span | None = None) -> str:  # Any: a value as `coerce` makes it
    """The value as it is written into a text: times in ISO 8601 (UTC as Z), true and false, plain digits.

    Raises: SpecError E_PARAM for null, which no text can hold.
    """
    match value:
        case None:
            raise SpecError("E_PARAM", "null cannot be written into a text", at=at, hint="give the parameter a value")
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case decimal.Decimal():
            return f"{value:f}"
    return str(value)


def _as_json(value: Any) -> Any:  # Any: a value as `coerce` makes it, then JSON
    return value if value is None or isinstance(value, bool | int | float) else as_text(value)


def _is_unknown(name: str, spec: Spec) -> bool:
    return name not in spec.params and name not in spec.broken


def _unknown(name: str, spec: Spec, value: object) -> PlatformError:
    hint = did_you_mean(name, spec.params) or ("remove it" if spec.params else "the spec has no parameters")
    note = f"params: {listed(spec.params) or 'none'}"
    at = span_of(name) or span_of(value)
    return UsageError("E_PARAM", f"unknown parameter {repr_name(name)}", at=at, hint=hint, notes=[note])


def _bind(name: Located, param: Param, given: Mapping[str, object]) -> tuple[Any, DataType]:  # Any: of the type
    kind = param_type(param)
    what = f"parameter {repr_name(name)}"
    if name in given:
        value = given[name]
        if value is None:
            raise UsageError("E_PARAM", f"{what} is null", hint="leave it out to use the default")
        return coerce(value, kind, what=what, at=span_of(value)), kind
    if not param.has_default:
        raise SpecError("E_PARAM", f"{what} has no value", at=param.at, hint=f"run with -p {name}=…, or add a default")
    default = unescape(param.default) if isinstance(param.default, str) else param.default
    return coerce(default, kind, what=f"the default of {what}", at=span_of(param.default) or param.at), kind


def _fit(value: Any, kind: DataType, members: tuple[Shape, ...], text: str) -> Any:  # Any: a value of the type
    """The value as one of the members holds it."""
    at = span_of(text)
    for member in members:
        match member:
            case AnyShape():
                return value
            case IntShape() if isinstance(value, int) and not isinstance(value, bool):
                return value
            case NumberShape() if isinstance(value, int | float | decimal.Decimal) and not isinstance(value, bool):
                return float(value)
            case BoolShape() if isinstance(value, bool):
                return value
            case ChoiceShape(words) if value in words:
                return Located(value, at) if at is not None else value
            case TextShape() if value is not None:
                if isinstance(value, Secret):
                    return value
                return Located(as_text(value), at) if at is not None else as_text(value)
    shown = f" ({as_text(value)})" if isinstance(value, str | int | float) else ""
    needed = " or ".join(wanted(member) for member in members)
    raise SpecError("E_PARAM", f"{text} is a {kind}{shown}; here stands {needed}", at=at)
