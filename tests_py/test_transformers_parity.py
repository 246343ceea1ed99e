"""Known architectures from outside: transformers' models with random weights, copied over, give the
same logits and gradients. Skips without torch and transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from msltx import GPTConfig
from msltx.model import GPT

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

TOLERANCE = 1e-4  # of a row of logits, and of a gradient
NOISE = 1e-6  # of all gradients together: what a gradient that should be 0 may have
VOCABULARY, CONTEXT, WIDTH, LAYERS, HEADS, INNER = 53, 32, 48, 3, 4, 80
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
    "max_position_embeddings": CONTEXT,
    "attention_dropout": 0.0,
    "pad_token_id": None,
    "attn_implementation": "eager",
}
OURS: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "context_length": CONTEXT,
    "embedding_dim": WIDTH,
    "num_layers": LAYERS,
    "num_heads": HEADS,
}
LLAMA: dict[str, Any] = {
    **OURS,
    "ff_dim": INNER,
    "norm": "rmsnorm",
    "positions": "rope",
    "activation": "swiglu",
    "bias": False,
    "norm_eps": 1e-6,
}
Tensors = dict[str, Any]


def llama_names(state: Tensors) -> Tensors:
    """Parameters of the Llama line under our names."""
    out = {"embed.tokens.weight": state["model.embed_tokens.weight"]}
    for i in range(LAYERS):
        theirs, ours = f"model.layers.{i}.", f"blocks.{i}."

        def joined(parts: list[str], theirs: str = theirs) -> Any:
            return torch.cat([state[theirs + part] for part in parts])

        sandwich = theirs + "pre_feedforward_layernorm.weight" in state
        names = {
            "norm1.weight": "input_layernorm.weight",
            "attn.out.weight": "self_attn.o_proj.weight",
            "attn.q_norm.weight": "self_attn.q_norm.weight",
            "attn.k_norm.weight": "self_attn.k_norm.weight",
            "ff.out.weight": "mlp.down_proj.weight",
            "norm2.weight": "post_attention_layernorm.weight",
        }
        if sandwich:
            names["norm1_post.weight"] = "post_attention_layernorm.weight"
            names["norm2.weight"] = "pre_feedforward_layernorm.weight"
            names["norm2_post.weight"] = "post_feedforward_layernorm.weight"
        for name, other in names.items():
            if theirs + other in state:
                out[ours + name] = state[theirs + other]
        for kind in ("weight", "bias"):
            if f"{theirs}self_attn.q_proj.{kind}" in state:
                out[f"{ours}attn.qkv.{kind}"] = joined(
                    [f"self_attn.{part}_proj.{kind}" for part in "qkv"]
                )
        out[ours + "ff.in.weight"] = joined(["mlp.gate_proj.weight", "mlp.up_proj.weight"])
    out["norm.weight"] = state["model.norm.weight"]
    if "lm_head.weight" in state:
        out["head.weight"] = state["lm_head.weight"]
    return out


def gpt2_names(state: Tensors) -> Tensors:
    """GPT-2's, whose linear weights lie (in, out)."""
    out = {
        "embed.tokens.weight": state["transformer.wte.weight"],
        "embed.positions.weight": state["transformer.wpe.weight"],
        "norm.weight": state["transformer.ln_f.weight"],
        "norm.bias": state["transformer.ln_f.bias"],
    }
    parts = {
        "norm1": "ln_1",
        "attn.qkv": "attn.c_attn",
        "attn.out": "attn.c_proj",
        "norm2": "ln_2",
        "ff.in": "mlp.c_fc",
        "ff.out": "mlp.c_proj",
    }
    for i in range(LAYERS):
        for ours, theirs in parts.items():
            weight = state[f"transformer.h.{i}.{theirs}.weight"]
            out[f"blocks.{i}.{ours}.weight"] = weight.T if weight.ndim == 2 else weight
            out[f"blocks.{i}.{ours}.bias"] = state[f"transformer.h.{i}.{theirs}.bias"]
    return out


@dataclass(frozen=True)
class Peer:
    """An architecture: how transformers makes it, and what it is here."""

    model: str
    config: str
    theirs: dict[str, Any]
    ours: dict[str, Any]
    names: Callable[[Tensors], Tensors] = llama_names


ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
GEMMA: dict[str, Any] = {
    **LLAMA,
    "activation": "geglu",
    "norm_plus_one": True,
    "embedding_scale": WIDTH**0.5,
    "head_dim": 20,
    "num_kv_heads": 1,
}
PEERS = {
    "GPT2LMHeadModel": Peer(
        "GPT2LMHeadModel",
        "GPT2Config",
        {
            "vocab_size": VOCABULARY,
            "n_positions": CONTEXT,
            "n_embd": WIDTH,
            "n_layer": LAYERS,
            "n_head": HEADS,
            "resid_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "attn_pdrop": 0.0,
            "attn_implementation": "eager",
        },
        OURS,
        gpt2_names,
    ),
    "LlamaForCausalLM": Peer(
        "LlamaForCausalLM",
        "LlamaConfig",
        {**SIZES, **ROPE, "num_key_value_heads": 2, "tie_word_embeddings": False},
        {**LLAMA, "num_kv_heads": 2, "tie_weights": False},
    ),
    "LlamaForCausalLM, Llama 3 rope": Peer(
        "LlamaForCausalLM",
        "LlamaConfig",
        {**SIZES, "rope_parameters": LLAMA3, "num_key_value_heads": 1, "tie_word_embeddings": True},
        {
            **LLAMA,
            "num_kv_heads": 1,
            "rope_theta": 500.0,
            "rope_scaling": {"kind": "llama3", "factor": 4.0, "original_context_length": 16},
        },
    ),
    "MistralForCausalLM": Peer(
        "MistralForCausalLM",
        "MistralConfig",
        {
            **SIZES,
            **ROPE,
            "num_key_value_heads": 2,
            "sliding_window": 7,
            "tie_word_embeddings": False,
        },
        {**LLAMA, "num_kv_heads": 2, "tie_weights": False, "sliding_window": 7},
    ),
    "Qwen2ForCausalLM": Peer(
        "Qwen2ForCausalLM",
        "Qwen2Config",
        {**SIZES, **ROPE, "num_key_value_heads": 2, "tie_word_embeddings": True},
        {
            **LLAMA,
            "num_kv_heads": 2,
            "bias": {
                "qkv": True,
                "attention_out": False,
                "feed_forward": False,
                "norm": False,
                "output": False,
            },
        },
    ),
    "Qwen3ForCausalLM": Peer(
        "Qwen3ForCausalLM",
        "Qwen3Config",
        {**SIZES, **ROPE, "num_key_value_heads": 2, "head_dim": 20, "tie_word_embeddings": False},
        {**LLAMA, "num_kv_heads": 2, "head_dim": 20, "qk_norm": True, "tie_weights": False},
    ),
    "GemmaForCausalLM": Peer(
        "GemmaForCausalLM",
        "GemmaConfig",
        {
            **SIZES,
            **ROPE,
            "num_key_value_heads": 1,
            "head_dim": 20,
            "hidden_activation": "gelu_pytorch_tanh",
        },
        GEMMA,
    ),
    "Gemma2ForCausalLM": Peer(
        "Gemma2ForCausalLM",
        "Gemma2Config",
        {
            **SIZES,
            **ROPE,
            "num_key_value_heads": 1,
            "head_dim": 20,
            "query_pre_attn_scalar": 30,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0,
            "sliding_window": 6,
            "hidden_activation": "gelu_pytorch_tanh",
        },
        {
            **GEMMA,
            "norm_placement": "sandwich",
            "attention_scale": 30**-0.5,
            "attention_softcap": 2.0,
            "logit_softcap": 3.0,
            "sliding_window": [6, None],
        },
    ),
}


def randomized(peer: Peer) -> Any:
    """transformers' model with every parameter drawn, norms and biases included."""
    config = getattr(transformers, peer.config)(**peer.theirs)
    model = getattr(transformers, peer.model)(config).float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = 0.15 * torch.randn(parameter.shape)
            one = "norm" in name or "ln_" in name
            if one and parameter.ndim == 1 and not name.endswith("bias"):
                drawn += 0.0 if "Gemma" in peer.model else 1.0
            parameter.copy_(drawn)
    return model


def compare(model: GPT, theirs: Any, peer: Peer, batch: int, length: int) -> None:
    tokens, targets = np.random.default_rng().integers(VOCABULARY, size=(2, batch, length))
    theirs.zero_grad()
    logits = theirs(torch.tensor(tokens), use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(
        logits.reshape(-1, VOCABULARY), torch.tensor(targets).reshape(-1)
    )
    torch.autograd.backward(loss)

    ours = model.logits(model.forward(tokens))
    expected = logits.detach().numpy()
    error = np.linalg.norm(ours - expected, axis=-1) / np.linalg.norm(expected, axis=-1)
    assert error.max() <= TOLERANCE

    assert model.forward_backward(tokens, targets) == pytest.approx(loss.item(), rel=TOLERANCE)
    gradients = peer.names({n: p.grad for n, p in theirs.named_parameters()})
    whole = np.sqrt(sum(float((g**2).sum()) for g in gradients.values()))
    assert set(model.grads) == set(gradients)
    for name, gradient in gradients.items():
        difference = np.linalg.norm(model.grads[name] - gradient.numpy())
        limit = TOLERANCE * float(gradient.norm()) + NOISE * whole
        assert difference <= limit, f"{name}: {difference:.3g}, limit {limit:.3g}"


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_logits_and_gradients_agree(peer: Peer) -> None:
    config = GPTConfig(**peer.ours)
    theirs = randomized(peer)
    state = peer.names(dict(theirs.named_parameters()))
    model = GPT(config)
    assert {name: tuple(p.shape) for name, p in state.items()} == dict(config.parameters())
    for name, parameter in state.items():
        model.params[name] = parameter.detach().numpy().copy()
    for batch, length in ((2, 13), (3, 1), (1, 32), (5, 7)):
        compare(model, theirs, peer, batch, length)
