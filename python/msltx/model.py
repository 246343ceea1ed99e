"""The GPT: a decoder-only Transformer whose every number can be read and set."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from msltx import _core
from msltx._arguments import MOST_COUNT, MOST_SEED, check_folder, check_type, whole_number
from msltx._checkpoints import find_model
from msltx._core import GPTConfig, InvalidValueError

if TYPE_CHECKING:
    from msltx.tokenizer import Tokenizer

Floats = npt.NDArray[np.float32]

__all__ = ["GPT", "GPTConfig", "Gradients", "Parameters"]


def token_array(tokens: npt.ArrayLike, name: str) -> npt.NDArray[np.int32]:
    """Give token ids as a C-contiguous int32 array of two dimensions.

    Parameters
    ----------
    tokens : array_like of int
        Any integer dtype, or (nested) lists; one sequence of shape (T,) counts as (1, T).
    name : str
        What the ids are, for the error.

    Raises
    ------
    InvalidValueError
        For a dtype that is not of integers, an id that int32 cannot hold, or rows of unlike length.
    """
    try:
        array = np.asarray(tokens)
    except ValueError:
        raise InvalidValueError(
            f"{name} is no array: its rows differ in length, or in how deep they are nested"
        ) from None
    if array.size and array.dtype.kind not in "iu":
        raise InvalidValueError(f"{name} has dtype {array.dtype}; integers are expected")
    if array.ndim == 1:
        array = array[np.newaxis, :]
    limits = np.iinfo(np.int32)
    if array.size and not (limits.min <= array.min() and array.max() <= limits.max):
        worst = array.max() if array.max() > limits.max else array.min()
        raise InvalidValueError(f"{name} holds {worst}, which is no token id")
    return np.ascontiguousarray(array, dtype=np.int32)


def _limit(memory_limit: int | None) -> int:
    if memory_limit is None:
        return 0
    return whole_number(memory_limit, "memory_limit", 1, MOST_COUNT)


def _draw(dropout_seed: int | None, step: int, first_sequence: int) -> dict[str, Any]:
    """Give the arguments that say what dropout draws."""
    if dropout_seed is not None:
        dropout_seed = whole_number(dropout_seed, "dropout_seed", 0, MOST_SEED)
    return {
        "dropout_seed": dropout_seed,
        "step": whole_number(step, "step", 0, 2**32 - 1),
        "first_sequence": whole_number(first_sequence, "first_sequence", 0, 2**32 - 1),
    }


def _documents(documents: npt.ArrayLike | None) -> npt.NDArray[np.int32] | None:
    return None if documents is None else token_array(documents, "documents")


class Gradients(Mapping[str, Floats]):
    """Gradients by parameter name: read-only views, no copies."""

    def __init__(self, core: _core.GPT) -> None:
        self._core = core

    def __getitem__(self, name: str) -> Floats:
        try:
            return self._core.gradient(name)
        except InvalidValueError as error:
            if name in self._core.parameter_names():
                raise
            raise KeyError(str(error)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._core.parameter_names())

    def __len__(self) -> int:
        return len(self._core.parameter_names())


class Parameters(Mapping[str, Floats]):
    """Parameters by name: read-only float32 views, no copies; assign an array to change one."""

    def __init__(self, core: _core.GPT) -> None:
        self._core = core

    def __getitem__(self, name: str) -> Floats:
        try:
            return self._core.parameter(name)
        except InvalidValueError as error:
            raise KeyError(str(error)) from None

    def __setitem__(self, name: str, values: npt.ArrayLike) -> None:
        array = np.asarray(values)
        self._core.set_parameter(name, np.ascontiguousarray(array))

    def __iter__(self) -> Iterator[str]:
        return iter(self._core.parameter_names())

    def __len__(self) -> int:
        return len(self._core.parameter_names())


class GPT:
    """A decoder-only Transformer.

    Parameters
    ----------
    config : GPTConfig
        What it is made of.
    seed : int, default 0
        Each parameter's initial values are drawn from (seed, its name).
    dtype : {"float32", "bfloat16"}, default "float32"
        Compute type. Parameters and gradients are float32 always.
    backend : {"cpu", "reference"}, optional
        Who computes; default MSLTX_BACKEND, or the fastest there is.
    memory_limit : int, optional
        Bytes that parameters, gradients, optimizer and activations may take together; default:
        what the machine has available.
    diagnostic : bool, optional
        Check every op before and after it runs (docs/seeing.md): shapes, aliasing, finite values,
        writes where nothing may be written. The first fault raises msltx.Error, which names op,
        tensor, layer and step. Slow. Default: whether MSLTX_DIAGNOSTIC is 1.

    Raises
    ------
    TypeError
        For a config that is no GPTConfig: GPTConfig(**fields) makes one of a dict.
    InvalidValueError
        For a configuration that this version does not run.
    MemoryLimitError
        Where the parameters do not fit.

    Notes
    -----
    A model has one caller at a time; a second one gets BusyError.
    """

    def __init__(
        self,
        config: GPTConfig,
        *,
        seed: int = 0,
        dtype: str = "float32",
        backend: str | None = None,
        memory_limit: int | None = None,
        diagnostic: bool | None = None,
    ) -> None:
        check_type(config, GPTConfig, "config")
        self._core = _core.GPT(
            config,
            seed=whole_number(seed, "seed", 0, MOST_SEED),
            dtype=dtype,
            backend=backend,
            memory_limit=_limit(memory_limit),
            diagnostic=diagnostic,
        )

    @property
    def config(self) -> GPTConfig:
        """What the model is made of."""
        return self._core.config

    @property
    def dtype(self) -> str:
        """Compute type."""
        return self._core.dtype

    @property
    def backend(self) -> str:
        """Name of the backend that computes."""
        return self._core.backend

    @property
    def diagnostic(self) -> bool:
        """Whether every op is checked; assign to change it."""
        return self._core.diagnostic

    @diagnostic.setter
    def diagnostic(self, on: bool) -> None:
        self._core.diagnostic = on

    @property
    def params(self) -> Parameters:
        """Parameters by name, as read-only views; assign to change one."""
        return Parameters(self._core)

    @property
    def grads(self) -> Gradients:
        """Gradients of the last backward pass by parameter name, as read-only views."""
        return Gradients(self._core)

    @contextlib.contextmanager
    def edit_params(self) -> Iterator[dict[str, Floats]]:
        """Give writable copies of all parameters, taken over when the block ends well.

        All are taken over or, where one has another shape or dtype, none.
        """
        edited = {name: values.copy() for name, values in self.params.items()}
        yield edited
        for name, values in edited.items():
            if name not in self.params:
                raise InvalidValueError(f"the model has no parameter {name}")
            now, then = np.asarray(values), self.params[name]
            if now.shape != then.shape or now.dtype != then.dtype:
                raise InvalidValueError(
                    f"{name} is {then.dtype} {then.shape}; it was given {now.dtype} {now.shape}"
                )
        for name, values in edited.items():
            self.params[name] = values

    def num_parameters(self) -> int:
        """Count the numbers in all parameters; a tied output counts once."""
        return self._core.num_parameters()

    def memory(self) -> dict[str, int]:
        """Give the planned memory in bytes, by purpose."""
        return self._core.memory()

    def forward(
        self,
        tokens: npt.ArrayLike,
        *,
        dropout_seed: int | None = None,
        step: int = 0,
        first_sequence: int = 0,
        documents: npt.ArrayLike | None = None,
    ) -> Floats:
        """Run the trunk.

        Parameters
        ----------
        tokens : array_like of int, shape (B, T) or (T,)
            Ids in [0, vocab_size), T at most context_length.
        dropout_seed, step, first_sequence : int, optional
            As in forward_backward(); the backward that follows draws the same numbers.
        documents : array_like of int, shape of tokens, optional
            As in forward_backward().

        Returns
        -------
        hidden : array, shape (B, T, C)
            What the output projection reads, of the model's dtype (bfloat16 is that of ml_dtypes);
            without a final norm the residual stream, float32. backward() may follow.
        """
        return self._core.forward(
            token_array(tokens, "tokens"),
            **_draw(dropout_seed, step, first_sequence),
            documents=_documents(documents),
        )

    def logits(self, hidden: Floats) -> Floats:
        """Apply the output projection: (..., C), as forward() gives it, to float32 (..., V)."""
        return self._core.logits(hidden)

    def trace(self, tokens: npt.ArrayLike) -> dict[str, npt.NDArray[Any]]:
        """Run trunk and head and give every activation by name.

        Parameters
        ----------
        tokens : array_like of int, shape (B, T) or (T,)
            Ids in [0, vocab_size), T at most context_length.

        Returns
        -------
        activations : dict of array
            New arrays in the order in which they were computed, from "embed" over
            "blocks.0.attn.probabilities" (B, nh, T, T) to "logits" (B, T, V); docs/seeing.md lists
            the names. They have the model's dtype where its activations do. Nothing is dropped
            out. backward() may follow, as after forward().

        Notes
        -----
        Takes memory for all activations at once, and scores and probabilities of attention, which
        the model itself never has whole, are computed beside it.
        """
        from msltx._trace import WITH_INPUTS, named

        ids = token_array(tokens, "tokens")
        return named(self._core.trace(ids, WITH_INPUTS), self.config, ids.shape, self.backend)

    def backward(
        self,
        *,
        d_logits: Floats | None = None,
        d_hidden: Floats | None = None,
        accumulate: bool = False,
    ) -> None:
        """Compute all gradients from that of the logits or of the hidden state.

        Parameters
        ----------
        d_logits : float32 array, shape (B, T, V), optional
            Gradient of a loss with respect to logits(hidden) of the last forward().
        d_hidden : float32 array, shape (B, T, C), optional
            Gradient with respect to hidden, the output projection left out; its weight then gets
            no gradient from the head. Exactly one of the two is given.
        accumulate : bool, default False
            Add to the gradients there are, instead of overwriting them.

        Raises
        ------
        InvalidValueError
            Without a forward() before it, or for another shape or dtype.
        """
        if (d_logits is None) == (d_hidden is None):
            raise InvalidValueError("backward takes exactly one of d_logits and d_hidden")
        if d_logits is not None:
            self._core.backward_from_logits(d_logits, accumulate)
        elif d_hidden is not None:
            self._core.backward_from_hidden(d_hidden, accumulate)

    def forward_backward(
        self,
        tokens: npt.ArrayLike,
        targets: npt.ArrayLike,
        *,
        accumulate: bool = False,
        normalizer: float | None = None,
        ignore_index: int = -1,
        dropout_seed: int | None = None,
        step: int = 0,
        first_sequence: int = 0,
        documents: npt.ArrayLike | None = None,
    ) -> float:
        """Compute the cross entropy of the next tokens and its gradients.

        Parameters
        ----------
        tokens, targets : array_like of int, shape (B, T) or (T,)
            Ids in [0, vocab_size); a target equal to ignore_index is not counted.
        accumulate : bool, default False
            Add to the gradients there are, instead of overwriting them.
        normalizer : float, optional
            What the sum of losses is divided by; default: the number of counted targets. A loop
            of its own over micro-batches passes the count of the whole step.
        ignore_index : int, default -1
        dropout_seed : int, optional
            Where the configuration has dropout: what is dropped follows from this number, step and
            the number of the sequence alone. Without it nothing is dropped.
        step : int, default 0
            The step of the training, so that each draws numbers of its own.
        first_sequence : int, default 0
            Number within the step of the first sequence, for loops over micro-batches.
        documents : array_like of int, shape of tokens, optional
            The number of each token's document within its sequence, as msltx.data.Batches with
            inside_documents gives it: attention then stays inside documents. Learned and
            sinusoidal positions count from the beginning of the sequence all the same.

        Returns
        -------
        loss : float
            0 for a batch in which nothing is counted.
        """
        if normalizer is not None and not normalizer > 0:
            raise InvalidValueError(f"normalizer is {normalizer}; it takes a number above 0")
        return self._core.forward_backward(
            token_array(tokens, "tokens"),
            token_array(targets, "targets"),
            accumulate,
            0.0 if normalizer is None else normalizer,
            ignore_index,
            **_draw(dropout_seed, step, first_sequence),
            documents=_documents(documents),
        )

    def evaluate(
        self,
        tokens: npt.ArrayLike,
        targets: npt.ArrayLike,
        *,
        ignore_index: int = -1,
        documents: npt.ArrayLike | None = None,
    ) -> float:
        """Give the mean cross entropy over counted targets; gradients stay as they are."""
        y = token_array(targets, "targets")
        counted = int(np.count_nonzero(y != ignore_index))
        total = self._core.evaluate_sum(
            token_array(tokens, "tokens"), y, ignore_index, documents=_documents(documents)
        )
        return total / counted if counted else 0.0

    def zero_grads(self) -> None:
        """Set all gradients to zero."""
        self._core.zero_gradients()

    def check_gradients(self, tokens: npt.ArrayLike, targets: npt.ArrayLike) -> dict[str, float]:
        """Compare this model's gradients on a batch with the reference backend's.

        Returns
        -------
        errors : dict
            For each parameter the norm of the difference over the norm of all reference gradients
            together. Values above 1e-5 in float32 deserve a look.
        """
        reference = GPT(self.config, backend="reference")
        for name, values in self.params.items():
            reference.params[name] = values
        reference.forward_backward(tokens, targets)
        self.forward_backward(tokens, targets)
        total = np.sqrt(
            sum(float(np.sum(np.square(g, dtype=np.float64))) for g in reference.grads.values())
        )
        return {
            name: float(np.linalg.norm(self.grads[name].astype(np.float64) - g)) / max(total, 1e-30)
            for name, g in reference.grads.items()
        }

    def save(self, path: str | os.PathLike[str], tokenizer: Tokenizer | None = None) -> None:
        """Write a model folder (config.json, model.safetensors and, if given, tokenizer.json).

        The folder appears whole or not at all; a model folder of that name is replaced.
        """
        check_folder(os.fspath(path), "path")
        self._core.save(os.fspath(path), "" if tokenizer is None else tokenizer.to_json())

    @classmethod
    def load(cls, path: str | os.PathLike[str], **options: Any) -> GPT:
        """Read a model folder, a checkpoint, or the last checkpoint of a run.

        Parameters
        ----------
        path : path-like
        **options
            dtype, backend, memory_limit and diagnostic, as for a new model.

        Warns
        -----
        UserWarning
            Where an older checkpoint of a run is read because files of the last are missing.
        """
        model = cls.__new__(cls)
        memory_limit = _limit(options.pop("memory_limit", None))
        folder = find_model(path, stacklevel=2)
        model._core = _core.GPT.load(os.fspath(folder), memory_limit=memory_limit, **options)
        return model

    def __repr__(self) -> str:
        return f"GPT({self.num_parameters():,} parameters, {self.dtype}, backend {self.backend!r})"
