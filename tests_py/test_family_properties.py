"""What holds for every setting of the family: training, causality, decoding, order and padding."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import msltx
from families import (
    CHOICES,
    REFUSED,
    SIZES,
    assert_gradients_agree,
    random_batch,
    random_config,
)
from msltx import GPTConfig, InvalidValueError, backends
from msltx.model import GPT
from msltx.optim import AdamW

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = [backend.name for backend in backends()]
STEPS = 20
RANDOM = range(12)  # random configurations of a property


def is_refused(fields: dict[str, Any]) -> bool:
    try:
        GPTConfig(**{**SIZES, **fields})
    except InvalidValueError:
        return True
    return False


Choice = tuple[str, int]  # a field and the number of one of its values


def row_around(rng: np.random.Generator, given: dict[str, int]) -> dict[str, int]:
    """Draw a value of every field that is not given."""
    return {name: int(rng.integers(len(values))) for name, values in CHOICES.items()} | given


def fields_of(row: dict[str, int]) -> dict[str, Any]:
    return {name: CHOICES[name][number] for name, number in row.items()}


@functools.cache
def possible_pairs() -> frozenset[tuple[Choice, Choice]]:
    """Pairs of values of two fields for which the other fields have values that go with them."""
    rng = np.random.default_rng(3)
    pairs = (
        pair
        for a, b in itertools.combinations(CHOICES, 2)
        for pair in itertools.product(
            ((a, i) for i in range(len(CHOICES[a]))), ((b, j) for j in range(len(CHOICES[b])))
        )
    )
    return frozenset(
        pair
        for pair in pairs
        if any(not is_refused(fields_of(row_around(rng, dict(pair)))) for _ in range(100))
    )


@functools.cache
def covering_set() -> list[dict[str, Any]]:
    """Configurations in which every pair of values that is not refused occurs: greedily, the row
    that covers most of what is left among those built around one uncovered pair.
    """
    rng = np.random.default_rng(1)

    def pairs_of(row: dict[str, int]) -> set[tuple[Choice, Choice]]:
        return set(itertools.combinations(((name, row[name]) for name in CHOICES), 2))

    left = set(possible_pairs())
    rows = []
    while left:
        needed = sorted(left)[0]
        tried: list[dict[str, int]] = []
        while len(tried) < 30:
            row = row_around(rng, dict(needed))
            if not is_refused(fields_of(row)):
                tried.append(row)
        best = max(tried, key=lambda row: len(left & pairs_of(row)))
        left -= pairs_of(best)
        rows.append(fields_of(best))
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_pair_of_settings_trains(backend: str, dtype: str) -> None:
    rng = np.random.default_rng(2)
    for fields in covering_set():
        config = GPTConfig(**SIZES, **fields)
        model = GPT(config, seed=1, backend=backend, dtype=dtype)
        optimizer = AdamW(model, weight_decay=0.0, grad_clip=1.0)
        batch = random_batch(config, rng, batch=2, length=9)
        before = model.evaluate(*batch)
        for step in range(STEPS):
            loss = model.forward_backward(*batch, dropout_seed=1, step=step)
            assert np.isfinite(loss), config
            optimizer.step(lr=1e-2)
        assert model.evaluate(*batch) < before - 0.3, config


@pytest.mark.slow
def test_no_other_pair_of_settings_is_refused() -> None:
    """Of all values that random configurations draw from, as the table has it."""
    possible = possible_pairs()
    refused = {
        (f"{a}: {CHOICES[a][i]}", f"{b}: {CHOICES[b][j]}")
        for a, b in itertools.combinations(CHOICES, 2)
        for i, j in itertools.product(range(len(CHOICES[a])), range(len(CHOICES[b])))
        if ((a, i), (b, j)) not in possible
    }
    assert refused == {
        ("norm: layernorm", "norm_plus_one: True"),
        ("positions: relative_xl", "attention: flash"),
        ("positions: relative_xl", "attention_softcap: 2.0"),
    }


@pytest.mark.parametrize(("first", "second"), REFUSED)
def test_refused_pairs_are_in_the_table(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Each alone is fine, both together are not, and docs/formats.md says so."""
    assert is_refused({**first, **second})
    assert not is_refused(first)
    page = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert any(all(name in row for name in (*first, *second)) for row in rows)


@pytest.mark.parametrize("index", RANDOM)
def test_a_token_sees_none_after_it(index: int) -> None:
    rng = np.random.default_rng()
    config = random_config(rng)
    model = GPT(config, seed=index)
    tokens, _ = random_batch(config, rng, batch=2, length=13)
    changed = tokens.copy()
    changed[:, 8] = (tokens[:, 8] + 1) % config.vocab_size
    before, after = (model.logits(model.forward(ids)) for ids in (tokens, changed))
    np.testing.assert_array_equal(after[:, :8], before[:, :8], err_msg=repr(config))
    assert (after[:, 8] != before[:, 8]).any(), config


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("index", RANDOM)
def test_flash_is_plain(index: int, backend: str) -> None:
    """The same loss and gradients, and the same numbers dropped."""
    rng = np.random.default_rng()
    while "relative_xl" in (config := random_config(rng)).positions:
        pass
    batch = random_batch(config, rng, batch=3, length=19)
    models = [
        GPT(config.replace(attention=kind), seed=index, backend=backend)
        for kind in ("flash", "plain")
    ]
    losses = [model.forward_backward(*batch, dropout_seed=2) for model in models]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5), config
    fused, parts = (model.grads for model in models)
    whole = np.sqrt(sum(float(np.square(g, dtype=np.float64).sum()) for g in parts.values()))
    for name, grad in parts.items():
        assert np.linalg.norm(fused[name] - grad) <= 1e-5 * whole, f"{name} of {config}"


@pytest.mark.parametrize("index", RANDOM)
def test_order_and_padding_change_nothing(index: int) -> None:
    """Sequences in another order, and with tokens behind them, give the same logits."""
    rng = np.random.default_rng()
    config = random_config(rng)
    model = GPT(config, seed=index)
    tokens, _ = random_batch(config, rng, batch=4, length=11)
    logits = model.logits(model.forward(tokens))
    order = rng.permutation(4)
    other = model.logits(model.forward(tokens[order]))
    np.testing.assert_allclose(other, logits[order], 1e-5, 1e-6, err_msg=repr(config))
    longer = np.concatenate([tokens, np.zeros_like(tokens[:, :5])], axis=1)
    padded = model.logits(model.forward(longer))[:, :11]
    np.testing.assert_allclose(padded, logits, 1e-5, 1e-6, err_msg=repr(config))


@pytest.mark.parametrize("positions", ["rope", "alibi", "relative_t5", "relative_xl", "none"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_packing_with_boundaries_is_separate_documents(positions: str, backend: str) -> None:
    """Logits, loss and gradients of a row of documents are those of the documents alone."""
    rng = np.random.default_rng()
    kinds = ["auto", "plain"] if positions == "relative_xl" else ["flash", "plain"]
    for attention in kinds:
        fields = {"positions": positions, "attention": attention, "sliding_window": [7, None]}
        model = GPT(GPTConfig(**SIZES, **fields), seed=5, backend=backend)
        for name, values in model.params.items():
            model.params[name] = values + 0.1 * rng.standard_normal(values.shape, dtype=np.float32)
        rows = [random_batch(model.config, rng, batch=1, length=n) for n in (9, 1, 11)]
        tokens, targets = (np.concatenate(arrays, 1) for arrays in zip(*rows, strict=True))
        documents = np.repeat([4, 0, 1], (9, 1, 11))[None]
        packed = model.logits(model.forward(tokens, documents=documents))
        alone = [model.logits(model.forward(row)) for row, _ in rows]
        np.testing.assert_allclose(packed, np.concatenate(alone, 1), 1e-4, 1e-5)
        assert np.abs(model.logits(model.forward(tokens)) - packed).max() > 1e-3

        counted = int((targets != -1).sum())
        loss = model.forward_backward(tokens, targets, documents=documents)
        together = {name: grad.copy() for name, grad in model.grads.items()}
        assert model.evaluate(tokens, targets, documents=documents) == pytest.approx(loss, rel=1e-6)
        parts = [
            model.forward_backward(*row, accumulate=i > 0, normalizer=counted)
            for i, row in enumerate(rows)
        ]
        assert loss == pytest.approx(sum(parts), rel=1e-5)
        assert_gradients_agree(together, dict(model.grads), f"{positions}, {attention}")


def test_documents_of_another_shape_are_refused() -> None:
    model = GPT(GPTConfig(**SIZES))
    with pytest.raises(InvalidValueError, match=r"documents is .*expected the shape of tokens"):
        model.forward([[1, 2, 3]], documents=[[0, 0]])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("index", RANDOM)
def test_decoding_with_a_cache_is_the_full_forward(index: int, backend: str) -> None:
    """Each greedy token has the highest logit of a forward over all before it, but for rounding."""
    rng = np.random.default_rng()
    config = random_config(rng)
    model = GPT(config, seed=index, backend=backend)
    for name, values in model.params.items():
        model.params[name] = values + 0.3 * rng.standard_normal(values.shape, dtype=np.float32)
    prompt = rng.integers(config.vocab_size, size=6)
    made = msltx.generate(model, None, prompt, max_tokens=15, temperature=0.0)
    tokens = np.concatenate([prompt, made.tokens])
    assert len(tokens) == config.context_length
    logits = model.logits(model.forward(tokens))[0, 5:-1]
    chosen = np.take_along_axis(logits, made.tokens[:, None], -1)[:, 0]
    assert (chosen >= logits.max(-1) - 1e-4 * np.abs(logits).max()).all(), config


def test_limits_are_those_of_memory() -> None:
    """The largest sizes are taken by the plan, which answers with the bytes that it would need."""
    sizes = {"vocab_size": 1_048_576, "context_length": 131_072, "embedding_dim": 16_384}
    config = GPTConfig(**sizes, ff_dim=65_536, num_layers=2, num_heads=128)
    with pytest.raises(msltx.MemoryLimitError, match=r"parameters take [\d.,]+ [GM]B"):
        GPT(config, memory_limit=1 << 30)
    small = {"num_layers": 1, "num_heads": 2, "context_length": 131_072, "vocab_size": 1_048_576}
    model = GPT(GPTConfig(**small, embedding_dim=4, positions="alibi"), memory_limit=1 << 30)
    tokens = np.full((1, 131_072), 1_048_575)
    with pytest.raises(msltx.MemoryLimitError, match=r"131072 tokens needs [\d.,]+ GB"):
        model.forward(np.repeat(tokens, 64, 0))


def test_check_gradients_compares_with_the_reference() -> None:
    rng = np.random.default_rng()
    config = random_config(rng)
    model = GPT(config, seed=3)
    errors = model.check_gradients(*random_batch(config, rng, batch=2, length=7))
    assert errors.keys() == model.params.keys()
    assert max(errors.values()) < 1e-5, config
