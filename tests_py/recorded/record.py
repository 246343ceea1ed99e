#!/usr/bin/env python3
"""Writes down what the original libraries answer, for tokenizers trained here on our own text.

    python tests_py/recorded/record.py

Needs tokenizers, sentencepiece and tiktoken. test_recorded.py holds us to the answers wherever it
runs, without them. The versions that answered stand in each file.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import msltx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from test_tokenizer_components import strings  # noqa: E402

TEXTS = [HERE.parents[1] / "README.md", HERE.parents[1] / "docs/decisions.md"]
VOCAB_SIZE = 380
STRINGS = [
    "The quick brown fox, 1234 times; it's a test. DON'T!",
    "  two  spaces\tand\nlines \n\n  \n",
    "\u00dcn\u00efc\u00f6de \u2014 \u6f22\u5b57 \U0001f600 and na\u00efve caf\u00e9 e\u0301",
    "[BOS]glued[EOS] [PAD] to text[UNK]",
    "\u0e33\u0301\u200d\ufeff\u00a0\u3000x\u2028y\x00\x7f\x85z",
    *strings(30),
]
SPLITS = {
    "gpt2": "gpt2",
    "cl100k": "cl100k",
    "o200k": "o200k",
    "llama3": "llama3",
    "qwen2": "qwen2",
}
MODELS: dict[str, dict[str, Any]] = {
    **{f"bpe-{name}": {"model": "bpe", "split": split} for name, split in SPLITS.items()},
    "bpe-digits": {"model": "bpe", "split": "digits"},
    "bpe-expression": {"model": "bpe", "split": r"\w+|\s+|[^\w\s]"},
    "char-bpe": {"model": "char_bpe"},
    "char-bpe-metaspace": {"model": "char_bpe", "split": "metaspace", "byte_fallback": True},
    "wordpiece": {"model": "wordpiece", "lowercase": True},
    "unigram": {"model": "unigram"},
    "unigram-bytes": {"model": "unigram", "byte_fallback": True},
    "word-level": {"model": "word_level"},
}
PIECES = {
    "sentencepiece-bpe": {"model": "char_bpe", "split": "metaspace", "byte_fallback": True},
    "sentencepiece-unigram": {"model": "unigram", "byte_fallback": True},
}


def hugging_face(tok: msltx.Tokenizer) -> dict[str, Any]:
    import tokenizers

    made = tokenizers.Tokenizer.from_str(tok.to_json())
    answers = []
    for text in STRINGS:
        encoding = made.encode(text)
        answers.append(
            {
                "text": text,
                "ids": encoding.ids,
                "offsets": encoding.offsets,
                "special_tokens_mask": encoding.special_tokens_mask,
                "decoded": made.decode(encoding.ids, skip_special_tokens=False),
                "without_special_tokens": made.decode(encoding.ids),
            }
        )
    return {
        "library": f"tokenizers {tokenizers.__version__}",
        "tokenizer": json.loads(tok.to_json()),
        "answers": answers,
    }


def sentencepiece(tok: msltx.Tokenizer, file: Path) -> dict[str, Any]:
    import sentencepiece as spm

    tok.save(file)
    made = spm.SentencePieceProcessor(model_file=str(file))
    content = file.read_bytes()
    file.unlink()
    answers = [
        {"text": text, "ids": made.encode(text), "decoded": made.decode(made.encode(text))}
        for text in STRINGS
    ]
    return {
        "library": f"sentencepiece {spm.__version__}",
        "model": base64.b64encode(content).decode(),
        "answers": answers,
    }


def tiktoken(tok: msltx.Tokenizer) -> dict[str, Any]:
    import tiktoken as library

    special = set(tok.special_tokens)
    pieces = [
        tok.token_bytes(i) for i in range(tok.vocab_size) if tok.id_to_token(i) not in special
    ]
    ranks = {piece: rank for rank, piece in enumerate(pieces)}
    pattern = (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"
        r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    )
    made = library.Encoding("recorded", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    answers = [
        {"text": text, "ids": made.encode_ordinary(text), "decoded": text} for text in STRINGS
    ]
    lines = [f"{base64.b64encode(piece).decode()} {rank}\n" for piece, rank in ranks.items()]
    return {
        "library": f"tiktoken {library.__version__}",
        "ranks": "".join(lines),
        "answers": answers,
    }


def write(name: str, recorded: dict[str, Any]) -> None:
    path = HERE / f"{name}.json"
    path.write_text(json.dumps(recorded, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(f"{path.name}: {len(recorded['answers'])} strings, {recorded['library']}")


def main() -> None:
    for name, options in MODELS.items():
        write(name, hugging_face(msltx.Tokenizer.train(TEXTS, vocab_size=VOCAB_SIZE, **options)))
    for name, options in PIECES.items():
        tok = msltx.Tokenizer.train(TEXTS, vocab_size=VOCAB_SIZE + 256, **options)
        write(name, sentencepiece(tok, HERE / "recorded.model"))
    tok = msltx.Tokenizer.train(TEXTS, vocab_size=VOCAB_SIZE, model="bpe", split="cl100k")
    write("tiktoken", tiktoken(tok))


if __name__ == "__main__":
    main()
