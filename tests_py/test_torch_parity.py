"""Training in the engine and in PyTorch from the same values on the same batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from msltx import GPTConfig
from msltx.model import GPT
from msltx.optim import AdamW
from shapes import SETTINGS, SHAPES, random_batches

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch_gpt import TorchGPT, adamw  # noqa: E402  (it imports torch)

STEPS = 50
TOLERANCE = 1e-3  # of the loss, absolute


@pytest.mark.slow
def test_first_losses_agree() -> None:
    shape = SHAPES["1m"]
    sizes: dict[str, Any] = {
        "vocab_size": shape.vocab_size,
        "context_length": shape.context_length,
        "embedding_dim": shape.embedding_dim,
        "num_layers": shape.num_layers,
        "num_heads": shape.num_heads,
    }
    model = GPT(GPTConfig(**sizes), seed=1)
    optimizer = AdamW(
        model,
        weight_decay=SETTINGS.weight_decay,
        betas=SETTINGS.betas,
        grad_clip=SETTINGS.grad_clip,
    )
    peer = TorchGPT(**sizes)
    peer.load_state_dict({name: torch.tensor(np.array(p)) for name, p in model.params.items()})
    peer_optimizer = adamw(peer, SETTINGS.lr, SETTINGS.weight_decay, SETTINGS.betas)

    losses = []
    for tokens, targets in random_batches(shape, STEPS):
        loss = model.forward_backward(tokens, targets)
        optimizer.step(lr=SETTINGS.lr)

        peer_loss = peer.loss(*(torch.from_numpy(a.astype(np.int64)) for a in (tokens, targets)))
        peer_optimizer.zero_grad()
        torch.autograd.backward(peer_loss)
        torch.nn.utils.clip_grad_norm_(peer.parameters(), SETTINGS.grad_clip)
        peer_optimizer.step()
        losses.append((loss, peer_loss.item()))
    ours, theirs = np.array(losses).T
    assert ours[-1] < ours[0] - 0.5  # both learn, so that the agreement means something
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)
