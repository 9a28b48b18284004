"""The functions that a query of the serving tier may call, from the table of certified functions."""

from __future__ import annotations

import json

from mlplatform.plan.portable import FORBIDDEN
from mlplatform.plan.portable.functions import BY_NAME

# What the parser makes of operators, intervals, lists and structs.
_SYNTAX = """
    + - * / // % ** ^ & | << >> ~ @ || ~~ !~~ ~~* !~~* ~~~ ^@ && <@ @> add subtract multiply divide mod
    if row struct_pack map unnest list_value array_value like_escape ilike_escape not_like_escape not_ilike_escape
    to_years to_months to_days to_hours to_minutes to_seconds to_milliseconds to_microseconds to_weeks to_quarters
    timezone factorial count_star struct_extract_at
""".split()  # noqa: SIM905  # one name a line would hide what belongs together
# A few bytes of text become gigabytes before a memory limit is asked.
_GROW = ("range", "generate_series", "repeat", "lpad", "rpad", "factorial")


def functions_file() -> str:
    """The text of serving/query/functions.json."""
    certified = {name for name, row in BY_NAME.items() if row.says is not None}
    allowed = sorted((certified | set(_SYNTAX)) - set(FORBIDDEN) - set(_GROW))
    document = {"made_by": "docs/generate.py; do not edit", "functions": allowed}
    return json.dumps(document, indent=1) + "\n"
