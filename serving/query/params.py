"""Parameters of a query: JSON scalars, and flat lists of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from serving.http.errors import ApiError

MAX_ITEMS = 1000


def check_params(named: Sequence[str], params: Mapping[str, object]) -> None:
    """Compare the parameters that were sent with those that the text names. Raises: ApiError bad_parameter."""
    wrong = sorted(set(params) ^ set(named))
    if wrong:
        raise ApiError("bad_parameter", f"the query and `params` differ in the parameter {wrong[0][:64]!r}")
    for name, value in params.items():
        items = value if isinstance(value, list) else [value]
        if len(items) > MAX_ITEMS or not all(map(_is_scalar, items)):
            raise ApiError("bad_parameter", f"the parameter {name!r} is no text, number, boolean, null or list of such",
                           details={"parameter": name})  # fmt: skip


def _is_scalar(value: object) -> bool:
    if isinstance(value, str):
        return not any("\ud800" <= char <= "\udfff" for char in value) if not value.isascii() else True
    if isinstance(value, int) and not isinstance(value, bool):
        return -(2**63) <= value < 2**64
    return value is None or isinstance(value, bool | float | bytes)
