"""What a child process of the supervisor runs: `python -m serving.server.child data <folder> <index> <port>`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path


def main(arguments: list[str]) -> None:
    """Run one child until it is told to stop."""
    # Who has nothing to read again goes on; so does who is told to before it listens.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    kind, folder, index, port = arguments[0], Path(arguments[1]), int(arguments[2]), int(arguments[3])
    match kind:
        case "data":
            from serving.server.worker import main as run_data

            run_data(folder, index, port)
        case "query":
            from serving.query.worker import run as run_query
            from serving.server.config import query_options, read_config

            run_query(query_options(read_config(folder), index))
        case "control":
            from serving.server.control import main as run_control

            run_control(folder, port)
        case _:
            sys.exit(f"there is no child of kind {kind!r}")


if __name__ == "__main__":
    main(sys.argv[1:])
