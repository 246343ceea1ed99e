"""The Python face of the kernels: what there is, what they refuse and how they say it."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import msltx
from kernel_inputs import BACKENDS, BETA, F32, GAMMA, IDS, OPS, WEIGHT, X, f32, spread
from msltx import kernels

ROOT = Path(__file__).resolve().parent.parent


# What there is ---------------------------------------------------------------------------------


def test_generated_files_are_up_to_date() -> None:
    pytest.importorskip("ruff", reason="ruff, which lays out the stub, is not installed")
    run = subprocess.run(
        [sys.executable, ROOT / "script" / "generate_kernel_docs.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("name", kernels.__all__)
def test_every_kernel_explains_itself(name: str) -> None:
    kernel = getattr(kernels, name)
    parameters = inspect.signature(kernel).parameters
    assert "backend" in parameters
    text = inspect.getdoc(kernel)
    assert text
    for parameter in parameters:
        assert re.search(rf"^(\w+, )?{parameter}(, \w+)* : ", text, re.MULTILINE), parameter
    for section in ("Parameters", "Returns", "Raises"):
        assert f"\n{section}\n---" in text


@pytest.mark.parametrize("op", OPS.values(), ids=list(OPS))
def test_signature_follows_the_op(op: Any) -> None:
    parameters = inspect.signature(getattr(kernels, op["name"])).parameters
    inputs = [f["name"] for f in op["fields"] if f["role"] in ("reads", "updates")]
    assert list(parameters) == [
        *inputs,
        *(attribute["name"] for attribute in op["attributes"]),
        "out",
        "backend",
    ]
    for attribute in op["attributes"]:
        default = parameters[attribute["name"]].default
        assert (default is inspect.Parameter.empty) == attribute["required"]
        assert attribute["required"] or default == attribute["default"]


OLDER = {
    "softmax_inplace": None,
    "embedding_lookup": "embedding_forward",
    "apply_positional_encoding": "positional_embedding_add_forward",
    "qkv_projection": "linear_forward",
    "scaled_dot_product_attention": "flash_attention_forward",
    "mhsa_output_projection": "linear_forward",
    "layer_norm": "layernorm_forward",
    "feed_forward_network": None,
    "output_logits_projection": "linear_forward",
    "cross_entropy_loss": "softmax_cross_entropy_forward",
    "loss_gradient": "softmax_cross_entropy_backward",
    "zero_gradients": "zero",
    "adamw_optimizer": "adamw",
    "gradient_clipping": "clip",
    "qkv_projection_inference": "linear_forward",
    "scaled_dot_product_attention_inference": "attention_inference",
    "argmax_sample_forward": "argmax_sample",
    "adamw_forward": "adamw",
}


@pytest.mark.parametrize(("older", "now"), OLDER.items())
def test_older_names(older: str, now: str | None) -> None:
    assert callable(getattr(kernels, older))
    if now:
        assert getattr(kernels, older) is getattr(kernels, now)
        assert kernels.ALIASES[older] == now


def test_softmax_inplace_writes_over_its_input() -> None:
    x = X.copy()
    assert kernels.softmax_inplace(x) is x
    np.testing.assert_array_equal(x, kernels.softmax_forward(X))


@pytest.mark.parametrize("activation", ["none", "gelu_tanh", "relu", "silu"])
def test_feed_forward_network_is_two_linears(activation: Any) -> None:
    w_in, b_in, w_out, b_out = f32(6, 4), f32(6), f32(4, 6), f32(4)
    hidden: Any = kernels.linear_forward(X, w_in, b_in, activation=activation)
    if activation != "none":
        hidden, _ = hidden
    np.testing.assert_array_equal(
        kernels.feed_forward_network(X, w_in, b_in, w_out, b_out, activation=activation),
        kernels.linear_forward(hidden, w_out, b_out),
    )


# Refusals --------------------------------------------------------------------------------------

read_only = X.copy()
read_only.flags.writeable = False
Q, KV = f32(1, 4, 3, 2), f32(1, 2, 3, 2)
CACHE = f32(2, 2, 6, 4)
REFUSALS: dict[str, tuple[Callable[[], Any], str]] = {
    "float64": (
        lambda: kernels.gelu_forward(X.astype(np.float64)),  # type: ignore[arg-type]
        "gelu_forward: x is float64; expected float32 or bfloat16",
    ),
    "big-endian": (
        lambda: kernels.gelu_forward(X.astype(">f4")),
        "gelu_forward: x is >f4; expected float32 or bfloat16",
    ),
    "integers for floats": (
        lambda: kernels.gelu_forward(IDS),  # type: ignore[arg-type]
        "gelu_forward: x is int32; expected float32 or bfloat16",
    ),
    "list for floats": (
        lambda: kernels.gelu_forward([1.0]),  # type: ignore[arg-type]
        "gelu_forward: x is a list; expected a NumPy array of float32 or bfloat16",
    ),
    "bfloat16 for statistics": (
        lambda: kernels.layernorm_forward(X, GAMMA.astype(ml_dtypes.bfloat16)),
        "layernorm_forward: gamma is bfloat16; expected float32",
    ),
    "size": (
        lambda: kernels.layernorm_forward(X, f32(3)),
        "layernorm_forward: gamma has shape (3,); expected (C) with C = 4",
    ),
    "rank": (
        lambda: kernels.layernorm_forward(X, f32(1, 4)),
        "layernorm_forward: gamma has shape (1, 4); expected 1 dimension (C)",
    ),
    "too few dimensions": (
        lambda: kernels.gelu_forward(F32(1)),  # type: ignore[arg-type]
        "gelu_forward: x has shape (); expected (N C), N any number of dimensions",
    ),
    "too many dimensions": (
        lambda: kernels.merge_heads_forward(f32(1, 1, 1, 1, 1)),
        "merge_heads_forward: x has shape (1, 1, 1, 1, 1); expected 4 dimensions (B nh T hs)",
    ),
    "other leading dimensions": (
        lambda: kernels.residual_add_forward(X, X.reshape(3, 2, 4)),
        "residual_add_forward: residual has shape (3, 2, 4); expected (N C) with N = (2, 3) as in "
        "the arguments before it",
    ),
    "heads do not divide": (
        lambda: kernels.split_heads_forward(X, num_heads=3),
        "split_heads_forward: x has shape (2, 3, 4); expected (B T nh*hs) with nh*hs a multiple "
        "of 3",
    ),
    "key heads do not divide": (
        lambda: kernels.flash_attention_forward(f32(1, 3, 3, 2), KV, KV),
        "flash_attention_forward: nh is 3; it must be a multiple of nkv = 2",
    ),
    "nothing to choose from": (
        lambda: kernels.argmax_sample(np.empty((2, 0), F32)),
        "argmax_sample: logits has shape (2, 0); expected (N V) with V at least 1",
    ),
    "transposed": (
        lambda: kernels.gelu_forward(X.swapaxes(1, 2)),
        "gelu_forward: x has strides (12, 1, 4) in elements; expected a contiguous last "
        "dimension, which numpy.ascontiguousarray gives",
    ),
    "weight with gaps": (
        lambda: kernels.linear_forward(X, spread(WEIGHT)),
        "linear_forward: weight has strides (7, 1) in elements; expected a C-contiguous array, "
        "which numpy.ascontiguousarray gives",
    ),
    "broadcast": (
        lambda: kernels.gelu_forward(np.broadcast_to(GAMMA, (3, 4))),
        "gelu_forward: x has strides (0, 1) in elements; expected positive strides and elements "
        "that share no memory, which numpy.ascontiguousarray gives",
    ),
    "backwards": (
        lambda: kernels.gelu_forward(X[:, ::-1]),
        "gelu_forward: x has strides (12, -4, 1) in elements; expected positive strides and "
        "elements that share no memory, which numpy.ascontiguousarray gives",
    ),
    "rows that do not flatten": (
        lambda: kernels.gelu_forward(f32(2, 5, 4)[:, :3]),
        "gelu_forward: x has strides (20, 4, 1) in elements; expected rows at one distance from "
        "each other, which numpy.ascontiguousarray gives",
    ),
    "misaligned": (
        lambda: kernels.gelu_forward(np.frombuffer(bytearray(17), F32, offset=1)),
        "gelu_forward: x is misaligned in memory; expected an aligned array, which "
        "numpy.ascontiguousarray gives",
    ),
    "id too large": (
        lambda: kernels.embedding_forward([[0, 1], [5, 0]], WEIGHT),
        "embedding_forward: tokens has 5 at 2; it must be at least 0 and below V = 5",
    ),
    "id negative": (
        lambda: kernels.embedding_forward([-1], WEIGHT),
        "embedding_forward: tokens has -1 at 0; it must be at least 0 and below V = 5",
    ),
    "id outside int32": (
        lambda: kernels.embedding_forward([2**40], WEIGHT),
        "embedding_forward: tokens has 1099511627776; it must fit int32, -2147483648 to 2147483647",
    ),
    "ids of float": (
        lambda: kernels.embedding_forward([0.5], WEIGHT),
        "embedding_forward: tokens is float64; expected integers",
    ),
    "ids of bool": (
        lambda: kernels.embedding_forward([True], WEIGHT),
        "embedding_forward: tokens is bool; expected integers",
    ),
    "ids of str": (
        lambda: kernels.embedding_forward("ab", WEIGHT),
        "embedding_forward: tokens is a str; expected a NumPy array or list of integers",
    ),
    "target": (
        lambda: kernels.softmax_cross_entropy_forward(WEIGHT, [0, 1, 2, 3, -2]),
        "softmax_cross_entropy_forward: targets has -2 at 4; it must be at least 0 and below "
        "V = 4, or ignore_index = -1",
    ),
    "cache row": (
        lambda: kernels.kv_cache_gather(CACHE, CACHE, [0, 2]),
        "kv_cache_gather: rows has 2 at 1; it must be at least 0 and below B = 2",
    ),
    "cache length": (
        lambda: kernels.attention_inference(f32(2, 2, 1, 4), CACHE, CACHE, [6, 7]),
        "attention_inference: lengths has 7 at 1; it must be at least 0 and at most S = 6",
    ),
    "cache position": (
        lambda: kernels.kv_cache_append(CACHE, CACHE.copy(), KV, KV, [0]),
        "kv_cache_append: k has shape (1, 2, 3, 2); expected (B nkv T hs) with B = 2",
    ),
    "past the last position": (
        lambda: kernels.positional_embedding_add_forward(X, f32(4, 4), offset=2),
        "positional_embedding_add_forward: offset is 2; it must be at most S - T = 1",
    ),
    "choice": (
        lambda: kernels.gelu_forward(X, approximate="erf"),  # type: ignore[arg-type]
        "gelu_forward: approximate is 'erf'; expected one of 'tanh', 'none'",
    ),
    "number": (
        lambda: kernels.layernorm_forward(X, GAMMA, eps="a"),  # type: ignore[arg-type]
        "layernorm_forward: eps is 'a'; expected a number",
    ),
    "nan": (
        lambda: kernels.layernorm_forward(X, GAMMA, eps=float("nan")),
        "layernorm_forward: eps is nan; it must be finite",
    ),
    "temperature": (
        lambda: kernels.temperature_scale(X, temperature=0),
        "temperature_scale: temperature is 0; it must be above 0",
    ),
    "k": (
        lambda: kernels.topk_mask(X, k=0),
        "topk_mask: k is 0; it must be at least 1",
    ),
    "k of float": (
        lambda: kernels.topk_mask(X, k=2.5),  # type: ignore[arg-type]
        "topk_mask: k is 2.5; expected an integer",
    ),
    "k too large": (
        lambda: kernels.topk_mask(X, k=10**20),
        "topk_mask: k is 100000000000000000000; it must fit 64 bits",
    ),
    "p": (
        lambda: kernels.topp_mask(X, p=1.5),
        "topp_mask: p is 1.5; it must be in (0, 1]",
    ),
    "softcap": (
        lambda: kernels.flash_attention_forward(Q, KV, KV, softcap=1e-8),
        "flash_attention_forward: softcap is 1e-08; it must be 0 or at least 1e-06",
    ),
    "softcap below 0": (
        lambda: kernels.attention_scores_forward(Q, KV, softcap=-1.0),
        "attention_scores_forward: softcap is -1; it must be 0 or at least 1e-06",
    ),
    "cap": (
        lambda: kernels.softcap_logits(X, cap=0),
        "softcap_logits: cap is 0; it must be at least 1e-06",
    ),
    "switch": (
        lambda: kernels.flash_attention_forward(Q, KV, KV, causal=1),  # type: ignore[arg-type]
        "flash_attention_forward: causal is 1; expected True or False",
    ),
    "backend": (
        lambda: kernels.gelu_forward(X, backend="abacus"),
        f"backend is abacus; the backends here are: {', '.join(BACKENDS)}",
    ),
    "activation without pre": (
        lambda: kernels.linear_backward_data(f32(6, 5), WEIGHT, activation="gelu"),
        "linear_backward_data: pre is missing; it is needed with activation",
    ),
    "accumulate without out": (
        lambda: kernels.embedding_backward(IDS, X, vocab_size=5, accumulate=True),
        "embedding_backward: accumulate is True and out= has no d_weight; expected the array to "
        "add to",
    ),
    "out dtype": (
        lambda: kernels.gelu_forward(X, out=X.astype(np.float64)),  # type: ignore[arg-type]
        "gelu_forward: out= for out is float64; expected float32",
    ),
    "out shape": (
        lambda: kernels.gelu_forward(X, out=X.reshape(6, 4)),
        "gelu_forward: out= for out has shape (6, 4); expected (2, 3, 4)",
    ),
    "out read-only": (
        lambda: kernels.gelu_forward(X, out=read_only),
        "gelu_forward: out= for out is read-only; expected a writable array",
    ),
    "out of another kind": (
        lambda: kernels.gelu_forward(X, out=[1.0]),  # type: ignore[arg-type]
        "gelu_forward: out= for out is a float; expected a NumPy array of float32",
    ),
    "out count": (
        lambda: kernels.layernorm_forward(X, GAMMA, out=(X, X)),  # type: ignore[arg-type]
        "layernorm_forward: out= has 2 arrays; expected 3: out, mean, rstd",
    ),
    "out count of a pair": (
        lambda: kernels.layernorm_backward(X, X, GAMMA, out=X),  # type: ignore[arg-type]
        "layernorm_backward: out= is ndarray; expected 3 arrays: d_x, d_gamma, d_beta",
    ),
    "out over an input": (
        lambda: kernels.residual_add_forward(X, Y, out=Y),
        "residual_add_forward: out overlaps residual, which it may not",
    ),
    "out half over an input": (
        lambda: kernels.gelu_forward(Y.reshape(6, 4)[1:], out=Y.reshape(6, 4)[:-1]),
        "gelu_forward: out overlaps x, which it may not",
    ),
    "outputs over each other": (
        lambda: kernels.residual_add_backward(X, out=(Y, Y)),
        "residual_add_backward: d_x overlaps d_residual, which it may not",
    ),
}
Y = f32(2, 3, 4)


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=list(REFUSALS))
def test_refusal(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(msltx.InvalidValueError) as caught:
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kernels.gelu_forward(), "needs x; it takes: x, approximate, out, backend"),  # type: ignore[call-arg]
        (lambda: kernels.gelu_forward(None), "needs x; it takes: x, approximate, out, backend"),  # type: ignore[arg-type]
        (
            lambda: kernels.gelu_forward(X, "tanh"),  # type: ignore[misc]
            "takes 1 array, but 2 were given; attributes are given by name: x, approximate, out, "
            "backend",
        ),
        (
            lambda: kernels.gelu_forward(X, approx="tanh"),  # type: ignore[call-arg]
            "has no argument approx; it takes: x, approximate, out, backend",
        ),
        (lambda: kernels.gelu_forward(X, x=X), "got x twice"),  # type: ignore[misc]
        (lambda: kernels.topk_mask(X), "needs k="),  # type: ignore[call-arg]
        (lambda: kernels.gelu_forward(X, backend=1), "takes backend as a string"),  # type: ignore[arg-type]
    ],
)
def test_wrong_call(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=rf"^\w+\(\) {re.escape(message)}$"):
        call()


@pytest.mark.parametrize("backend", msltx.backends(), ids=lambda backend: backend.name)
def test_bfloat16_where_the_backend_has_it(backend: msltx.Backend) -> None:
    x = X.astype(ml_dtypes.bfloat16)
    if backend.supports("gelu_forward", "bfloat16"):
        out: Any = kernels.gelu_forward(x, backend=backend.name)
        assert out.dtype == ml_dtypes.bfloat16
    else:
        with pytest.raises(msltx.InvalidValueError, match="does not compute in bfloat16"):
            kernels.gelu_forward(x, backend=backend.name)


def test_inputs_and_attributes_by_name() -> None:
    expected = kernels.layernorm_forward(X, GAMMA, BETA, eps=1e-3)
    found = kernels.layernorm_forward(beta=BETA, x=X, eps=np.float64(1e-3), gamma=GAMMA)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found[0], expected[0])
    default = kernels.flash_attention_forward(Q, KV, KV)[0]
    np.testing.assert_array_equal(
        default,
        kernels.flash_attention_forward(Q, KV, KV, scale=None)[0],  # type: ignore[arg-type]
    )
