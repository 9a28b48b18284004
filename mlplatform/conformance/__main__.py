"""`python -m mlplatform.conformance`: the cases on your engine, with your options."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click
import yaml

from mlplatform.conformance.case import CASES, Case, load_cases
from mlplatform.conformance.files import LAYOUTS
from mlplatform.conformance.gaps import GAPS, Gap, Verdict, explanation, judge, load_gaps
from mlplatform.conformance.runner import Options, Outcome, run_case
from mlplatform.engines.table import ENGINES, check_engine, is_option, missing
from mlplatform.errors import PlatformError, UsageError, raise_all


@dataclass(frozen=True, slots=True)
class _Result:
    outcome: Outcome
    verdict: Verdict
    why: str

    def line(self) -> str:
        outcome = self.outcome
        text = f"{self.verdict:<7} {outcome.engine:<8} {outcome.layout:<6} {outcome.seconds:6.2f} s  {outcome.case.id}"
        return f"{text}\n{self.why}" if self.why else text

    def as_dict(self) -> dict[str, Any]:  # Any: JSON
        failure = self.outcome.failure
        return {
            "case": self.outcome.case.id, "engine": self.outcome.engine, "layout": self.outcome.layout,
            "verdict": self.verdict, "code": failure.code if failure else None, "why": self.why,
            "seconds": round(self.outcome.seconds, 3),
        }  # fmt: skip


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--engine", "engines", multiple=True, help="Engine to run on; default: each that is installed.")
@click.option("--case", "patterns", multiple=True, metavar="PATTERN", help="Only cases like this (`join*`).")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="Option of the engine, as in a spec.")
@click.option("--layout", "layouts", multiple=True, type=click.Choice(sorted(LAYOUTS)), help="How inputs lie in files.")
@click.option(
    "--cases", "folder", type=click.Path(path_type=Path), default=CASES, help="Folder of cases; default: ours."
)
@click.option("--gaps", type=click.Path(path_type=Path), default=GAPS, help="File of known gaps; default: ours.")
@click.option("--list", "is_list", is_flag=True, help="Only print the cases' names.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def main(
    engines: tuple[str, ...], patterns: tuple[str, ...], options: tuple[str, ...], layouts: tuple[str, ...],
    folder: Path, gaps: Path, is_list: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run the conformance cases; 0: as known, 1: a case failed or a gap has closed, 2: the command line is wrong."""
    try:
        cases = _chosen(load_cases(folder), patterns)
        if is_list:
            click.echo("\n".join(case.id for case in cases))
            return
        known = load_gaps(load_cases(folder), gaps) if gaps != GAPS or folder == CASES else {}
        names = _engines(engines)
        given = _options(options, names)
    except PlatformError as error:
        click.echo(error.render(), err=True)
        sys.exit(2)
    results = []
    for result in _results(cases, names, layouts or tuple(LAYOUTS), given, known):
        results.append(result)
        if result.why or not as_json:
            click.echo(result.line(), err=as_json)
    sys.exit(_summary(results, as_json))


def _chosen(cases: tuple[Case, ...], patterns: tuple[str, ...]) -> list[Case]:
    chosen = [case for case in cases if not patterns or any(fnmatch(case.id, pattern) for pattern in patterns)]
    if not chosen:
        raise UsageError("E_USAGE", f"no case is like {' or '.join(patterns)}", hint="--list prints their names")
    return chosen


def _engines(asked: tuple[str, ...]) -> list[str]:
    """The engines asked for, else those that can run on this machine; of the others it is said why not."""
    for name in asked:
        check_engine(name)
    lacks = {name: missing(name, os.environ) for name in dict.fromkeys(asked or ENGINES)}
    raise_all([error for error in lacks.values() if error is not None and asked])
    for error in lacks.values():
        if error is not None:
            click.echo(error.render(), err=True)
    return [name for name, error in lacks.items() if error is None]


def _options(pairs: tuple[str, ...], engines: Iterable[str]) -> Options:
    """Each option for every engine asked that has one of its name."""
    found: dict[str, dict[str, Any]] = {name: {} for name in engines}  # Any: YAML
    for pair in pairs:
        key, equals, value = pair.partition("=")
        takers = [name for name in found if is_option(name, key)]
        if not equals or not takers:
            raise UsageError("E_USAGE", f"--option {pair}: write NAME=VALUE, with a name that {', '.join(found)} has")
        for name in takers:
            found[name][key] = yaml.safe_load(value)
    return found


def _results(
    cases: list[Case], engines: list[str], layouts: tuple[str, ...], options: Options,
    known: Mapping[tuple[str, str], Gap],
) -> Iterator[_Result]:  # fmt: skip
    for engine in engines:
        for case in cases:
            gap = known.get((engine, case.id))
            for layout in layouts:
                outcome = run_case(case, engine, layout=layout, options=options)
                yield _Result(outcome, judge(outcome, gap), explanation(outcome, gap))


def _summary(results: list[_Result], as_json: bool) -> int:
    bad = [result for result in results if result.why]
    if as_json:
        click.echo(json.dumps({"passed": not bad, "results": [result.as_dict() for result in results]}))
        return int(bool(bad))
    for engine in dict.fromkeys(result.outcome.engine for result in results):
        counts = Counter(result.verdict for result in results if result.outcome.engine == engine)
        click.echo(f"{engine}: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return int(bool(bad))


if __name__ == "__main__":
    main()
