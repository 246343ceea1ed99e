"""PyTorch as a contender of bench/train.py: eager or compiled, float32 or bfloat16."""

from __future__ import annotations

import contextlib

import numpy as np
import torch

from shapes import Settings, Shape, Tokens
from torch_gpt import TorchGPT, adamw


class TorchTrainee:
    """A model in training; compiled whole, loss included, where `compiled`.

    bfloat16 is PyTorch's autocast: parameters and optimizer stay float32.
    """

    def __init__(
        self,
        shape: Shape,
        dtype: str,
        threads: int,
        settings: Settings,
        compiled: bool,
    ) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(1)
        self.model = TorchGPT(
            shape.vocab_size,
            shape.context_length,
            shape.embedding_dim,
            shape.num_layers,
            shape.num_heads,
        )
        self.optimizer = adamw(self.model, settings.lr, settings.weight_decay, settings.betas)
        self.grad_clip = settings.grad_clip
        self.loss = self.model.loss
        if compiled:
            self.loss = torch.compile(self.model.loss, dynamic=False)
        bfloat16 = dtype == "bfloat16"
        self.precision = (
            torch.autocast("cpu", torch.bfloat16) if bfloat16 else contextlib.nullcontext()
        )
        self.parameters = list(self.model.parameters())

    def step(self, tokens: Tokens, targets: Tokens) -> float:
        """One optimizer step; give its loss."""
        with self.precision:
            loss = self.loss(*(torch.from_numpy(a.astype(np.int64)) for a in (tokens, targets)))
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.parameters, self.grad_clip)
        self.optimizer.step()
        return float(loss.item())
