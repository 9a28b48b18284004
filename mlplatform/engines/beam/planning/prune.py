"""A job without the columns that nobody reads, its queries with fewer brackets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sqlglot import exp

from mlplatform.engines.beam.planning.pieces import named
from mlplatform.engines.beam.planning.sizes import row_width
from mlplatform.engines.beam.stages import Apply, Column, Compute, Flatten, Hash, Job, Read, Stage

# The planner's own subqueries; what stands in others is the query as it was written.
_OWN = ("_p", "_l", "_r", "_u")
_PLAIN = ("joins", "group", "having", "qualify", "distinct", "order", "limit", "offset", "with_", "windows", "laterals")
_Read = dict[str, set[str]]


def pruned(job: Job) -> Job:
    """The same job, every stage giving only the columns that the stages after it read."""
    read: _Read = {name: set() for name in job.stages}
    for name in job.outputs.values():
        read[name] |= {column.name for column in job.stages[name].columns}
    stages: dict[str, Stage] = {}
    for name in reversed(list(job.stages)):
        stages[name] = _pruned(job.stages[name], job.stages, read)
    return Job({name: stages[name] for name in job.stages}, job.outputs)


def _pruned(stage: Stage, stages: Mapping[str, Stage], read: _Read) -> Stage:
    columns = _kept(stage.columns, read[stage.name])
    match stage:
        case Apply():
            read[stage.stage] |= {column.name for column in stages[stage.stage].columns}
            return stage
        case Flatten():
            for arm in stage.stages:
                read[arm] |= {column.name for column in columns}
            return replace(stage, columns=columns, size_bound=_bound(stage, columns))
        case Read() | Compute():
            query, tables = _query(stage.query, {column.name for column in columns})
            if isinstance(stage, Compute):
                _note(stage, stages, tables, read)
            return replace(stage, query=query, columns=columns, size_bound=_bound(stage, columns))


def _kept(columns: tuple[Column, ...], names: set[str]) -> tuple[Column, ...]:
    """The columns read; one where only the number of rows counts."""
    return tuple(column for column in columns if column.name in names) or columns[:1]


def _bound(stage: Stage, columns: tuple[Column, ...]) -> int | None:
    return None if stage.size_bound is None else stage.size_bound // row_width(stage.columns) * row_width(columns)


def _note(stage: Compute, stages: Mapping[str, Stage], tables: _Read, read: _Read) -> None:
    """What a stage reads of its inputs, in its query and as keys."""
    for item in stage.inputs:
        known = {column.name for column in stages[item.stage].columns}
        read[item.stage] |= tables.get(item.name, known) & known
        if isinstance(item.exchange, Hash):
            read[item.stage] |= {each.name for key in item.exchange.keys for each in key.find_all(exp.Column)}


# --- one query -


def _query(tree: exp.Query, names: set[str]) -> tuple[exp.Query, _Read]:
    """The query with these columns only, and the columns that it reads of each table."""
    tree = tree.copy()
    with_ = tree.args.get("with_")
    tree.set("with_", None)
    tables: _Read = {}
    tree = _narrowed(tree, names, tables)
    ctes = list(with_.expressions) if with_ is not None else []
    for cte in reversed(ctes):
        body = cte.this
        wanted = tables.pop(cte.alias, set())
        cte.set("this", _narrowed(body, wanted or set(body.named_selects), tables))
    if with_ is not None:
        tree.set("with_", with_)
    return tree, tables


def _narrowed(tree: exp.Query, names: set[str], tables: _Read) -> exp.Query:
    if isinstance(tree, exp.Union) and not tree.args.get("distinct") and not tree.args.get("by_name"):
        tree.set("this", _narrowed(tree.this, names, tables))
        tree.set("expression", _narrowed(tree.expression, names, tables))
        return tree
    if isinstance(tree, exp.SetOperation):
        tree.set("this", _narrowed(tree.this, set(tree.this.named_selects), tables))
        tree.set("expression", _narrowed(tree.expression, set(tree.expression.named_selects), tables))
        return tree
    if not isinstance(tree, exp.Select) or not _is_own(tree):
        _note_all(tree, tables)
        return tree
    if not tree.args.get("distinct"):
        kept = [each for each in tree.expressions if each.alias_or_name in names]
        tree.set("expressions", kept or tree.expressions[:1])
    return _with_sources(tree, tables)


def _with_sources(tree: exp.Select, tables: _Read) -> exp.Select:
    sources = [part.this for part in [tree.args.get("from_"), *(tree.args.get("joins") or [])] if part is not None]
    own = [source for source in sources if isinstance(source, exp.Subquery) and source.alias in _OWN]
    own = [source for source in own if not source.args["alias"].columns]
    used = {each.name for each in _outside(tree, own, exp.Column)}
    for source in own:
        source.set("this", _narrowed(source.this, used, tables))
    for table in _outside(tree, own, exp.Table):
        if isinstance(table.this, exp.Identifier):
            tables.setdefault(table.name, set()).update(used)
    return _merged(tree)


def _outside(tree: exp.Select, inner: Sequence[exp.Expr], kind: type[exp.Expr]) -> Iterator[exp.Expr]:
    """Nodes of a kind in a SELECT, those in its inner queries left out."""
    stack: list[exp.Expr] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, kind):
            yield node
        stack.extend(each for each in node.iter_expressions() if not any(each is one for one in inner))


def _is_own(tree: exp.Select) -> bool:
    from_ = tree.args.get("from_")
    return from_ is None or isinstance(from_.this, exp.Table) or from_.this.alias in _OWN


def _note_all(tree: exp.Expr, tables: _Read) -> None:
    """What a query as it was written may read: every column that it names."""
    named_columns = {each.name for each in tree.find_all(exp.Column)}
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier):
            tables.setdefault(table.name, set()).update(named_columns)


def _merged(tree: exp.Select) -> exp.Select:
    """The SELECT over what its inner SELECT reads, where that only names and filters columns."""
    source = tree.args["from_"].this if tree.args.get("from_") is not None else None
    if tree.args.get("joins") or not isinstance(source, exp.Subquery) or source.alias != "_p":
        return tree
    inner = source.this
    if not isinstance(inner, exp.Select) or source.args["alias"].columns:
        return tree
    if any(inner.args.get(word) for word in _PLAIN):
        return tree
    given = {each.alias_or_name: each.unalias() for each in inner.expressions}
    if not all(isinstance(value, exp.Column) for value in given.values()):
        return tree
    merged = tree.copy()
    merged.set("expressions", [named(_swapped(each.unalias(), given), each.alias_or_name) for each in tree.expressions])
    for word in ("where", "group", "having", "qualify", "distinct", "order"):
        if merged.args.get(word) is not None:
            merged.set(word, _swapped(merged.args[word], given))
    merged.set("from_", inner.args["from_"].copy() if inner.args.get("from_") is not None else None)
    if inner.args.get("where") is not None:
        outer = merged.args.get("where")
        parts = [inner.args["where"].this.copy(), *([outer.this] if outer is not None else [])]
        merged.set("where", exp.Where(this=exp.and_(*parts)))
    return merged


def _swapped(value: exp.Expr, given: Mapping[str, exp.Expr]) -> exp.Expr:
    """An expression over the inner columns; subqueries in it read tables of their own."""
    holder = exp.Paren(this=value.copy())
    stack: list[exp.Expr] = [holder.this]
    while stack:
        node = stack.pop()
        if isinstance(node, exp.Column) and not node.table and node.name in given:
            node.replace(given[node.name].copy())
        elif not isinstance(node, exp.Query):
            stack.extend(node.iter_expressions())
    result: exp.Expr = holder.this
    return result
