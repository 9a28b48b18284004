"""Run the 22 queries on one engine and write down their seconds. `tpch22_run.py ENGINE DATA WORK`."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from mlplatform.errors import PlatformError, all_errors
from mlplatform.workspace import Workspace

SPEC = Path(__file__).parents[1] / "tpch" / "tpch.yaml"
QUERIES = [f"q{number:02}" for number in range(1, 23)]


def main(engine: str, data: str, work: Path) -> None:
    document = yaml.safe_load(SPEC.read_text(encoding="utf-8"))
    workspace = Workspace(work, env={"MLP_WAREHOUSE": str(work / f"warehouse-{engine}")})
    facts = {}
    for query in QUERIES:
        facts[query] = _timed(workspace, engine, data, _written(document, query, work))
        print(engine, query, facts[query], flush=True)
    (work / f"{engine}.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


def _written(document: dict[str, Any], query: str, work: Path) -> Path:  # Any: YAML
    """The query as a spec of its own, so that its seconds are not those of planning all of them."""
    words = set(re.findall(r"\w+", document["steps"][query]["sql"]))
    parts = {
        "sources": {name: source for name, source in document["sources"].items() if name in words},
        "steps": {query: document["steps"][query]},
        "outputs": {f"tpch.{query}": document["outputs"][f"tpch.{query}"]},
    }
    path = work / f"{query}.yaml"
    path.write_text(yaml.safe_dump({**document, **parts}, sort_keys=False), encoding="utf-8")
    return path


def _timed(workspace: Workspace, engine: str, data: str, spec: Path) -> dict[str, Any]:  # Any: JSON
    started = time.perf_counter()
    try:
        report = workspace.run(spec, engine=engine, params={"data": data})
    except PlatformError as error:
        print(error.render(), file=sys.stderr)
        return {"error": all_errors(error)[0].code}
    return {"seconds": time.perf_counter() - started, "rows": report.outputs[0].rows_written}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
