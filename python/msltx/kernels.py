"""Every kernel of the engine on NumPy arrays.

``kernels.<name>(inputs..., attribute=..., out=..., backend=...)``: inputs in C++ order, attributes
by name, new arrays back in C++ output order. Arrays are used in place, never converted (only token
ids and their like may be integers of any type, or lists); N in a shape stands for any number of
leading dimensions, none included. docs/kernels.md lists all of them.
"""

from __future__ import annotations

from typing import Any

from msltx._composed_kernels import COMPOSED
from msltx._derived_kernels import DERIVED

# Older names of the same things. Two that differ a little are functions in _composed_kernels.
ALIASES: dict[str, str] = {
    "embedding_lookup": "embedding_forward",
    "apply_positional_encoding": "positional_embedding_add_forward",
    "qkv_projection": "linear_forward",
    "scaled_dot_product_attention": "flash_attention_forward",
    "mhsa_output_projection": "linear_forward",
    "layer_norm": "layernorm_forward",
    "output_logits_projection": "linear_forward",
    "cross_entropy_loss": "softmax_cross_entropy_forward",
    "loss_gradient": "softmax_cross_entropy_backward",
    "zero_gradients": "zero",
    "adamw_optimizer": "adamw",
    "gradient_clipping": "clip",
    "qkv_projection_inference": "linear_forward",
    "scaled_dot_product_attention_inference": "attention_inference",
}
ALIASES.update(
    (f"{name}_forward", name)
    for name in DERIVED
    if "_forward" not in name and "_backward" not in name
)

_KERNELS: dict[str, Any] = {**DERIVED, **COMPOSED}
_KERNELS.update((older, _KERNELS[name]) for older, name in ALIASES.items())
globals().update(_KERNELS)

__all__ = sorted(_KERNELS)
