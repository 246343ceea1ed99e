"""The NumPy definitions themselves: backward against central differences, tolerance, Philox."""

from __future__ import annotations

import numpy as np
import pytest

from reference import (
    DEFINITIONS,
    Definition,
    assert_close,
    assert_result,
    backward_arguments,
    call,
    differences,
)
from reference.inputs import Arguments
from reference.philox import RandomStream, philox, philox4x32, uniform_double
from reference.result import Array, Result

DIFFERENTIABLE = {name: d for name, d in DEFINITIONS.items() if d.backward}
CASES = [
    pytest.param(name, case, id=f"{name}-{'-'.join(f'{k}={v}' for k, v in case.items())}")
    for name, definition in DEFINITIONS.items()
    for case in definition.cases
]


def objective(definition: Definition, arguments: Arguments, cotangents: dict[str, Array]) -> float:
    """Sum of cotangent x output over all outputs, masked ones (-inf) left out."""
    total = 0.0
    results = call(definition.function, arguments)
    for name, result in zip(definition.outputs, results, strict=False):
        finite = np.isfinite(result.value)
        total += float((np.where(finite, result.value, 0) * cotangents[name])[finite].sum())
    return total


def assert_backward_matches_differences(name: str, definition: Definition) -> None:
    """Every gradient element by element, on the smallest case."""
    rng = np.random.default_rng()
    arguments = {
        n: a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype == np.float32 else a
        for n, a in definition.generate(rng, **definition.cases[0]).items()
    }
    assert definition.backward is not None
    names = definition.backward
    backwards = [DEFINITIONS[n] for n in ((names,) if isinstance(names, str) else names)]
    results = call(definition.function, arguments)
    values = {n: r.value for n, r in zip(definition.outputs, results, strict=False)}
    cotangents = {n: rng.standard_normal(value.shape) for n, value in values.items()}
    gradients = {}
    for backward in backwards:
        filled = backward_arguments(definition, backward.function, arguments, cotangents)
        gradients.update(zip(backward.outputs, call(backward.function, filled), strict=False))
    for output in values:
        if f"d_{output}" not in filled:  # the loss begins the chain; saved outputs have none
            cotangents[output] = np.full_like(values[output], float(output == "loss"))

    for wanted in definition.differentiable:
        if arguments[wanted] is None:
            continue

        def moved(value: Array, wanted: str = wanted) -> float:
            return objective(definition, {**arguments, wanted: value}, cotangents)

        expected = differences.gradient(moved, arguments[wanted])
        given = gradients[f"d_{wanted}"]
        size = given.magnitude if given.magnitude is not None else np.abs(given.value)
        size = np.maximum(size, differences.RESOLUTION * size.max(initial=0.0))
        label = f"{name}: d_{wanted}"
        assert_close(given.value, expected, size, differences.TOLERANCE, label)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_backward_is_the_derivative_of_forward(name: str) -> None:
    assert_backward_matches_differences(name, DIFFERENTIABLE[name])


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("linear_forward", {"activation": "gelu"}),
        ("linear_forward", {"activation": "none", "bias": False}),
        ("linear_forward", {"activation": "relu"}),
        ("linear_forward", {"activation": "silu"}),
        ("rmsnorm_forward", {"plus_one": True, "eps": 0.1}),
        ("residual_rmsnorm_forward", {"plus_one": True}),
        ("geglu_forward", {"approximate": "none"}),
        ("rope_forward", {"layout": "half_split", "offset": 2}),
        ("gelu_forward", {"approximate": "none"}),
        ("attention_scores_forward", {"causal": False, "scale": 0.3}),
        ("attention_scores_forward", {"window": 2, "softcap": 0.8, "alibi": True}),
        ("attention_scores_forward", {"bias": True, "documents": True, "softcap": 2.0}),
        ("relative_attention_scores_forward", {"window": 2, "documents": True, "scale": 0.3}),
        ("relative_attention_scores_forward", {"T": 6, "S": 4}),
        ("relative_position_bias_forward", {"bidirectional": True}),
        ("flash_attention_forward", {"causal": False, "scale": 0.3}),
        ("flash_attention_forward", {"T": 6, "S": 4}),  # two queries with nothing to attend to
        ("attention_mix_forward", {"dropout": 0.4}),
        ("flash_attention_forward", {"dropout": 0.4, "bias": True, "softcap": 2.0}),
        ("flash_attention_forward", {"window": 2, "softcap": 0.8}),
        ("flash_attention_forward", {"window": 2, "causal": False, "alibi": True}),
        ("flash_attention_forward", {"bias": True, "documents": True, "softcap": 2.0}),
        ("softmax_cross_entropy_forward", {"normalizer": 40.0}),
        ("softmax_cross_entropy_forward", {"all_ignored": True}),
        ("linear_cross_entropy_forward", {"bias": True, "scale": 0.25}),
        ("linear_cross_entropy_forward", {"bias": True, "logit_softcap": 1.5}),
        ("dropout_forward", {"sequences": True}),
        ("softcap_logits", {"cap": 1.0}),
        ("positional_embedding_add_forward", {"offset": 2}),
    ],
)
def test_backward_of_options(name: str, option: Arguments) -> None:
    definition = DIFFERENTIABLE[name]
    first = {**definition.cases[0], **option}
    changed = Definition(
        definition.function,
        definition.outputs,
        definition.generate,
        (first,),
        definition.differentiable,
        definition.backward,
    )
    assert_backward_matches_differences(name, changed)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_definition_is_finite_and_sized(name: str, case: Arguments) -> None:
    definition = DEFINITIONS[name]
    arguments = definition.generate(np.random.default_rng(), **case)
    results = call(definition.function, arguments)
    assert 1 <= len(results) <= len(definition.outputs)
    for output, result in zip(definition.outputs, results, strict=False):
        assert not np.isnan(result.value).any(), output
        if result.magnitude is not None:
            assert result.magnitude.shape == result.value.shape, output
            assert np.isfinite(result.magnitude).all(), output
            assert (result.magnitude >= 0).all(), output
        # Rounding the definition itself to float32 is within its own tolerance.
        value = result.value
        if value.dtype == np.float64 and result.magnitude is not None:
            value = value.astype(np.float32)
        assert_result(value, result, definition.tol, output)


def test_flash_attention_is_scores_softmax_and_mix() -> None:
    definition = DEFINITIONS["flash_attention_forward"]
    arguments = definition.generate(np.random.default_rng(), **definition.cases[0])
    q, k, v = (arguments[name] for name in "qkv")
    scores = DEFINITIONS["attention_scores_forward"].function(q, k)
    assert isinstance(scores, Result)
    probs = DEFINITIONS["softmax_forward"].function(scores.value)
    assert isinstance(probs, Result)
    mixed = DEFINITIONS["attention_mix_forward"].function(probs.value, v)
    assert isinstance(mixed, Result)
    np.testing.assert_allclose(call(definition.function, arguments)[0].value, mixed.value, 1e-12)


def test_linear_cross_entropy_is_linear_and_softmax_cross_entropy() -> None:
    rng = np.random.default_rng()
    fused = DEFINITIONS["linear_cross_entropy_forward_backward"]
    arguments = fused.generate(rng, **fused.cases[0])
    hidden, weight, targets = (arguments[name] for name in ("hidden", "weight", "targets"))
    targets[0] = 1  # at least one counts
    counted = int((targets != -1).sum())
    logits = call(DEFINITIONS["linear_forward"].function, {"x": hidden, "weight": weight})[0].value
    parts = {"logits": logits, "targets": targets}
    loss, lse = call(DEFINITIONS["softmax_cross_entropy_forward"].function, parts)
    d_logits = call(
        DEFINITIONS["softmax_cross_entropy_backward"].function, {**parts, "lse": lse.value}
    )[0]
    results = call(fused.function, {**arguments, "scale": 1 / counted})
    np.testing.assert_allclose(results[0].value, loss.value, 1e-12)
    np.testing.assert_allclose(results[1].value, d_logits.value @ weight, 1e-9, 1e-12)


def test_attention_inference_is_the_last_rows_of_attention() -> None:
    rng = np.random.default_rng()
    q, k, v = (rng.standard_normal((1, 2, 6, 4)) for _ in range(3))
    whole = call(DEFINITIONS["flash_attention_forward"].function, {"q": q, "k": k, "v": v})[0]
    arguments = {"q": q[:, :, -2:], "k_cache": k, "v_cache": v, "lengths": np.array([6])}
    cached = call(DEFINITIONS["attention_inference"].function, arguments)[0]
    np.testing.assert_allclose(cached.value, whole.value[:, :, -2:], 1e-12)


def test_ties_go_to_the_lowest_index() -> None:
    logits = np.array([[1.0, 3.0, 3.0, 0.0, 3.0]])
    inf = np.inf

    def run(name: str, **attributes: float) -> Array:
        return call(DEFINITIONS[name].function, {"logits": logits, **attributes})[0].value

    assert run("argmax_sample").tolist() == [1]
    assert run("topk_mask", k=2).tolist() == [[-inf, 3, 3, -inf, -inf]]
    assert run("topp_mask", p=0.5).tolist() == [[-inf, 3, 3, -inf, -inf]]
    assert run("topp_mask", p=1e-3).tolist() == [[-inf, 3, -inf, -inf, -inf]]


def test_categorical_sample_follows_the_probabilities() -> None:
    draws = 20_000
    probabilities = np.array([0.5, 0.0, 0.2, 0.3])
    with np.errstate(divide="ignore"):
        logits = np.broadcast_to(np.log(probabilities), (draws, 4))
    arguments = {"logits": logits, "seed": 7, "step": 3}
    tokens = call(DEFINITIONS["categorical_sample"].function, arguments)[0].value
    # Five standard deviations of a share are below 5 sqrt(0.25 / 20,000) = 0.018.
    np.testing.assert_allclose(np.bincount(tokens, minlength=4) / draws, probabilities, atol=0.018)


def test_tolerance_sees_one_wrong_element() -> None:
    rng = np.random.default_rng()
    ref = rng.standard_normal((50, 40))
    assert_close(ref.astype(np.float32), ref, np.abs(ref), 1e-6, "rounded")
    wrong = ref.copy()
    wrong[17, 3] += 1e-4
    with pytest.raises(AssertionError, match=r"op: error is .* in row \[17\]: .* \[17, 3\]"):
        assert_close(wrong, ref, np.abs(ref), 1e-6, "op")
    wrong[17, 3] = np.nan
    with pytest.raises(AssertionError, match=r"\[17, 3\]: got nan"):
        assert_close(wrong, ref, np.abs(ref), 1e-6, "op")
    wrong = ref.copy()
    wrong[49, 39] = np.nextafter(wrong[49, 39], np.inf)
    with pytest.raises(AssertionError, match=r"1 of 2000 elements differ, the first at \[49, 39\]"):
        assert_close(wrong, ref, None, 0, "copy")
    with pytest.raises(AssertionError, match="shape"):
        assert_close(ref[:1], ref, np.abs(ref), 1e-6, "broadcast")


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFINITIONS)
def test_tolerance_refuses_a_thousandth(name: str) -> None:
    """No magnitude is so large that an error of 1e-3 of the output would hide behind it."""
    rng = np.random.default_rng()
    definition = DEFINITIONS[name]
    tried = [definition.generate(rng, **case) for case in definition.cases]
    largest = max(tried, key=lambda a: sum(v.size for v in a.values() if hasattr(v, "size")))
    results = call(definition.function, largest)
    for output, result in zip(definition.outputs, results, strict=False):
        if result.magnitude is None or result.undecided is not None:
            continue
        signs = rng.choice([-1, 1], size=result.value.shape)
        with pytest.raises(AssertionError, match="times the limit"):
            assert_result(result.value * (1 + 1e-3 * signs), result, definition.tol, output)


def test_tolerance_keeps_infinities_in_place() -> None:
    ref = np.array([[1.0, -np.inf], [2.0, 3.0]])
    size = np.array([[1.0, 0.0], [2.0, 3.0]])
    assert_close(ref.astype(np.float32), ref, size, 1e-6, "mask")
    for wrong in (np.array([[1.0, 0.0], [2.0, 3.0]]), np.array([[-np.inf, 1.0], [2.0, 3.0]]), -ref):
        with pytest.raises(AssertionError, match="mask"):
            assert_close(wrong, ref, size, 1e-6, "mask")


def test_philox_known_answers() -> None:
    """The vectors of the Random123 distribution, the same that the C++ generator is held to."""
    ones = 2**32 - 1
    expected = [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox4x32([0, 0, 0, 0], (0, 0)).tolist() == expected
    expected = [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    assert philox4x32([ones] * 4, (ones, ones)).tolist() == expected
    expected = [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]
    counter = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]
    assert philox4x32(counter, (0xA4093822, 0x299F31D0)).tolist() == expected


def test_philox_counter_layout() -> None:
    words = philox((9 << 32) | 8, RandomStream.SAMPLING, step=3, sequence=[5], index=4)
    assert words.tolist() == [philox4x32([4, 5, 3, 3], (8, 9)).tolist()]
    top = np.array([2**32 - 1], dtype=np.uint64)
    assert uniform_double(top, top).tolist() == [1 - 2.0**-53]
