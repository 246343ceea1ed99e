"""The NumPy GPT and the PyTorch peer of the benchmarks are one model. Skips without PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from reference.gpt import GPT, Config, Trainer, gradient_norm, random_parameters

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch_gpt import TorchGPT, adamw  # noqa: E402  (it imports torch)

CONFIG = Config(vocab_size=23, context_length=9, embedding_dim=12, num_layers=2, num_heads=3)
STEPS = 10
LR = 3e-3
# Both sides compute in float64; what differs is the order of sums.
TOLERANCE = 1e-10
# torch divides by norm + 1e-6 when it clips.
CLIP_TOLERANCE = 1e-5


def test_ten_steps_agree() -> None:
    rng = np.random.default_rng()
    numpy_model = GPT(CONFIG, random_parameters(CONFIG, rng, scale=0.2))
    torch_model = TorchGPT(23, 9, 12, 2, 3).double()
    torch_model.load_state_dict({n: torch.tensor(p) for n, p in numpy_model.parameters.items()})
    optimizer = adamw(torch_model, LR, weight_decay=0.1, betas=(0.9, 0.95))
    trainer = Trainer(numpy_model)

    for step in range(STEPS):
        tokens, targets = rng.integers(23, size=(2, 3, 8))
        targets[0, :3] = -1
        numpy_loss = trainer.step([(tokens, targets)], LR)

        optimizer.zero_grad()
        loss = torch_model.loss(torch.tensor(tokens), torch.tensor(targets))
        torch.autograd.backward(loss)
        tolerance = TOLERANCE if step == 0 else CLIP_TOLERANCE
        assert numpy_loss == pytest.approx(loss.item(), rel=tolerance)
        whole = gradient_norm(numpy_model.gradients)
        for name, parameter in torch_model.named_parameters():
            assert parameter.grad is not None
            difference = np.abs(parameter.grad.numpy() - numpy_model.gradients[name]).max()
            assert difference <= tolerance * whole, (step, name)
        torch.nn.utils.clip_grad_norm_(torch_model.parameters(), 1.0)
        optimizer.step()
