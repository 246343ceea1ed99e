"""Batches from Python: kinds of rows, documents, buckets, mixtures, and training on them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import msltx
from msltx import Tokenizer, data
from msltx.cli import _msltx


def corpus(word: str, documents: int) -> str:
    return "".join(f"{word} {i} " + "and more " * (i % 13) + "\n\n" for i in range(documents))


@pytest.fixture(scope="module")
def tok() -> Tokenizer:
    return Tokenizer.train(texts=[corpus("Story", 40), corpus("Poem", 40)], vocab_size=300)


@pytest.fixture(scope="module")
def stories(tok: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> data.Dataset:
    folder = tmp_path_factory.mktemp("stories")
    return data.prepare(None, tok, texts=corpus("Story", 400).split("\n\n"), out=folder / "set")


@pytest.fixture(scope="module")
def poems(tok: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> data.Dataset:
    folder = tmp_path_factory.mktemp("poems")
    return data.prepare(None, tok, texts=corpus("Poem", 100).split("\n\n"), out=folder / "set")


def test_windows_are_what_dataset_batch_gives(stories: data.Dataset) -> None:
    batches = data.Batches(stories, 4, 16, seed=3)
    for step in (0, 7, 10**12):
        for one, other in zip(batches.batch(step), stories.batch(step, 4, 16, seed=3), strict=True):
            assert np.array_equal(one, other)


@pytest.mark.parametrize("rows", ["windows", "packed", "padded"])
def test_documents_of_rows(stories: data.Dataset, rows: str) -> None:
    batches = data.Batches(stories, 8, 24, seed=5, rows=rows, inside_documents=True)
    plain = data.Batches(stories, 8, 24, seed=5, rows=rows)
    eos = stories.eos_id
    for step in range(6):
        tokens, targets, documents = batches.batch(step)
        assert documents.shape == (8, 24)
        assert documents.dtype == np.int32
        assert np.array_equal(plain.batch(step)[0], tokens)
        assert not documents[:, 0].any()
        new = np.diff(documents, axis=1)
        assert set(np.unique(new)) <= {0, 1}
        # A document ends after [EOS], and its last token predicts nothing.
        inside = np.where(plain.batch(step)[1] == -1, -1, tokens)
        if rows != "padded":
            assert np.array_equal(new == 1, tokens[:, :-1] == eos)
            assert np.all(targets[inside == eos] == -1)
            assert np.all((targets == plain.batch(step)[1]) | (tokens == eos))
        else:
            assert np.all((targets == -1) == (documents == 1))


def test_packed_rows_have_each_document_once(stories: data.Dataset, tok: Tokenizer) -> None:
    batches = data.Batches(stories, 1, 32, rows="packed")
    texts = []
    for epoch in range(2):
        steps = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
        ids = np.concatenate([batches.batch(step)[0][0] for step in steps])
        texts.append(tok.decode(ids).split("[EOS]")[:-1])
    assert texts[0] != texts[1]
    every = set(tok.decode(stories.tokens()).split("[EOS]"))
    for found in texts:
        assert len(found) == len(set(found)) >= len(every) - 20
        assert set(found) <= every


def test_buckets_have_little_padding(stories: data.Dataset) -> None:
    batches = data.BucketedBatches(stories, 4, 64, multiple=8, seed=1)
    report = batches.report()
    counted = places = 0
    for step in range(batches.per_epoch):
        tokens, targets = batches.batch(step)
        assert tokens.shape == targets.shape
        assert tokens.shape[1] % 8 == 0
        counted += np.count_nonzero(targets != -1)
        places += tokens.size
    assert (counted, places) == (report.targets, report.places)
    assert sum(documents for _, documents, _ in report.buckets) == stories.documents("train")
    assert report.padding < 0.2 < report.padding_unsorted
    with pytest.raises(ValueError, match="multiple is 65; it takes 1 to length, 64"):
        data.BucketedBatches(stories, 4, 64, multiple=65)


def test_mixtures_keep_their_shares(
    stories: data.Dataset, poems: data.Dataset, tok: Tokenizer
) -> None:
    mixture = data.Mixture([stories, poems.path], [3, 1])
    # Every document is of one kind, which a row of one document shows.
    batches = data.Batches(mixture, 8, 8, seed=2, rows="padded")
    poem = tok.encode("Poem")[0]
    counts = [int((batches.batch(step)[0][:, 0] == poem).sum()) for step in range(20)]
    assert counts == [2] * 20
    assert batches.per_epoch == stories.documents("train") + poems.documents("train")
    again = data.Batches(mixture, 8, 8, seed=2, rows="padded")
    assert np.array_equal(again.batch(1000)[0], batches.batch(1000)[0])
    assert mixture.train_tokens == stories.train_tokens + poems.train_tokens
    seen = np.concatenate([t[t != -1] for _, t in mixture.windows(2, 16)])
    assert seen.size == stories.val_tokens + poems.val_tokens - 2
    ratio = mixture.bytes_per_token()
    assert ratio is not None
    assert ratio * mixture.val_tokens == pytest.approx(
        stories.meta["splits"]["val"]["bytes"] + poems.meta["splits"]["val"]["bytes"]
    )
    by_size = data.Mixture([stories, poems])
    assert by_size.weights == [stories.train_tokens, poems.train_tokens]


def test_mixtures_refuse(stories: data.Dataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="datasets is empty"):
        data.Mixture([])
    with pytest.raises(ValueError, match="there are 1 weights for 2 datasets"):
        data.Mixture([stories, stories], [1])
    with pytest.raises(ValueError, match="a weight is -1; it takes a number above 0"):
        data.Mixture([stories], [-1])
    other = Tokenizer.train(texts=["abc abc"], vocab_size=261)
    made = data.prepare(None, other, texts=["abc"], out=tmp_path / "other", val_fraction=0)
    with pytest.raises(msltx.FileError, match="was prepared with another tokenizer than"):
        data.Mixture([stories, made])
    with pytest.raises(ValueError, match="rows is rope; it takes windows, packed or padded"):
        data.Batches(stories, 2, 8, rows="rope")
    with pytest.raises(ValueError, match="seed is -1"):
        data.Batches(stories, 2, 8, seed=-1)


@pytest.mark.slow
def test_training_on_a_mixture_resumes_bit_for_bit(
    stories: data.Dataset, poems: data.Dataset, tok: Tokenizer, tmp_path: Path
) -> None:
    mixture = data.Mixture([stories, poems], [1, 2])
    config = msltx.GPTConfig(
        vocab_size=tok.vocab_size, context_length=16, embedding_dim=16, num_layers=1, num_heads=2
    )

    def run(out: Path, steps: int, resume: bool = False) -> msltx.training.Run:  # type: ignore[name-defined]
        return msltx.train(
            msltx.GPT(config, seed=1), mixture, out=out, resume=resume, rows="packed",
            max_steps=steps, batch_size=2, schedule="constant", warmup_steps=0, progress=False,
        )  # fmt: skip

    whole = run(tmp_path / "whole", 8)
    run(tmp_path / "parts", 5)
    rest = run(tmp_path / "parts", 8, resume=True)
    assert np.array_equal(rest.losses, whole.losses[5:])
    with pytest.warns(UserWarning, match='data.rows "packed" -> "windows"'):
        msltx.train(
            msltx.GPT(config, seed=1), mixture, out=tmp_path / "parts", resume=True, max_steps=9,
            batch_size=2, schedule="constant", warmup_steps=0, progress=False,
        )  # fmt: skip
    state = json.loads((tmp_path / "whole/checkpoints/last/state.json").read_text())
    kept = json.dumps(state)
    assert str(poems.path.resolve()) in kept
    assert '"packed"' in kept
    said = CliRunner().invoke(_msltx, ["info", str(tmp_path / "whole")]).output
    first, second = (os.fspath(d.path.resolve()) for d in (stories, poems))
    assert f"\ndata: {first} (weight 1), {second} (weight 2); packed\n" in said


@pytest.mark.slow
def test_training_inside_documents(stories: data.Dataset, tok: Tokenizer, tmp_path: Path) -> None:
    config = msltx.GPTConfig(
        vocab_size=tok.vocab_size, context_length=16, embedding_dim=16, num_layers=1, num_heads=2
    )
    model = msltx.GPT(config, seed=1)
    batches = data.Batches(stories, 2, 16, seed=3, rows="packed", inside_documents=True)
    tokens, targets, documents = batches.batch(0)
    expected = model.evaluate(tokens, targets, documents=documents)
    assert expected != model.evaluate(tokens, targets)
    options = {"batch_size": 2, "seed": 3, "progress": False, "eval_every": 0, "rows": "packed"}
    run = msltx.train(
        model, stories, out=tmp_path / "run", max_steps=2, inside_documents=True, **options
    )
    assert run.losses[0] == pytest.approx(expected, rel=1e-6)
    with pytest.warns(UserWarning, match="data.inside_documents true -> false"):
        msltx.train(model, stories, out=tmp_path / "run", resume=True, max_steps=3, **options)


def test_settings_name_one_dataset_or_several(
    stories: data.Dataset, poems: data.Dataset, tmp_path: Path
) -> None:
    from msltx.settings import load_settings

    def load(**values: object) -> msltx.settings.DataSettings:  # type: ignore[name-defined]
        return load_settings(None, {"data": values, "run": {"out": "x"}}).data

    assert load(path="a").path == "a"
    assert load(paths=["a", "b"], weights=[2, 1]).weights == [2.0, 1.0]
    for values, message in [
        ({}, "data.path is missing"),
        ({"path": "a", "paths": ["b"]}, "data.path and data.paths are both given"),
        (
            {"paths": ["a", "b"], "weights": [1]},
            "data.weights has 1 numbers; it takes one for",
        ),
        ({"paths": "a"}, "data.paths is 'a'; it takes a list of text, or null"),
        ({"path": "a", "rows": "x"}, "data.rows is 'x'; it takes packed, padded or windows"),
    ]:
        with pytest.raises(ValueError, match=message):
            load(**values)
