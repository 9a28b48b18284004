"""What the pages show is what a reader gets."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from pages import PAGES, ROOT, Block, Call, blocks, calls, plain, session

from mlplatform.cli.main import main
from mlplatform.workspace import Workspace

PLAYED = [page for page in PAGES if any(block.kind == "console" for block in blocks(page))]
SPEC_PAGES = [ROOT / "docs/spec.md"]
TRANSFORM_PAGES = sorted((ROOT / "docs/transforms").glob("*.md"))


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PLAYED, ids=name)
def test_sessions_print_what_the_page_shows(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    played = list(session(page, tmp_path))
    if request.config.getoption("--golden"):
        record(page, played)
        return
    for block, done in played:
        for shown, real in zip(calls(block), done, strict=True):
            assert plain(real.output) == plain(shown.output), f"{name(page)}:{block.line} $ {shown.command}"


def record(page: Path, played: list[tuple[Block, list[Call]]]) -> None:
    text = page.read_text(encoding="utf-8")
    for block, done in reversed(played):
        if [plain(call.output) for call in calls(block)] != [plain(call.output) for call in done]:
            lines = [f"$ {call.command}\n{call.output}".rstrip() for call in done]
            text = text[: block.start] + "\n".join(lines) + text[block.end :]
    page.write_text(text, encoding="utf-8")


def test_there_is_a_session_in_the_readme() -> None:
    assert name(PLAYED[0]) == "README.md"


def spec_examples() -> list[object]:
    """Each example of the page on the language: the head of a spec that all share, and its own sections."""
    found = []
    for page in SPEC_PAGES:
        parts = [block for block in blocks(page) if block.kind == "yaml"]
        head = next(part.text for part in parts if part.note == "head")
        for part in parts:
            if part.note not in ("head", "excerpt"):
                text = part.text if part.text.startswith("version:") else f"{head}\n{part.text}\n"
                found.append(pytest.param(text, id=f"{page.stem}-{part.line}"))
    for page in TRANSFORM_PAGES:
        whole = [block for block in blocks(page) if block.kind == "yaml" and block.text.startswith("version:")]
        found += [pytest.param(block.text, id=f"{page.stem}-{block.line}") for block in whole]
    return found


@pytest.mark.parametrize("text", spec_examples())
def test_examples_of_the_language_pass_their_tests(text: str, tmp_path: Path) -> None:
    for block in blocks(SPEC_PAGES[0]):
        if block.note.startswith("file: "):
            (tmp_path / block.note.removeprefix("file: ")).write_text(block.text + "\n", encoding="utf-8")
    path = tmp_path / "example.yaml"
    path.write_text(text, encoding="utf-8")
    outcomes = Workspace(tmp_path, env={"MLP_WAREHOUSE": str(tmp_path / "warehouse")}).test(path)
    assert outcomes, "the example has no test"
    assert [outcome.render() for outcome in outcomes if not outcome.passed] == []


def test_commands_that_pages_name_exist() -> None:
    context = click.Context(main, info_name="mlp")
    wrong = []
    for page in PAGES:
        for words in re.findall(r"(?:^\$ |`)mlp ([a-z]+(?: [a-z]+)?)", page.read_text(encoding="utf-8"), re.MULTILINE):
            first, _, second = words.partition(" ")
            command = main.get_command(context, first)
            if command is None:
                wrong.append(f"{name(page)}: mlp {first}")
            elif isinstance(command, click.Group) and second and command.get_command(context, second) is None:
                wrong.append(f"{name(page)}: mlp {words}")
    assert wrong == []


def test_every_command_is_documented() -> None:
    context = click.Context(main, info_name="mlp")
    reference = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
    assert [word for word in main.list_commands(context) if f"mlp {word}" not in reference] == []


def test_make_targets_that_pages_name_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        target
        for page in PAGES
        for target in re.findall(r"(?:^\$ |`)make ([a-z]+)\b", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert named - targets == set()
    assert {"demo", "test"} <= named


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{name(page)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []
