"""What docs/kernels/*.yaml say of kernels, family by family, and what an op costs as a formula."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypedDict

import yaml

from msltx import _core
from msltx._op_types import Op

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "kernels"
# Sizes for axis letters that no other product of sizes and small factors equals.
_PRIMES = [101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173, 179]
_BYTES = 4  # of a float32 or int32


class Family(TypedDict):
    """Kernels that belong together, and what is said of them in prose."""

    name: str
    kernels: list[str]
    gradient: str
    elsewhere: str
    reference: str
    cpu: str
    scratch: str
    pitfall: str
    example: str


def families() -> list[Family]:
    """Read all pages, and put families in the order of the engine's ops."""
    found: list[Family] = []
    for page in sorted(PAGES.glob("*.yaml")):
        found += yaml.safe_load(page.read_text("utf-8"))
    order = [op["name"] for op in _core.ops()]
    return sorted(found, key=lambda family: min(map(order.index, family["kernels"])))


def sizes() -> dict[str, int]:
    """Give each axis letter a prime."""
    letters = [letter for letter, _ in _core.axis_letters()]
    return dict(zip(letters, _PRIMES, strict=False))


def operations(op: Op, index: int) -> str:
    """Write an op's operations as a product of sizes, such as "2 N C O"."""
    letters = sizes()
    rest = round(_core.op_cost(index, letters)[0])
    if rest == 0:
        return "no"
    factors = []
    for letter, prime in letters.items():
        while rest % prime == 0:
            rest //= prime
            factors.append(letter)
    factors.sort(key=lambda letter: letter not in ("N", "P"))  # rows first
    return " ".join([*([] if rest == 1 and factors else [str(rest)]), *factors])


def traffic(op: Op) -> str:
    """Write the bytes of an op's tensors in float32, such as "4 (2 N C + C)"."""
    counts: dict[str, int] = {}
    for field in op["fields"]:
        product = " ".join(re.split(r"[ *]", field["axes"]))
        counts[product] = counts.get(product, 0) + (2 if field["role"] == "updates" else 1)
    terms = [
        product if count == 1 else f"{count} {product}" if product != "1" else str(count)
        for product, count in counts.items()
    ]
    return f"{_BYTES} {terms[0]}" if len(terms) == 1 else f"{_BYTES} ({' + '.join(terms)})"


def value_of(formula: str) -> float:
    """Compute a formula of operations() or traffic() with the sizes of sizes()."""
    letters = {**sizes(), "no": 0}
    factor, inner = re.fullmatch(r"(\d+) \((.*)\)", formula), formula
    if factor:
        inner = factor.group(2)
    total = 0.0
    for term in inner.split(" + "):
        product = 1.0
        for part in term.split():
            product *= letters[part] if part in letters else int(part)
        total += product
    return total * (int(factor.group(1)) if factor else 1)
