"""Models of other projects as model folders."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

from msltx import FileError, _core
from msltx.model import GPT

__all__ = ["llama2c", "llama2c_tokenizer"]

_SPACE = "\u2581"  # what SentencePiece writes a space as
_SPECIAL = ("<unk>", "<s>", "</s>")  # ids 0, 1, 2


def _pieces(path: Path) -> list[tuple[float, str]]:
    """Read score and text of each token: int32 longest, then float32, int32 length, bytes each."""
    data = path.read_bytes()
    at = 4
    pieces: list[tuple[float, str]] = []
    while at < len(data):
        if at + 8 > len(data):
            raise FileError(f"{path} is no llama2.c tokenizer: it ends inside token {len(pieces)}")
        score, length = struct.unpack_from("<fi", data, at)
        at += 8
        if not 0 <= length <= len(data) - at:
            raise FileError(
                f"{path} is no llama2.c tokenizer: token {len(pieces)} has {length} bytes of text"
            )
        try:
            pieces.append((score, data[at : at + length].decode("utf-8")))
        except UnicodeDecodeError:
            raise FileError(
                f"{path} is no llama2.c tokenizer: token {len(pieces)} is no UTF-8"
            ) from None
        at += length
    if len(pieces) < len(_SPECIAL) + 256:
        raise FileError(f"{path} is no llama2.c tokenizer: it has {len(pieces)} tokens")
    return pieces


def _merges(texts: list[str], scores: list[float]) -> list[list[str]]:
    """Every way to make a piece of two others, the piece with the highest score first."""
    rank = {text: id for id, text in enumerate(texts)}
    merges = []
    for id in range(len(_SPECIAL) + 256, len(texts)):
        text = texts[id]
        for cut in range(1, len(text)):
            left, right = text[:cut], text[cut:]
            if left in rank and right in rank:
                merges.append((-scores[id], id, rank[left], rank[right]))
    return [[texts[left], texts[right]] for _, _, left, right in sorted(merges)]


def llama2c_tokenizer(path: str | os.PathLike[str]) -> str:
    """Give the text of the tokenizer.json that a tokenizer of llama2.c is.

    Parameters
    ----------
    path : path-like
        Such as tok512.bin: pieces of SentencePiece's BPE with their scores; ids 0 to 2 are unknown,
        begin and end, 3 to 258 the bytes.

    Returns
    -------
    json : str
        BPE with byte fallback behind a metaspace, begin put before every text.

    Raises
    ------
    FileError
        For a file that is missing or holds something else.
    """
    pieces = _pieces(Path(path))
    texts = [text.replace(" ", _SPACE) for _, text in pieces]
    texts[: len(_SPECIAL)] = _SPECIAL
    scores = [score for score, _ in pieces]
    begin = _SPECIAL[1]
    tokenizer: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": id,
                "content": text,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for id, text in enumerate(_SPECIAL)
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": _SPACE},
                {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": begin, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [
                {"SpecialToken": {"id": begin, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {begin: {"id": begin, "ids": [1], "tokens": [begin]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": _SPECIAL[0],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {text: id for id, text in enumerate(texts)},
            "merges": _merges(texts, scores),
        },
    }
    return json.dumps(tokenizer, ensure_ascii=False, indent=2)


def llama2c(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    tokenizer: str | os.PathLike[str] | None = None,
) -> GPT:
    """Write a model of llama2.c's first format as a model folder, and give the model.

    Parameters
    ----------
    path : path-like
        Such as stories260K.bin: a header of seven int32, then float32 tensors.
    out : path-like
        The folder; it appears whole or not at all, and a model folder of that name is replaced.
    tokenizer : path-like, optional
        The model's tokenizer in llama2.c's format.

    Raises
    ------
    FileError
        For a file that is missing or holds something else.
    """
    text = "" if tokenizer is None else llama2c_tokenizer(tokenizer)
    model = GPT.__new__(GPT)
    model._core = _core.GPT.load_llama2c(os.fspath(path))
    model._core.save(os.fspath(out), text)
    return model
