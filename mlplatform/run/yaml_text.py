"""Values of rows as YAML in flow style, so that they read back as the same values."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping
from typing import Any


def row_text(row: Mapping[str, Any]) -> str:  # Any: Python values of the columns
    """A row as `{name: value, …}`."""
    return "{" + ", ".join(f"{text_text(str(key))}: {value_text(value)}" for key, value in row.items()) + "}"


def value_text(value: Any) -> str:  # Any: as above
    """A value as YAML; binary in hexadecimal digits, a map from Arrow as a list of pairs."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float() if not math.isfinite(value):
            return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
        case dt.datetime():
            return value.isoformat().replace("+00:00", "Z")
        case bytes():
            return json.dumps(value.hex())
        case list() | tuple():
            return "[" + ", ".join(map(value_text, value)) + "]"
        case dict():
            return row_text(value)
        case str():
            return text_text(value)
    return str(value)


def text_text(text: str) -> str:
    """Text as YAML: plain where that reads back as the same text, else quoted; `${` is escaped."""
    text = text.replace("${", "$${")
    plain = text.replace("_", "").replace("-", "").replace(" ", "").isalnum() and not text[:1].isdigit()
    reserved = text.lower() in ("null", "true", "false", "yes", "no", "on", "off", "nan", "inf") or text != text.strip()
    return text if plain and not reserved and not text.startswith("-") else json.dumps(text, ensure_ascii=False)
