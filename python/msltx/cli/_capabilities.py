"""Which settings of a model this version runs.

Every value of every choice is tried on a small model, and an example of every other setting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from msltx import GPTConfig, InvalidValueError

_SMALL: dict[str, Any] = {
    "vocab_size": 10,
    "context_length": 8,
    "embedding_dim": 8,
    "num_layers": 1,
    "num_heads": 2,
}
# What shows that a setting runs which is no choice; some need another beside them.
_EXAMPLES: dict[str, list[Any]] = {
    "num_kv_heads": [1],
    "head_dim": [6],
    "ff_dim": [9],
    "token_embedding_dim": [4],
    "norm_eps": [1e-6],
    "rope_theta": [500000.0],
    "bias": [False, {"qkv": False, "output": True}],
    "dropout": [0.1],
    "sliding_window": [4, [4, None]],
    "attention_scale": [0.2],
    "attention_softcap": [50.0],
    "logit_softcap": [30.0],
    "embedding_scale": [2.8],
}
_BESIDE: dict[str, dict[str, Any]] = {
    "norm_plus_one": {"norm": "rmsnorm"},
    "rope_theta": {"positions": "rope"},
    "rope_scaling": {"positions": "rope"},
}


def _values(name: str, takes: str) -> list[Any]:
    """Give the values to try for a field, from what it says that it takes."""
    choices = re.search(r"^(?:one of|none, or one or a list of) ([\w, ]+)$", takes)
    if choices:
        return choices.group(1).split(", ")
    return _EXAMPLES.get(name, [True, False] if takes == "true or false" else [])


def _reason(fields: dict[str, Any]) -> str:
    """Say why a configuration does not run; nothing where it does."""
    try:
        GPTConfig(**_SMALL, **fields)
    except InvalidValueError as error:
        return str(error)
    return ""


def capabilities() -> Iterator[tuple[str, Any, str]]:
    """Give field, value, and why it does not run (nothing where it does)."""
    for name, takes, *_ in GPTConfig.describe():
        if name == "rope_scaling.kind":
            for kind in _values(name, takes):
                scaling = {"kind": kind, "factor": 2.0}
                yield name, kind, _reason({"rope_scaling": scaling, "positions": "rope"})
        elif "." not in name:
            for value in _values(name, takes):
                yield name, value, _reason({name: value, **_BESIDE.get(name, {})})
