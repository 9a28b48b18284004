"""Remove outputs and run counts from notebooks; exits with 1 when one had some, as pre-commit wants it.

python notebooks/strip.py notebooks/*.ipynb
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def strip(path: Path) -> bool:
    """Whether the notebook changed."""
    before = path.read_text(encoding="utf-8")
    notebook = json.loads(before)
    for cell in notebook["cells"]:
        cell["metadata"] = {}
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    after = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    if after != before:
        path.write_text(after, encoding="utf-8")
    return after != before


if __name__ == "__main__":
    changed = [name for name in sys.argv[1:] if strip(Path(name))]
    for name in changed:
        print(f"stripped {name}")
    sys.exit(bool(changed))
