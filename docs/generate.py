"""Write the pages that follow from the code: docs/errors.md, docs/reference.md, docs/engines.md and the table of
functions in docs/semantics.md, serving/query/functions.json, and the pictures of docs/transforms/.

python docs/generate.py            writes them
python docs/generate.py --check    exits with 1 when one is not current
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
from pictures import picture
from query_functions import functions_file

import mlplatform.codes
from connectors.registry import OptionClasses, connectors
from mlplatform.cli.main import main
from mlplatform.codes import CODES
from mlplatform.conformance.case import load_cases
from mlplatform.conformance.features import support
from mlplatform.conformance.gaps import load_gaps
from mlplatform.engines.table import ENGINES
from mlplatform.plan.portable import FORBIDDEN
from mlplatform.plan.portable.forbidden import ALWAYS_REFUSED
from mlplatform.plan.portable.functions import FUNCTIONS
from mlplatform.plan.portable.model import Function
from mlplatform.spec.model import (
    OPERATORS,
    PENDING_OPERATORS,
    EngineSpec,
    OutputSpec,
    Param,
    QueryStep,
    SourceSpec,
    Spec,
    SqlStep,
    StepSpec,
    TestSpec,
)
from mlplatform.spec.serve import IndexSpec, ServeSpec, SloSpec
from mlplatform.spec.shapes import ChoiceShape, Key, OneOf, RecordShape, Shape, keys_of, wanted
from mlplatform.types import SCALARS

FOLDER = Path(__file__).parent
MADE = "<!-- Made by docs/generate.py; do not edit. -->"


def pages() -> dict[Path, str]:
    """Path → text of every generated page."""
    return {
        FOLDER / "errors.md": errors_page(),
        FOLDER / "reference.md": reference_page(),
        FOLDER / "engines.md": engines_page(),
        FOLDER / "semantics.md": semantics_page(),
        FOLDER.parent / "serving" / "query" / "functions.json": functions_file(),
        **pictures(),
    }


def pictures() -> dict[Path, str]:
    """A picture for each transform's page that has an example with rows."""
    found = {page.with_suffix(".svg"): picture(page) for page in sorted((FOLDER / "transforms").glob("*.md"))}
    return {path: text for path, text in found.items() if text is not None}


# --- errors ----------------------------------------------------------------------------------------------------------


def errors_page() -> str:
    """Every error code with its meaning, in the groups of `mlplatform/codes.py`."""
    lines = [
        MADE, "", "# Error codes", "",
        "A message says where, what, why and what to do. Its code is a stable word: scripts may rely on it. `--json`",
        "prints `code`, `message`, `hint`, `notes` and, where a file is to blame, `path`, `line` and `column`.",
        "",
        "`mlp` ends with 0 when all is done, 1 when a run failed, 2 when the spec or the command line is wrong, 3 when",
        "a run committed its outputs and one of them could not be published.",
    ]  # fmt: skip
    for group, codes in _groups():
        lines += ["", f"## {group[0].upper()}{group[1:]}", "", "| code | meaning |", "|---|---|"]
        lines += [f"| `{code}` | {CODES[code]} |" for code in codes]
    return "\n".join(lines) + "\n"


def _groups() -> Iterator[tuple[str, list[str]]]:
    """The comments of the table of codes, each with the codes below it."""
    group, codes = "", list[str]()
    for line in inspect.getsource(mlplatform.codes).splitlines():
        comment, code = re.match(r"    # (.+)", line), re.match(r'    "(E_\w+)":', line)
        if comment is not None:
            if codes:
                yield group, codes
            group, codes = comment[1], []
        elif code is not None:
            codes.append(code[1])
    yield group, codes


# --- semantics -------------------------------------------------------------------------------------------------------


def semantics_page() -> str:
    """The page as it is written by hand, with the table of functions as it stands in the code."""
    text = (FOLDER / "semantics.md").read_text(encoding="utf-8")
    head, start, rest = text.partition("<!-- Functions: made by docs/generate.py; do not edit. -->\n")
    _, end, tail = rest.partition("<!-- End of functions. -->\n")
    rows = (_function(row) for row in sorted(FUNCTIONS, key=lambda row: row.name))
    table = _table(("function", "other names", "duckdb, beam", "spark", "cases", "remark"), rows)
    return "\n".join([head + start, *table, "", end + tail])


def _function(row: Function) -> tuple[str, ...]:
    others = ", ".join(f"`{name}`" for name in row.aliases)
    forbidden = row.name in ALWAYS_REFUSED
    return (f"`{row.name}`", others, "no" if forbidden else "yes", "yes" if row.says is not None else "no",
            row.case, _cell(row.note))  # fmt: skip


# --- reference -------------------------------------------------------------------------------------------------------


def reference_page() -> str:
    """Commands, keys, types and forbidden functions."""
    parts = [
        [MADE, "", "# Reference", "", "Every command, key and type. What they are for stands in [guide.md](guide.md)",
         "and [spec.md](spec.md)."],
        _commands(), _spec_keys(), _types(), _forbidden(),
    ]  # fmt: skip
    return "\n".join("\n".join(part) for part in parts) + "\n"


def _commands() -> list[str]:
    context = click.Context(main, info_name="mlp")
    lines = ["", "## Commands", "", "```", *_usage(main, context), "```"]
    lines += _options(main, context)
    for name, command, inner in _walk(main, context):
        text = " ".join((command.help or "").split())
        lines += ["", f"### {name}", "", text, "", "```", *_usage(command, inner), "```", *_options(command, inner)]
    return lines


def _walk(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    """The commands below a group, those of groups among them in their place."""
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        assert command is not None
        inner = click.Context(command, info_name=word, parent=context)
        if isinstance(command, click.Group):
            yield from _walk(command, inner)
        else:
            yield inner.command_path, command, inner


def _usage(command: click.Command, context: click.Context) -> list[str]:
    return [" ".join([context.command_path, *command.collect_usage_pieces(context)])]


def _options(command: click.Command, context: click.Context) -> list[str]:
    options = [part for part in command.get_params(context) if isinstance(part, click.Option)]
    records = [part.get_help_record(context) for part in options if "--help" not in part.opts]
    rows = [(f"`{_cell(record[0])}`", _cell(record[1])) for record in records if record is not None]
    return ["", *_table(("option", "meaning"), rows)] if rows else []


def _spec_keys() -> list[str]:
    classes = OptionClasses(connectors())
    lines = ["", "## Keys of a spec", *_record("", keys_of(Spec))]
    lines += _record("A parameter: `params: {name: {…}}`, or its default alone", keys_of(Param))
    dataset = {word: key for word, key in keys_of(SourceSpec).items() if word != "connector"}
    lines += _record("A source that is a dataset: `sources: {name: {dataset: …}}`", dataset)
    for name in sorted(classes):
        lines += _record(f"A source with `connector: {name}`", keys_of(classes[name], every=True))
    beside = keys_of(StepSpec)
    lines += _record("A step with `from` (query)", {**keys_of(QueryStep), **beside})
    lines += _record("A step with `sql`", {**keys_of(SqlStep), **beside})
    for word, kind in OPERATORS.items():
        lines += _record(f"`{word}: {{…}}`, beside it `description`", keys_of(kind))
    lines += ["", f"Not supported yet: {', '.join(f'`{word}`' for word in PENDING_OPERATORS)}."]
    lines += _record("An output", keys_of(OutputSpec))
    lines += _record("`serve` of an output", keys_of(ServeSpec))
    lines += _record("An index: `serve: {indexes: {name: {…}}}`", keys_of(IndexSpec))
    lines += _record("`slo` of `serve`", keys_of(SloSpec))
    lines += _record("`engine`", keys_of(EngineSpec))
    return lines + _record("A test", keys_of(TestSpec))


def _record(title: str, keys: dict[str, Key]) -> list[str]:
    rows = [(f"`{key.word}`", _cell(_shape(key.shape)), _default(key), _cell(_meaning(key))) for key in keys.values()]
    heading = ["", f"### {title}"] if title else []
    return [*heading, "", *_table(("key", "value", "default", "meaning"), rows)]


def _shape(shape: Shape) -> str:
    if isinstance(shape, OneOf):
        return ", or ".join(dict.fromkeys(_shape(member) for member in shape.members))
    if isinstance(shape, RecordShape):
        return "a mapping"
    if isinstance(shape, ChoiceShape) and len(shape.words) == 1:
        return shape.words[0]
    return wanted(shape)


def _default(key: Key) -> str:
    if key.is_required:
        return "required"
    match key.default:
        case bool():
            return "`true`" if key.default else "`false`"
        case int() | str():
            return f"`{key.default}`"
        case (str() | int(), *_):
            return f"`[{', '.join(map(str, key.default))}]`"
    return ""


def _meaning(key: Key) -> str:
    return f"{key.doc} (not supported yet)" if key.is_pending else key.doc


def _types() -> list[str]:
    words = ", ".join(f"`{word}`" for word in SCALARS)
    nested = "`decimal(p,s)`, `list<t>`, `struct<name: t, …>`, `map<k, v>`"
    return ["", "## Types", "", f"{words}, {nested}."]


def _forbidden() -> list[str]:
    reasons: dict[str, list[str]] = {}
    for name, reason in FORBIDDEN.items():
        reasons.setdefault(reason, []).append(name)
    lines = ["", "## Functions that no expression may use", ""]
    return lines + [f"- {', '.join(f'`{name}`' for name in names)}: {reason}." for reason, names in reasons.items()]


# --- engines ---------------------------------------------------------------------------------------------------------


def engines_page() -> str:
    """What each engine passes, from the conformance cases and their gaps."""
    cases = load_cases()
    gaps = load_gaps(cases)
    lines = [
        MADE, "", "# Engines", "",
        "What each engine passes of the conformance cases (`mlplatform/conformance/cases`): rows and types, with the",
        "inputs whole, and shuffled and split. A number says how many cases of a feature pass; the others are among",
        "the gaps below. On your engine, with your options:", "",
        "```", "python -m mlplatform.conformance --engine NAME [--option NAME=VALUE]… [--case PATTERN]…", "```",
    ]  # fmt: skip
    for group, rows in support(cases, gaps, ENGINES).items():
        body = [(f"`{feature}`", *(_support(*cells[name]) for name in ENGINES)) for feature, cells in rows.items()]
        lines += ["", f"## {group[0].upper()}{group[1:]}", "", *_table((group, *ENGINES), body)]
    lines += ["", "## Gaps", ""]
    if not gaps:
        lines.append("None.")
        return "\n".join(lines) + "\n"
    body = [(gap.engine, _cell(gap.case), gap.kind, f"`{gap.code}`", _cell(f"{gap.why} {gap.link or ''}".strip()))
            for gap in gaps.values()]  # fmt: skip
    lines += _table(("engine", "case", "kind", "fails with", "why"), body)
    return "\n".join(lines) + "\n"


def _support(passed: int, of: int) -> str:
    return "yes" if passed == of else "no" if passed == 0 else f"{passed} of {of}"


def _table(headers: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    headers = list(headers)
    lines = [headers, ["---"] * len(headers), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        print(f"{'not current' if '--check' in sys.argv else 'written'}  {path.relative_to(FOLDER.parent)}")
        if "--check" not in sys.argv:
            path.write_text(pages()[path], encoding="utf-8")
    sys.exit(bool(stale) and "--check" in sys.argv)
