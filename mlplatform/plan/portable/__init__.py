"""The portable subset: what a spec may say, and how it is said to each engine.

The one place that knows where engines differ. The meaning of a query is what DuckDB says (docs/semantics.md).
"""

from mlplatform.plan.portable.forbidden import FORBIDDEN, check_limit, check_portable

__all__ = ["FORBIDDEN", "check_limit", "check_portable"]
