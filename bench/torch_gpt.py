"""GPT-2 in plain, good PyTorch: the peer that training is raced against and compared with.

Parameters carry the engine's names and layouts, so `load_state_dict` takes the engine's values.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IGNORE_INDEX = -1
INITIAL_STD = 0.02  # GPT-2


class Attention(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, C] -> [B, T, C]."""
        batch, length, width = x.shape
        split = self.qkv(x).view(batch, length, 3, self.num_heads, width // self.num_heads)
        q, k, v = split.permute(2, 0, 3, 1, 4).unbind()  # each [B, nh, T, hs]
        mix = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.out(mix.transpose(1, 2).reshape(x.shape))
        return out


class Block(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, num_heads)
        self.norm2 = nn.LayerNorm(width)
        # A dictionary, because "in" cannot be an attribute's name.
        hidden = 4 * width
        self.ff = nn.ModuleDict({"in": nn.Linear(width, hidden), "out": nn.Linear(hidden, width)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        hidden = F.gelu(self.ff["in"](self.norm2(x)), approximate="tanh")
        out: Tensor = x + self.ff["out"](hidden)
        return out


class TorchGPT(nn.Module):
    """Learned positions, pre-norm, GELU tanh, all biases, output tied to the embedding."""

    def __init__(
        self,
        vocab_size: int,
        context_length: int,
        embedding_dim: int,
        num_layers: int,
        num_heads: int,
    ) -> None:
        super().__init__()
        self.embed = nn.ModuleDict(
            {
                "tokens": nn.Embedding(vocab_size, embedding_dim),
                "positions": nn.Embedding(context_length, embedding_dim),
            }
        )
        self.blocks = nn.ModuleList(Block(embedding_dim, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(embedding_dim)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                residual = name.endswith(("attn.out.weight", "ff.out.weight"))
                std = INITIAL_STD / (2 * num_layers) ** 0.5 if residual else INITIAL_STD
                nn.init.normal_(parameter, std=std)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [B, T] -> logits [B, T, V]."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.embed["tokens"](tokens) + self.embed["positions"](places)
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.get_parameter("embed.tokens.weight"))

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean cross entropy over the targets that count."""
        logits = self(tokens)
        return F.cross_entropy(
            logits.view(-1, logits.shape[-1]), targets.reshape(-1), ignore_index=IGNORE_INDEX
        )


def adamw(
    model: TorchGPT, lr: float, weight_decay: float, betas: tuple[float, float], eps: float = 1e-8
) -> torch.optim.AdamW:
    """PyTorch's fastest AdamW, decay on tensors with two dimensions only."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, fused=True)
