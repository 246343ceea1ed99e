"""Models of other projects: llama2.c's stories260K, its tokenizer and its story."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import msltx
from msltx import FileError, GPTConfig
from msltx.cli import _msltx
from msltx.convert import llama2c, llama2c_tokenizer
from reference.family import Family

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("MSLTX_TEST_DATA", ROOT.parent / "shared"))
STORIES = DATA / "models" / "stories260K"
BEGINNING = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball"
)


def small_file(path: Path, tied: bool) -> dict[str, np.ndarray]:
    """Write a random model of the format, and give its tensors."""
    rng = np.random.default_rng(1)
    width, inner, layers, heads, kv_heads, vocabulary, context = 12, 20, 2, 3, 1, 11, 9
    size = width // heads
    shapes = {
        "embed": (vocabulary, width),
        "norm1": (layers, width),
        "wq": (layers, heads * size, width),
        "wk": (layers, kv_heads * size, width),
        "wv": (layers, kv_heads * size, width),
        "wo": (layers, width, heads * size),
        "norm2": (layers, width),
        "w1": (layers, inner, width),
        "w2": (layers, width, inner),
        "w3": (layers, inner, width),
        "norm": (width,),
        "tables": (2, context, size // 2),
    }
    if not tied:
        shapes["head"] = (vocabulary, width)
    tensors = {n: 0.3 * rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    with path.open("wb") as file:
        header = (width, inner, layers, heads, kv_heads, vocabulary if tied else -vocabulary)
        file.write(struct.pack("<7i", *header, context))
        for tensor in tensors.values():
            file.write(tensor.tobytes())
    return tensors


def interleaved_logits(t: dict[str, np.ndarray], tokens: np.ndarray) -> np.ndarray:
    """llama2.c's forward, in float64, neighbouring pairs rotated."""
    heads, size = 3, 4

    def normed(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * weight

    def rotated(x: np.ndarray) -> np.ndarray:
        angle = np.arange(len(x))[:, None, None] / 10_000 ** (np.arange(0, size, 2) / size)
        a, b = x[..., ::2], x[..., 1::2]
        out = np.empty_like(x)
        out[..., ::2] = a * np.cos(angle) - b * np.sin(angle)
        out[..., 1::2] = a * np.sin(angle) + b * np.cos(angle)
        return out

    x = t["embed"][tokens].astype(np.float64)
    for i in range(2):
        y = normed(x, t["norm1"][i])
        q = rotated((y @ t["wq"][i].T).reshape(-1, heads, size))
        k = rotated((y @ t["wk"][i].T).reshape(-1, 1, size)).repeat(heads, 1)
        v = (y @ t["wv"][i].T).reshape(-1, 1, size).repeat(heads, 1)
        scores = np.einsum("thi,shi->hts", q, k) / np.sqrt(size)
        scores[:, np.triu(np.ones(scores.shape[1:], dtype=bool), 1)] = -np.inf
        p = np.exp(scores - scores.max(-1, keepdims=True))
        mix = np.einsum("hts,shi->thi", p / p.sum(-1, keepdims=True), v)
        x = x + mix.reshape(len(x), -1) @ t["wo"][i].T
        y = normed(x, t["norm2"][i])
        gate = y @ t["w1"][i].T
        x = x + (gate / (1 + np.exp(-gate)) * (y @ t["w3"][i].T)) @ t["w2"][i].T
    return normed(x, t["norm"]) @ t.get("head", t["embed"]).T


@pytest.mark.parametrize("tied", [True, False])
def test_logits_are_those_of_the_format(tmp_path: Path, tied: bool) -> None:
    tensors = small_file(tmp_path / "model.bin", tied)
    model = llama2c(tmp_path / "model.bin", tmp_path / "out")
    tokens = np.array([3, 0, 10, 7, 7, 1, 2])
    expected = interleaved_logits(tensors, tokens)
    logits = msltx.GPT.load(tmp_path / "out").logits(model.forward(tokens))[0]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    config = model.config
    assert isinstance(config, GPTConfig)
    assert (config.norm, config.activation, config.positions) == ("rmsnorm", "swiglu", ["rope"])
    assert config.tie_weights == tied
    family = Family(config.to_dict(), {n: p.astype(np.float64) for n, p in model.params.items()})
    np.testing.assert_allclose(family.logits(tokens[None])[0], expected, rtol=1e-9, atol=1e-12)


def test_files_of_other_formats_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    small_file(path, tied=True)
    data = path.read_bytes()
    for bad in (b"", data[:20], data[:-4], data + b"\0\0\0\0", b"\xff" * 28 + data[28:]):
        path.write_bytes(bad)
        with pytest.raises(FileError, match=r"is no llama2\.c model: "):
            llama2c(path, tmp_path / "out")
    path.write_bytes(b"\x07\0\0\0\0\0\0\0\xff\xff\0\0")
    with pytest.raises(FileError, match=r"is no llama2\.c tokenizer: token 0 has"):
        llama2c_tokenizer(path)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(not STORIES.is_dir(), reason=f"{STORIES} is not there")
def test_stories260k_tells_its_story(tmp_path: Path) -> None:
    out = tmp_path / "stories"
    arguments = ["convert", str(STORIES / "stories260K.bin"), str(out)]
    made = CliRunner().invoke(_msltx, [*arguments, "--tokenizer", str(STORIES / "tok512.bin")])
    assert made.exit_code == 0, made.output
    assert "260,032 parameters" in made.output
    assert json.loads((out / "tokenizer.json").read_text("utf-8"))["model"]["type"] == "BPE"
    told = CliRunner().invoke(
        _msltx, ["generate", str(out), "--prompt", "Once upon a time", "--greedy"]
    )
    assert told.exit_code == 0, told.output
    assert told.output.startswith(BEGINNING)

    tokenizer = msltx.Tokenizer.load_from_model(out)
    assert tokenizer is not None
    model = msltx.GPT.load(out)
    beginning = [1, 403, 407, 261, 378]
    story = msltx.generate(model, None, beginning, max_tokens=60, temperature=0.0)
    spoken = msltx.generate(model, tokenizer, "Once upon a time", max_tokens=60, temperature=0.0)
    np.testing.assert_array_equal(story.tokens, spoken.tokens)
    # The space before a word stays, wherever the prompt ends.
    for prompt in ("Once upon a time, there", "One day, she"):
        text = msltx.generate(model, tokenizer, prompt, max_tokens=4, temperature=0.0).text
        assert text.startswith(" "), (prompt, text)

    peer = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    theirs = peer.Tokenizer.from_file(str(out / "tokenizer.json"))
    assert theirs.encode("Once upon a time").ids == beginning
