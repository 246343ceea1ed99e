"""bfloat16 on a machine without its instructions: converted, and said in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from msltx import _core

# Two models, so that the line could come twice.
SCRIPT = """
import json
import numpy as np
import msltx

config = msltx.GPTConfig(
    vocab_size=61, context_length=16, embedding_dim=24, num_layers=2, num_heads=3
)
rng = np.random.default_rng(1)
tokens, targets = rng.integers(0, 61, (4, 16)), rng.integers(0, 61, (4, 16))
losses = [
    msltx.GPT(config, seed=3, dtype=dtype).forward_backward(tokens, targets)
    for dtype in ("float32", "bfloat16", "bfloat16")
]
print(json.dumps(losses))
"""


@pytest.mark.slow
def test_bfloat16_is_converted_where_instructions_lack() -> None:
    # oneDNN then finds no bfloat16 products, which is what the engine goes by.
    limited = dict.fromkeys(("DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA"), "AVX512_CORE")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, **limited},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    said = [line for line in done.stderr.splitlines() if "bfloat16" in line]
    assert said == [
        f"backend {_core.default_backend()} has no bfloat16 products on this machine; "
        "they are computed in float32"
    ]
    wide, narrow, again = json.loads(done.stdout)
    assert narrow == again
    assert narrow == pytest.approx(wide, rel=2e-4)
