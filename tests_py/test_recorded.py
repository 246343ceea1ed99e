"""Answers of the original libraries, written down by recorded/record.py: they hold everywhere."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from msltx import Tokenizer

FILES = sorted((Path(__file__).parent / "recorded").glob("*.json"))


def load(recorded: dict[str, Any], folder: Path) -> Tokenizer:
    if "tokenizer" in recorded:
        return Tokenizer.from_json(json.dumps(recorded["tokenizer"]))
    if "model" in recorded:
        file = folder / "recorded.model"
        file.write_bytes(base64.b64decode(recorded["model"]))
        return Tokenizer.load(file)
    file = folder / "recorded.tiktoken"
    file.write_text(recorded["ranks"])
    return Tokenizer.load(file, split="cl100k")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_answers_hold(path: Path, tmp_path: Path) -> None:
    recorded = json.loads(path.read_text())
    tok = load(recorded, tmp_path)
    assert recorded["answers"]
    for answer in recorded["answers"]:
        text = answer["text"]
        encoding = tok.encode_fully(text, add_special_tokens="offsets" in answer)
        ids = answer["ids"]
        assert encoding.ids.tolist() == ids, text
        assert tok.encode(text, add_special_tokens="offsets" in answer).tolist() == ids, text
        assert tok.decode(ids) == answer["decoded"], text
        if "offsets" in answer:
            assert encoding.offsets.tolist() == answer["offsets"], text
            assert encoding.special_tokens_mask.tolist() == answer["special_tokens_mask"], text
            skipped = tok.decode(ids, skip_special_tokens=True)
            assert skipped == answer["without_special_tokens"], text


def test_every_model_is_recorded() -> None:
    models = {
        json.loads(path.read_text()).get("tokenizer", {}).get("model", {}).get("type")
        for path in FILES
    }
    assert models >= {"BPE", "WordPiece", "Unigram", "WordLevel"}
    assert len(FILES) >= 16
