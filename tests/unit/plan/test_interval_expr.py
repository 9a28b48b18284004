"""The expression language of `intervals`: how tightly words bind, and each fault at its place."""

from __future__ import annotations

import pytest

from mlplatform.errors import PlatformError, Span
from mlplatform.plan.transforms.interval_expr import Both, Count, Expression, Name, Not, Pair, parse_intervals
from mlplatform.spec.located import Located

INPUTS = ("braking", "ped", "turn")


def parse(text: str) -> Expression:
    return parse_intervals(Located(text, Span("x.yaml", 3, 11, len(text), f"    expr: {text}")), INPUTS)


def shown(tree: Expression) -> str:
    """The tree with all its parentheses."""
    match tree:
        case Name():
            return tree.text
        case Not():
            return f"(not {shown(tree.item)})"
        case Both():
            return f"({shown(tree.left)} {tree.word} {shown(tree.right)})"
        case Count():
            return f"count_ge({', '.join([str(tree.least), *map(shown, tree.items)])})"
        case Pair():
            limit = [] if tree.limit is None else [str(tree.limit[0].ns)]
            return f"{tree.word}({', '.join([shown(tree.a), shown(tree.b), *limit])})"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("ped or turn and braking", "(ped or (turn and braking))"),
        ("not ped and turn", "((not ped) and turn)"),
        ("not not ped", "(not (not ped))"),
        ("ped minus turn and braking", "((ped minus turn) and braking)"),
        ("ped and turn minus braking", "((ped and turn) minus braking)"),
        ("ped or turn or braking", "((ped or turn) or braking)"),
        ("(ped or turn) AND braking", "((ped or turn) and braking)"),
        ("then(ped, during(turn, braking or ped), 1.5 s)", "then(ped, during(turn, (braking or ped)), 1500000000)"),
        ("count_ge(2, ped, not turn, braking)", "count_ge(2, ped, (not turn), braking)"),
    ],
)
def test_words_bind_as_usual(text: str, meant: str) -> None:
    assert shown(parse(text)) == meant


@pytest.mark.parametrize(
    ("text", "code", "column", "says"),
    [
        ("pedd and turn", "E_NAME_UNKNOWN", 11, 'did you mean "ped"?'),
        ("ped andd turn", "E_SQL", 15, 'did you mean "and"?'),
        ("ped and", "E_SQL", 17, "found the end of the expression"),
        ("(ped or turn", "E_SQL", 22, "to close the parenthesis"),
        ("ped and or turn", "E_SQL", 19, "expected the name of an input"),
        ("ped = turn", "E_SQL", 15, "found '='"),
        ("thn(ped, turn, 2s)", "E_NAME_UNKNOWN", 11, 'did you mean "then"?'),
        ("then and ped", "E_NAME_UNKNOWN", 11, "write then(…)"),
        ("then(ped, turn)", "E_SQL", 25, "and a duration"),
        ("then(ped, turn, 2)", "E_DURATION", 27, "has no unit"),
        ("then(ped, turn, -2s)", "E_DURATION", 27, "is negative"),
        ("during(ped)", "E_SQL", 21, "the second of the two inputs"),
        ("count_ge(ped, turn)", "E_SQL", 20, "a whole number"),
        ("count_ge(3, ped, turn)", "E_VALUE", 20, "count from 1"),
        ("count_ge(0, ped, turn)", "E_VALUE", 20, "count from 1"),
        ("", "E_SQL", 11, "found the end"),
        ("(" * 200 + "ped", "E_SQL", 111, "nested too deeply"),
    ],
)
def test_faults_stand_at_their_place(text: str, code: str, column: int, says: str) -> None:
    with pytest.raises(PlatformError) as caught:
        parse(text)
    error = caught.value
    assert error.code == code
    assert error.at is not None
    assert (error.at.line, error.at.column) == (3, column)
    assert says in error.render()
