"""Finding datasets by words."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from mlplatform.catalog import models as m
from mlplatform.catalog.answers import SearchHit
from mlplatform.errors import UsageError

# What a prefix looks into, and what a bare word does.
_FIELDS: dict[str, tuple[str, ...]] = {
    "name": ("name",),
    "tag": ("tag",),
    "owner": ("owner",),
    "column": ("column",),
    "": ("name", "description", "owner", "tag", "column", "comment"),
}
_MOST_MATCHES = 5


@dataclass(frozen=True, slots=True)
class _Term:
    word: str
    fields: tuple[str, ...]


def search(connection: sa.Connection, text: str) -> tuple[SearchHit, ...]:
    """The datasets in which every word of `text` occurs, those with a matching name first, then by name.

    Case is ignored. `tag:`, `owner:`, `column:` and `name:` look in one place only; quotes keep words together.

    Raises: UsageError E_USAGE for a text without a word.
    """
    terms = _terms(text)
    d = m.dataset.c
    held = [d.id.in_(sa.select(m.search_text.c.dataset_id).where(_holds(term))) for term in terms]
    chosen = sa.select(d.id, d.name, d.description).where(d.deleted_us.is_(None), *held).order_by(d.name)
    found = connection.execute(chosen).all()
    texts = _texts_of(connection, [row.id for row in found], terms)
    hits = [SearchHit(row.name, row.description, _matches(texts.get(row.id, {}), terms)) for row in found]
    return tuple(sorted(hits, key=lambda hit: not any(match.startswith("name ") for match in hit.matches)))


def _terms(text: str) -> tuple[_Term, ...]:
    try:
        words = shlex.split(text)
    except ValueError:  # a lone quote is a character like others
        words = text.split()
    terms = tuple(term for term in map(_term, words) if term.word)
    if not terms:
        raise UsageError("E_USAGE", "there is no word to search for", hint="for example: tag:demo column:origin")
    return terms


def _term(word: str) -> _Term:
    prefix, colon, rest = word.partition(":")
    if colon and prefix.lower() in _FIELDS and prefix:
        return _Term(rest.lower(), _FIELDS[prefix.lower()])
    return _Term(word.lower(), _FIELDS[""])


def _holds(term: _Term) -> sa.ColumnElement[bool]:
    plain = term.word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    s = m.search_text.c
    return sa.and_(s.field.in_(term.fields), s.text.like(f"%{plain}%", escape="\\"))


def _texts_of(connection: sa.Connection, numbers: Sequence[int], terms: Sequence[_Term]) -> dict[int, dict[str, str]]:
    """The texts in which a term occurs, by dataset and field; the others are many times as long."""
    s, chunk = m.search_text.c, 10_000
    texts: dict[int, dict[str, str]] = {}
    for start in range(0, len(numbers), chunk):
        chosen = sa.select(s.dataset_id, s.field, s.text).where(s.dataset_id.in_(numbers[start : start + chunk]))
        for number, field, text in connection.execute(chosen.where(sa.or_(*map(_holds, terms)))):
            texts.setdefault(number, {})[field] = text
    return texts


def _matches(texts: dict[str, str], terms: Iterable[_Term]) -> tuple[str, ...]:
    """Names where they are short, the kind of place where they are prose."""
    found = [
        {"description": "description", "comment": "column description"}.get(field, f"{field} {line}")
        for field in _FIELDS[""]
        for line in texts.get(field, "").split("\n")
        if any(field in term.fields and term.word in line for term in terms)
    ]
    return tuple(dict.fromkeys(found))[:_MOST_MATCHES]
