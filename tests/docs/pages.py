"""A page's blocks, and its console sessions run as a reader would type them.

`<!-- file: path -->` above a block puts the block's text into that file. A `console` block holds lines `$ command`,
each with what the command prints below it. Both happen in the order of the page, in one folder that is empty at first.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
READERS_HOME = "/home/ana"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

_BLOCK = re.compile(r"(?:<!-- (?P<note>[^>]*) -->\n+)?```(?P<kind>\w*)\n(?P<text>.*?)\n?```$", re.DOTALL | re.MULTILINE)
# What differs from run to run.
_VARYING = (
    (re.compile(r"\d{8}t\d{9}-[0-9a-f]{8}"), "<run>"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"), "<time>"),
    (re.compile(r"\d+\.\d+ s\b"), "<seconds>"),
    (re.compile(r"\d+(\.\d+)? (B|KiB|MiB)\b"), "<size>"),
    (re.compile(r" {2,}"), "  "),
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; `note` is the comment above it, `start` and `end` are where its text stands in the page."""

    kind: str
    text: str
    note: str
    line: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Call:
    """A command of a console block with the output shown below it."""

    command: str
    output: str


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page in order."""
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("kind")) + 1
        yield Block(found["kind"], found["text"], found["note"] or "", line, found.start("text"), found.end("text"))


def calls(block: Block) -> list[Call]:
    """The commands of a console block."""
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    return [Call(head, rest.strip("\n")) for head, _, rest in (part.partition("\n") for part in parts)]


def plain(text: str) -> str:
    """The text with what varies from run to run put aside."""
    for pattern, word in _VARYING:
        text = pattern.sub(word, text)
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def run(command: str, folder: Path) -> str:
    """What a command prints: its output, or what it says on standard error when it fails."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MLP_")}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120
    )
    return done.stdout if done.returncode == 0 else done.stdout + done.stderr


def session(page: Path, home: Path) -> Iterator[tuple[Block, list[Call]]]:
    """Play a page: write its files, run its commands; gives each console block with what was really printed."""
    folder = home
    for block in blocks(page):
        if block.note.startswith("file: "):
            path = home / block.note.removeprefix("file: ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text + "\n", encoding="utf-8")
        elif block.kind == "console":
            done = []
            for call in calls(block):
                if call.command.startswith("cd "):
                    folder = folder / call.command.removeprefix("cd ")
                    done.append(Call(call.command, ""))
                else:
                    output = run(call.command, folder).replace(str(home), READERS_HOME)
                    done.append(Call(call.command, output.strip("\n")))
            yield block, done
