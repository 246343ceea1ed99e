"""msltx.GPT from Python: views, errors, losses of one's own, saving."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import msltx
from msltx import _core

CONFIG = msltx.GPTConfig(
    vocab_size=61, context_length=16, embedding_dim=24, num_layers=2, num_heads=3
)


def batch(shape: tuple[int, int] = (4, 16), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 61, shape), rng.integers(0, 61, shape)


@pytest.fixture
def model() -> msltx.GPT:
    return msltx.GPT(CONFIG, seed=3)


def test_same_seed_same_values_and_any_thread_count_same_bits(model: msltx.GPT) -> None:
    again = msltx.GPT(CONFIG, seed=3)
    other = msltx.GPT(CONFIG, seed=4)
    name = "blocks.1.ff.in.weight"
    np.testing.assert_array_equal(model.params[name], again.params[name])
    assert np.any(model.params[name] != other.params[name])
    tokens, targets = batch()
    before = msltx.get_num_threads()
    try:
        gradients = []
        for threads in (1, 2, 3, 8):
            msltx.set_num_threads(threads)
            model.forward_backward(tokens, targets)
            gradients.append({k: v.copy() for k, v in model.grads.items()})
        for other_gradients in gradients[1:]:
            for key, value in gradients[0].items():
                np.testing.assert_array_equal(value, other_gradients[key])
    finally:
        msltx.set_num_threads(before)


def test_a_loss_of_ones_own_equals_the_built_in_one(model: msltx.GPT) -> None:
    tokens, targets = batch()
    loss = model.forward_backward(tokens, targets)
    built_in = {k: v.copy() for k, v in model.grads.items()}

    z = model.logits(model.forward(tokens)).astype(np.float64)
    p = np.exp(z - z.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    picked = np.take_along_axis(p, targets[..., None], -1)
    assert loss == pytest.approx(-np.log(picked).mean(), rel=1e-5)
    g = p.copy()
    np.put_along_axis(g, targets[..., None], picked - 1, -1)
    model.backward(d_logits=(g / targets.size).astype(np.float32))
    for name, value in built_in.items():
        np.testing.assert_allclose(model.grads[name], value, atol=2e-7 + 1e-5 * np.abs(value).max())


@pytest.mark.parametrize("backend", [backend.name for backend in msltx.backends()])
def test_a_model_in_bfloat16(backend: str, tmp_path: Path) -> None:
    tokens, targets = batch()
    wide = msltx.GPT(CONFIG, seed=3, backend=backend)
    narrow = msltx.GPT(CONFIG, seed=3, backend=backend, dtype="bfloat16")
    assert narrow.dtype == "bfloat16"
    loss = narrow.forward_backward(tokens, targets)
    assert loss == pytest.approx(wide.forward_backward(tokens, targets), rel=2e-4)
    assert narrow.evaluate(tokens, targets) == pytest.approx(loss, rel=1e-5)
    for name, value in wide.grads.items():
        assert narrow.grads[name].dtype == np.float32
        error = np.linalg.norm(narrow.grads[name] - value)
        assert error < 0.02 * np.linalg.norm(value) + 1e-6, name

    hidden = narrow.forward(tokens)
    assert hidden.dtype == ml_dtypes.bfloat16
    logits = narrow.logits(hidden)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, wide.logits(wide.forward(tokens)), atol=0.02)
    with pytest.raises(ValueError, match="expected bfloat16"):
        narrow.logits(hidden.astype(np.float32))
    narrow.backward(d_logits=np.ones_like(logits))

    greedy = msltx.generate(narrow, None, [3, 1, 4], max_tokens=5, temperature=0)
    assert len(greedy.tokens) == 5
    narrow.save(tmp_path / "model")
    loaded = msltx.GPT.load(tmp_path / "model", dtype="bfloat16", backend=backend)
    assert loaded.evaluate(tokens, targets) == narrow.evaluate(tokens, targets)
    assert msltx.GPT.load(tmp_path / "model").dtype == "float32"


def test_accumulating_adds(model: msltx.GPT) -> None:
    tokens, targets = batch()
    model.forward_backward(tokens, targets)
    once = {k: v.copy() for k, v in model.grads.items()}
    model.forward_backward(tokens, targets, accumulate=True)
    for name, value in once.items():
        np.testing.assert_allclose(model.grads[name], 2 * value, atol=1e-7, rtol=1e-5)
    model.zero_grads()
    assert all(not np.any(g) for g in model.grads.values())


def test_evaluate_counts_only_what_counts(model: msltx.GPT) -> None:
    tokens, targets = batch()
    targets[:, 8:] = -1
    assert model.evaluate(tokens, targets) == pytest.approx(
        model.evaluate(tokens[:, :8], targets[:, :8]), rel=1e-5
    )
    assert model.evaluate(tokens, np.full_like(targets, -1)) == 0.0


def test_parameters_are_read_only_views_changed_by_assignment(model: msltx.GPT) -> None:
    tokens, targets = batch()
    before = model.evaluate(tokens, targets)
    view = model.params["norm.weight"]
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 2
    model.params["norm.weight"] = np.zeros(24, np.float32)
    assert view[0] == 0
    assert model.evaluate(tokens, targets) == pytest.approx(np.log(61), rel=1e-6) != before
    with model.edit_params() as p:
        p["norm.weight"][:] = 1
    assert model.evaluate(tokens, targets) == before
    with pytest.raises(ValueError, match=r"norm\.weight is float32 \(24,\); it was given"):
        model.params["norm.weight"] = np.zeros(23, np.float32)
    with pytest.raises(ValueError, match="float64; expected float32"):
        model.params["norm.weight"] = np.zeros(24)
    with pytest.raises(KeyError, match=r"no parameter nothing"):
        model.params["nothing"]


def test_gradients_agree_with_the_reference_backend(model: msltx.GPT) -> None:
    errors = model.check_gradients(*batch())
    assert errors.keys() == model.params.keys()
    assert max(errors.values()) < 1e-5


def test_optimizer_steps_change_parameters_and_report(model: msltx.GPT) -> None:
    optimizer = msltx.optim.AdamW(model, weight_decay=0.1, grad_clip=1.0)
    with pytest.raises(ValueError, match="after a backward pass"):
        optimizer.step(lr=1e-2)
    tokens, targets = batch()
    first = model.forward_backward(tokens, targets)
    for _ in range(30):
        model.forward_backward(tokens, targets)
        info = optimizer.step(lr=1e-2)
    assert info.grad_norm > 0
    assert not info.skipped
    assert optimizer.steps == 30
    assert model.evaluate(tokens, targets) < 0.6 * first
    with pytest.raises(ValueError, match=r"beta1 is 1; it takes"):
        msltx.optim.AdamW(model, betas=(1.0, 0.9))


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([[1, 61]], r"token 61 at position 1 is outside \[0, 61\)"),
        ([[-1]], r"token -1 at position 0"),
        ([[0] * 17], "longer than the model's context_length of 16"),
        (np.zeros((0, 4), int), "has nothing in it"),
        ([[0.5]], "dtype float64; integers are expected"),
        ([[2**40]], "which is no token id"),
        (np.zeros((1, 1, 1), int), "3 dimensions"),
    ],
)
def test_bad_tokens_are_one_sentence(model: msltx.GPT, tokens: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.forward(tokens)  # type: ignore[arg-type]


def test_backward_needs_a_forward(model: msltx.GPT) -> None:
    g = np.zeros((4, 16, 61), np.float32)
    with pytest.raises(ValueError, match="needs a forward"):
        model.backward(d_logits=g)
    model.forward(batch()[0])
    with pytest.raises(ValueError, match="exactly one"):
        model.backward()
    with pytest.raises(ValueError, match=r"expected float32 \(64, 61\)"):
        model.backward(d_logits=g[:2])


def test_memory_limit_is_kept() -> None:
    small = msltx.GPT(CONFIG, memory_limit=300_000)
    with pytest.raises(MemoryError, match="take a smaller batch") as raised:
        small.forward_backward(*batch((64, 16)))
    for part in ("parameters", "gradients", "optimizer", "batch", "activations", "scratch"):
        assert f"{part} " in str(raised.value)
    with pytest.raises(MemoryError, match="parameters take"):
        msltx.GPT(CONFIG, memory_limit=1000)


@pytest.mark.parametrize("backward", [False, True])
def test_a_memory_limit_is_exact(backward: bool) -> None:
    def step(model: msltx.GPT, rows: int) -> int:
        tokens, targets = batch((rows, 16))
        if backward:
            model.forward_backward(tokens, targets)
        else:
            model.forward(tokens)
        return model.memory()["total"]

    need = {rows: step(msltx.GPT(CONFIG), rows) for rows in (4, 32)}
    assert step(msltx.GPT(CONFIG, memory_limit=need[32]), 32) == need[32]
    limited = msltx.GPT(CONFIG, memory_limit=need[32] - 1)
    for _ in range(2):  # what was refused weighs on nothing
        with pytest.raises(MemoryError, match="batch of 32 x 16"):
            step(limited, 32)
        assert step(limited, 4) == need[4]


def test_a_second_caller_gets_an_error() -> None:
    config = msltx.GPTConfig(
        vocab_size=500, context_length=128, embedding_dim=128, num_layers=4, num_heads=4
    )
    model = msltx.GPT(config)
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 500, (16, 128))
    errors: list[BaseException] = []

    def call() -> None:
        try:
            for _ in range(5):
                model.forward_backward(tokens, tokens)
        except msltx.BusyError as error:
            errors.append(error)

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors
    assert "in use by another caller" in str(errors[0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda m: msltx.GPT(CONFIG.to_dict()),
            TypeError,
            "config is a dict; a msltx.GPTConfig is",
        ),
        (lambda m: msltx.optim.AdamW(None), TypeError, "model is None; a msltx.GPT is expected"),
        (
            lambda m: msltx.optim.AdamW(m, betas=0.9),
            ValueError,
            "betas is 0.9; it takes two numbers",
        ),
        (lambda m: msltx.optim.AdamW(m, eps="a"), ValueError, "eps is 'a'; it takes a number"),
        (
            lambda m: msltx.optim.AdamW(m).step(lr="a"),
            ValueError,
            "lr is 'a'; it takes a number",
        ),
        (lambda m: msltx.optim.AdamW(m).step(lr=True), ValueError, "lr is True; it takes a number"),
        (
            lambda m: m.forward([[1, 2], [3]]),
            ValueError,
            "tokens is no array: its rows differ in length, or in how deep they are nested",
        ),
        (
            lambda m: m.forward_backward([1, 2], [[1], [2, 3]]),
            ValueError,
            "targets is no array: its rows",
        ),
        (lambda m: msltx.generate(m, None, [[1], [2, 3]]), ValueError, "the prompt is no array"),
    ],
)
def test_wrong_arguments_are_named_in_one_sentence(
    model: msltx.GPT, call: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as raised:
        call(model)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_numbers_of_numpy_are_numbers(model: msltx.GPT) -> None:
    optimizer = msltx.optim.AdamW(model, weight_decay=np.float32(0.1), betas=np.array([0.9, 0.95]))
    model.forward_backward(*batch())
    assert not optimizer.step(lr=np.float64(1e-3)).skipped


def test_saving_and_loading_gives_the_same_bits(model: msltx.GPT, tmp_path: Path) -> None:
    tokens, targets = batch()
    model.save(tmp_path / "model")
    loaded = msltx.GPT.load(tmp_path / "model")
    assert loaded.config == model.config
    assert loaded.evaluate(tokens, targets) == model.evaluate(tokens, targets)
    model.params["norm.weight"] = np.full(24, 2, np.float32)
    model.save(tmp_path / "model")
    assert msltx.GPT.load(tmp_path / "model").params["norm.weight"][0] == 2
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(OSError, match=r"model\.safetensors"):
        msltx.GPT.load(tmp_path / "model")


def test_generation_without_a_tokenizer(model: msltx.GPT) -> None:
    greedy = msltx.generate(model, None, [3, 1, 4], max_tokens=5, temperature=0)
    sequence = [3, 1, 4]
    for token in greedy.tokens:
        assert token == np.argmax(model.logits(model.forward([sequence]))[0, -1])
        sequence.append(int(token))
    assert greedy.finish_reason == "max_tokens"
    assert greedy.timings.prefill_tokens_per_s > 0
    drawn = [
        msltx.generate(model, None, [3], max_tokens=9, top_k=20, top_p=0.9, seed=s).tokens.tolist()
        for s in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    full = msltx.generate(model, None, [3], max_tokens=100)
    assert full.finish_reason == "context"
    stop = int(greedy.tokens[2])
    stopped = msltx.generate(model, None, [3, 1, 4], max_tokens=5, temperature=0, stop=stop)
    assert stop not in stopped.tokens
    assert stopped.finish_reason == "stop"
    with pytest.raises(ValueError, match="the prompt is empty"):
        msltx.generate(model, None, [], max_tokens=5)
    with pytest.raises(ValueError, match="text needs a tokenizer"):
        msltx.generate(model, None, "text")
    with pytest.raises(ValueError, match="temperature is -1"):
        msltx.generate(model, None, [1], temperature=-1)


@pytest.mark.parametrize("normalizer", [0.0, -1.0, float("nan"), float("inf")])
def test_a_normalizer_that_is_none_is_refused(model: msltx.GPT, normalizer: float) -> None:
    with pytest.raises(msltx.InvalidValueError, match=r"normalizer is .* takes a number above 0"):
        model.forward_backward(*batch(), normalizer=normalizer)


@pytest.mark.parametrize("lr", [float("nan"), -1.0, float("inf"), 1e39])
def test_a_learning_rate_that_would_spoil_the_model_is_refused(model: msltx.GPT, lr: float) -> None:
    optimizer = msltx.optim.AdamW(model)
    model.forward_backward(*batch())
    before = model.params["norm.weight"].copy()
    with pytest.raises(msltx.InvalidValueError, match="lr is"):
        optimizer.step(lr=lr)
    np.testing.assert_array_equal(model.params["norm.weight"], before)
    assert optimizer.steps == 0


def test_an_eps_of_zero_is_refused(model: msltx.GPT) -> None:
    with pytest.raises(msltx.InvalidValueError, match="eps is 0; it takes a number above 0"):
        msltx.optim.AdamW(model, eps=0.0)


def test_edited_parameters_are_taken_over_all_or_none(model: msltx.GPT) -> None:
    before = model.params["embed.tokens.weight"].copy()

    def edit() -> None:
        with model.edit_params() as edited:
            edited["embed.tokens.weight"][:] = 0
            edited["norm.bias"] = np.zeros(3, np.float32)

    with pytest.raises(msltx.InvalidValueError, match=r"norm\.bias"):
        edit()
    np.testing.assert_array_equal(model.params["embed.tokens.weight"], before)


def test_a_training_step_takes_the_place_of_a_forward(model: msltx.GPT) -> None:
    tokens, targets = (array.astype(np.int32) for array in batch())
    step = _core.TrainStep(
        model._core,
        batch_size=4,
        length=16,
        gradient_accumulation_steps=1,
        weight_decay=0.0,
        betas=(0.9, 0.99),
        eps=1e-8,
        grad_clip=0.0,
        learning_rate=1e-3,
        min_learning_rate=0.0,
        warmup_steps=0,
        max_steps=10,
        schedule="constant",
        source=lambda _: (tokens, targets),
    )
    hidden = model.forward(tokens)
    step.run()
    with pytest.raises(msltx.InvalidValueError, match="backward needs a forward before it"):
        model.backward(d_hidden=hidden)


def test_saving_is_a_call_like_any_other(model: msltx.GPT, tmp_path: Path) -> None:
    with pytest.raises(msltx.BusyError):  # from inside another call
        _core.generate_tokens(
            model._core,
            np.array([1], np.int32),
            max_tokens=2,
            temperature=0.0,
            top_k=0,
            top_p=1.0,
            seed=0,
            stop_tokens=[],
            on_token=lambda _: model.save(tmp_path / "model") is None,
        )
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "look",
    [
        lambda model: model.memory(),
        lambda model: model.params["norm.weight"],
        lambda model: model.grads["norm.weight"],
    ],
)
def test_looking_is_a_call_like_any_other(model: msltx.GPT, look: Any) -> None:
    with pytest.raises(msltx.BusyError):  # from inside another call
        _core.generate_tokens(
            model._core,
            np.array([1], np.int32),
            max_tokens=2,
            temperature=0.0,
            top_k=0,
            top_p=1.0,
            seed=0,
            stop_tokens=[],
            on_token=lambda _: look(model) is None,
        )


def test_the_number_of_threads_cannot_change_inside_a_call(model: msltx.GPT) -> None:
    def change(_: int) -> bool:
        msltx.set_num_threads(msltx.get_num_threads())
        return True

    with pytest.raises(msltx.BusyError, match="inside a job"):
        _core.generate_tokens(
            model._core,
            np.array([1], np.int32),
            max_tokens=2,
            temperature=0.0,
            top_k=0,
            top_p=1.0,
            seed=0,
            stop_tokens=[],
            on_token=change,
        )


def test_stop_tokens_may_be_numpy_integers(model: msltx.GPT) -> None:
    free = msltx.generate(model, None, [1, 2], temperature=0, max_tokens=4)
    for stop in (free.tokens[0], [free.tokens[0]], free.tokens[:1]):
        made = msltx.generate(model, None, [1, 2], temperature=0, max_tokens=4, stop=stop)
        assert (made.finish_reason, len(made.tokens)) == ("stop", 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stop": [1.5]}, "stop is 1.5"),
        ({"stop": 2**40}, "stop is 1099511627776"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": True}, "seed is True"),
        ({"max_tokens": 2**80}, "max_tokens is"),
        ({"top_k": 2**80}, "top_k is"),
        ({"temperature": 1e-60}, "temperature is 1e-60; it takes 0 .greedy. or a number from"),
        ({"temperature": float("inf")}, "temperature is inf"),
    ],
)
def test_options_of_generation_are_checked(
    model: msltx.GPT, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(msltx.InvalidValueError, match=message):
        msltx.generate(model, None, [1, 2], **options)


def test_a_prompt_is_one_sequence(model: msltx.GPT) -> None:
    with pytest.raises(msltx.InvalidValueError, match=r"shape \(2, 2\); one sequence"):
        msltx.generate(model, None, [[1, 2], [3, 4]])


def test_seeds_and_limits_of_a_model_are_checked() -> None:
    for options in ({"seed": -1}, {"seed": 2**64}, {"memory_limit": -1}):
        with pytest.raises(msltx.InvalidValueError, match=f"{next(iter(options))} is -?[0-9]+"):
            msltx.GPT(CONFIG, **options)


def test_a_vocabulary_rounded_up_generates(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat sat on the mat\n" * 20, "utf-8")
    tokenizer = msltx.Tokenizer.train(tmp_path / "text.txt", vocab_size=270)
    config = CONFIG.replace(vocab_size=2 * tokenizer.vocab_size)
    made = msltx.generate(msltx.GPT(config), tokenizer, "the", temperature=10.0, max_tokens=12)
    assert max(made.tokens) >= tokenizer.vocab_size
    assert made.text
