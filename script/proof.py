"""Check every kernel and print a table: what script/proof runs."""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests_py"))

from msltx import backends  # noqa: E402
from reference import DEFINITIONS  # noqa: E402
from reference.proof import (  # noqa: E402
    Proof,
    against_differences,
    against_numpy,
    dtypes_of,
    kernel_names,
    same_bits,
)

INTRODUCTION = """\
Each cell: cases that held, and the largest error of a row as a share of what is allowed (1e-6 of
its size and magnitude in float32, 1e-5 for sums over 4,096, 1e-2 in bfloat16; exact: equal).
  shapes       drawn by hypothesis, against the NumPy float64 definition
  differences  gradients along random directions, against central differences in float64
  threads      the same bits with 1, 2, 3 and 8 threads
"""


def cell(check: Callable[[], Proof], failures: list[str]) -> str:
    """Run a check and write its cell; what failed is kept."""
    try:
        proof = check()
    except AssertionError as error:
        failures.append(str(error))
        return "FAILED"
    if proof.worst == 0:
        return f"{proof.cases} exact"
    return f"{proof.cases} " + (f"{proof.worst:.2f}" if proof.worst >= 0.01 else "<0.01")


def check_of(name: str, backend: str, dtype: str, kind: str) -> Callable[[], Proof] | None:
    """Give a kernel's check of a kind; None where there is nothing to check."""
    if dtype not in dtypes_of(name):
        return None
    if kind == "shapes":
        return functools.partial(against_numpy, name, backend, dtype)
    if kind == "threads":
        return functools.partial(same_bits, name, backend, dtype)
    return (
        functools.partial(against_differences, name, backend)
        if DEFINITIONS[name].backward
        else None
    )


def main() -> int:
    """Print the table; the exit code is 1 where a check failed."""
    parser = argparse.ArgumentParser(prog="script/proof", description=__doc__)
    parser.add_argument(
        "kernels", nargs="*", help="names of kernels, or parts of them; default: all"
    )
    wanted = parser.parse_args().kernels
    names = [n for n in kernel_names() if not wanted or any(part in n for part in wanted)]
    if not names:
        parser.error(f"no kernel is called {' or '.join(wanted)}")
    begin = time.perf_counter()
    failures: list[str] = []
    made = [backend.name for backend in backends()]
    columns = [
        *((b, d, "shapes") for b in made for d in ("float32", "bfloat16")),
        *((b, "float32", "differences") for b in made),
        *((b, d, "threads") for b in made for d in ("float32", "bfloat16")),
    ]
    width = max(map(len, names))
    print(INTRODUCTION)
    for part in range(3):
        titles = (f"{column[(2, 0, 1)[part]]:>11}" for column in columns)
        print(f"{'kernel' if part == 2 else '':{width}}  " + "  ".join(titles))
    count = 0
    for name in names:
        cells = []
        for backend, dtype, kind in columns:
            check = check_of(name, backend, dtype, kind)
            cells.append("-" if check is None else cell(check, failures))
        count += sum(int(c.split()[0]) for c in cells if c[0].isdigit())
        print(f"{name:{width}}  " + "  ".join(f"{c:>11}" for c in cells), flush=True)
    print(
        f"\n{len(names)} kernels, {count:,} checks in {time.perf_counter() - begin:.0f} s, "
        f"{len(failures)} failed"
    )
    for failure in failures:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
