"""The query operator: `from` and its clauses, each applied to what the one before gave."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from mlplatform.errors import PlanError, PlatformError, raise_all, repr_name
from mlplatform.plan.sqltext import parse_expression, parse_ordered
from mlplatform.plan.transforms.lowering import Context, Lowered, check_columns, column, named, table
from mlplatform.spec.located import Located
from mlplatform.spec.model import QueryStep


def lower(step: QueryStep, context: Context) -> Lowered:
    """where → group → having → project → distinct → top-n; the order of a limit is made total.

    Raises: PlanError, one for each wrong clause.
    """
    clauses = _Clauses(step, context)
    tree = clauses.grouped() if step.group_by is not None or step.aggregate is not None else clauses.filtered()
    tree = clauses.projected(tree)
    raise_all(clauses.errors)
    return Lowered(clauses.ordered(tree), (str(step.from_),), tuple(clauses.texts))


class _Clauses:
    """Builds the tree clause by clause and collects errors; `names` are the columns that the next clause sees."""

    def __init__(self, step: QueryStep, context: Context) -> None:
        self.step, self.context = step, context
        self.names: list[str] = list(context.inputs[step.from_].names)
        self.texts: list[Located] = []
        self.errors: list[PlatformError] = []
        if step.having is not None and step.group_by is None and step.aggregate is None:
            self.errors.append(
                PlanError(
                    "E_KEY_CONFLICT",
                    "`having` filters groups, and there is no `group_by`",
                    at=step.having.at,
                    hint="write `filter`",
                )
            )

    def expression(self, text: Located, extra: Sequence[str] = ()) -> exp.Expr:
        self.texts.append(text)
        try:
            tree = parse_expression(text, self.context.values)
        except PlatformError as error:
            self.errors.append(error)
            return exp.null()
        self.errors.extend(check_columns(tree, text, [*self.names, *extra], step=self.context.step))
        return tree

    def filtered(self) -> exp.Select:
        tree = exp.Select().from_(table(self.step.from_))
        if self.step.filter is not None:
            tree = tree.where(self.expression(self.step.filter), copy=False)
        return tree

    def grouped(self) -> exp.Select:
        keys = self._keys()
        aggregates = {str(name): self.expression(text) for name, text in (self.step.aggregate or {}).items()}
        tree = self.filtered().select(
            *(named(key.copy(), name) for name, key in keys.items()),
            *(named(value, name) for name, value in aggregates.items()),
            copy=False,
        )
        if keys:
            tree = tree.group_by(*keys.values(), copy=False)
        before, self.names = self.names, [*keys, *aggregates]
        return self._having(tree, before)

    def _keys(self) -> dict[str, exp.Expr]:
        keys = self.step.group_by or ()
        if isinstance(keys, dict):
            return {str(name): self.expression(text) for name, text in keys.items()}
        return {str(name): self._key(name) for name in keys}

    def _key(self, text: Located) -> exp.Expr:
        tree = self.expression(text)
        if not isinstance(tree, exp.Column | exp.Null):
            self.errors.append(
                PlanError(
                    "E_SQL",
                    f"a group by an expression needs a name: {text!r}",
                    at=text.at,
                    hint=f"write `group_by: {{name: {text}}}`",
                )
            )
        return tree

    def _having(self, tree: exp.Select, before: list[str]) -> exp.Select:
        text = self.step.having
        if text is None:
            return tree
        condition = self.expression(text, before)
        if condition.find(exp.AggFunc) is not None:
            return tree.having(condition, copy=False)
        return exp.select("*").from_(tree.subquery("grouped", copy=False)).where(condition, copy=False)

    def projected(self, tree: exp.Select) -> exp.Select:
        select = self.step.select
        if select is None:
            return self._plain(tree)
        items = select.items() if isinstance(select, dict) else [(name, None) for name in select]
        values = {str(name): self._item(name, text) for name, text in items}
        self.names = list(values)
        if tree.expressions:
            tree = exp.Select().from_(tree.subquery("rows", copy=False))
        return self._plain(tree.select(*(named(value, name) for name, value in values.items()), copy=False))

    def _item(self, name: Located, text: Located | None) -> exp.Expr:
        if text is not None:
            return self.expression(text)
        tree = self.expression(name)
        if not isinstance(tree, exp.Column | exp.Null):
            self.errors.append(
                PlanError(
                    "E_SQL",
                    f"a bare name keeps a column, and {name!r} is none",
                    at=name.at,
                    hint="write `name: expression`",
                )
            )
        return tree

    def _plain(self, tree: exp.Select) -> exp.Select:
        if not tree.expressions:
            tree = tree.select(*(column(name) for name in self.names), copy=False)
        return tree.distinct(copy=False) if self.step.distinct else tree

    def ordered(self, tree: exp.Select) -> exp.Select:
        """The top rows, where a limit asks for them. An order without a limit is kept for exported files only."""
        step = self.step
        if step.limit is not None and step.order_by is None:
            raise PlanError(
                "E_LIMIT_ORDER",
                f"step {repr_name(self.context.step)} has a limit but no order_by",
                at=self.context.step.at,
                hint="say which rows come first: `order_by: [column]`",
            )
        if step.order_by is None:
            return tree
        outer = exp.select(*(column(name) for name in self.names)).from_(tree.subquery("rows", copy=False))
        outer = outer.order_by(*total_order(step.order_by, self.names, self.context), copy=False)
        raise_all(self.errors)
        return outer.limit(step.limit, copy=False) if step.limit is not None else outer


def total_order(
    items: Sequence[Located] | Located,
    names: Sequence[str],
    context: Context,
    *,
    known: Sequence[str] = (),
    reverse: bool = False,
) -> list[exp.Expr]:
    """The items, then every remaining column, so that no two different rows tie; nulls placed explicitly.

    `known` are columns that the items may use beside `names` and that decide no ties.
    """
    order: list[exp.Expr] = []
    errors: list[PlatformError] = []
    for text in [items] if isinstance(items, str) else items:
        item = parse_ordered(text, context.values)
        errors.extend(check_columns(item, text, [*names, *known], step=context.step))
        order.append(item)
    raise_all(errors)
    said = {item.this.name.lower() for item in order if isinstance(item.this, exp.Column)}
    order += [
        exp.Ordered(this=column(name), desc=False, nulls_first=False) for name in names if name.lower() not in said
    ]
    if reverse:
        order = [
            exp.Ordered(this=item.this, desc=not item.args.get("desc"), nulls_first=not item.args.get("nulls_first"))
            for item in order
        ]
    return order
