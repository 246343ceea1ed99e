"""NumPy float64 definitions of what the engine computes: the judge of every kernel and the model.

One file per kernel family; signatures are those of msltx.kernels (inputs in order, attributes
keyword-only, outputs in order), results carry the magnitude that a tolerance needs.
"""

from .registry import DEFINITIONS, Definition, backward_arguments, call, split_arguments
from .result import Result, as_tuple
from .tolerance import assert_close, assert_result

__all__ = [
    "DEFINITIONS",
    "Definition",
    "Result",
    "as_tuple",
    "assert_close",
    "assert_result",
    "backward_arguments",
    "call",
    "split_arguments",
]
