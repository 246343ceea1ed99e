#!/usr/bin/env python3
"""Take outputs, execution counts and machine details out of notebooks: the hook before a commit.

With --check, write nothing and fail where there is something to take out. Without files: those of
notebooks/.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def stripped(text: str) -> str:
    """Give a notebook's JSON with what was written by people alone."""
    notebook: dict[str, Any] = json.loads(text)
    notebook["metadata"] = METADATA
    for cell in notebook["cells"]:
        cell["metadata"] = {}
        cell.pop("id", None)
        if cell["cell_type"] == "code":
            cell.update(execution_count=None, outputs=[])
    notebook.update(nbformat=4, nbformat_minor=4)  # the last without ids of cells
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> int:
    """Strip or check; the exit code is 1 where a file was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    arguments = parser.parse_args()
    files = arguments.files or sorted((ROOT / "notebooks").glob("*.ipynb"))
    stale = [path for path in files if stripped(path.read_text("utf-8")) != path.read_text("utf-8")]
    for path in stale:
        if not arguments.check:
            path.write_text(stripped(path.read_text("utf-8")), "utf-8")
        print(f"{path}: {'has outputs; run ' + sys.argv[0] if arguments.check else 'stripped'}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
