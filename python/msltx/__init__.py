"""msltx: train a tokenizer, train a GPT, generate text, look at every number on the way.

The C++ engine is the extension module ``msltx._core``. Everything but errors and thread settings is
loaded on first use, so that ``import msltx`` stays cheap.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

try:
    from msltx._core import (
        BusyError,
        Error,
        FileError,
        GPTConfig,
        InvalidValueError,
        MemoryLimitError,
        __version__,
        get_num_threads,
        matrix_peak,
        read_bandwidth,
    )
    from msltx._core import set_num_threads as _set_num_threads
except ModuleNotFoundError as error:
    if error.name != "msltx._core":
        raise
    raise ImportError(
        "msltx has no compiled engine (msltx._core) for this Python; build it with script/setup "
        "in the checkout, or with: pip install .",
        name="msltx._core",
    ) from error
except KeyboardInterrupt:
    # The program msltx cannot catch it yet: this is what it imports first.
    if (sys.argv or [""])[0].rpartition("/")[2] not in ("msltx", "-m"):
        raise
    print("msltx: interrupted", file=sys.stderr)
    sys.exit(130)

if TYPE_CHECKING:
    from msltx import data, exchange, kernels, optim, plot
    from msltx._backends import Backend, backends
    from msltx.generation import generate
    from msltx.model import GPT
    from msltx.tokenizer import StreamDecoder, Tokenizer
    from msltx.training import train

__all__ = [
    "GPT",
    "Backend",
    "BusyError",
    "Error",
    "FileError",
    "GPTConfig",
    "InvalidValueError",
    "MemoryLimitError",
    "StreamDecoder",
    "Tokenizer",
    "__version__",
    "backends",
    "data",
    "exchange",
    "generate",
    "get_num_threads",
    "kernels",
    "matrix_peak",
    "optim",
    "plot",
    "read_bandwidth",
    "set_num_threads",
    "train",
]

# Public name -> module that has it; None when the name is that module. Each is also imported above
# under `if TYPE_CHECKING:`, for editors and type checkers, and stands in __all__.
_LAZY: dict[str, str | None] = {
    "Backend": "msltx._backends",
    "GPT": "msltx.model",
    "StreamDecoder": "msltx.tokenizer",
    "Tokenizer": "msltx.tokenizer",
    "backends": "msltx._backends",
    "data": None,
    "exchange": None,
    "generate": "msltx.generation",
    "kernels": None,
    "optim": None,
    "plot": None,
    "train": "msltx.training",
}


def set_num_threads(threads: int) -> None:
    """Use this many threads from now on, 1 to 1024. Results do not depend on the number."""
    from msltx._arguments import whole_number

    _set_num_threads(whole_number(threads, "threads", 1, 1024))


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'msltx' has no attribute {name!r}")
    home = _LAZY[name]
    if home is None:
        return importlib.import_module(f"msltx.{name}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
