"""One measurement of bench/text.py in a process of its own: prints a line of JSON.

python bench/text_worker.py CONTENDER THREADS encode TOKENIZER FILE SHARE...
python bench/text_worker.py CONTENDER THREADS train MODEL FILE VOCAB_SIZE
python bench/text_worker.py CONTENDER THREADS short TOKENIZER
"""

from __future__ import annotations

import atexit
import hashlib
import itertools
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

WARM_CALLS = 4
SPECIAL = ["[PAD]", "[UNK]", "[BOS]", "[EOS]"]
GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def before_word(text: str, at: int) -> int:
    """Return the first place from `at` on where a space stands between two letters."""
    while at < len(text) and not (
        text[at] == " " and text[at - 1].isalnum() and text[at + 1 : at + 2].isalnum()
    ):
        at += 1
    return at


def parts(text: str, count: int) -> list[str]:
    """Cut the text before words into `count` parts of about one size."""
    cuts = [0, *(before_word(text, len(text) * i // count) for i in range(1, count)), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(cuts)]


def digest(ids: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(ids, np.int32).tobytes()).hexdigest()


def flat(lists: list[Any]) -> list[int]:
    return [i for one in lists for i in one]


@dataclass
class Encoder:
    """How a library encodes: what it is given, made beforehand, and what it does with that."""

    prepare: Callable[[str], Any]
    encode: Callable[[Any], Any]
    array: Callable[[Any], Any] = flat  # of its answer


def msltx_encoder(path: Path, threads: int) -> Encoder:
    import msltx

    msltx.set_num_threads(threads)
    return Encoder(lambda text: text, msltx.Tokenizer.load(path).encode, lambda ids: ids)


def msltx_file_encoder(path: Path, threads: int) -> Encoder:
    import msltx

    msltx.set_num_threads(threads)
    return Encoder(in_file, msltx.Tokenizer.load(path).encode_file, lambda ids: ids)


def in_file(text: str) -> Path:
    path = Path(tempfile.mkdtemp()) / "text.txt"
    path.write_bytes(text.encode())
    atexit.register(shutil.rmtree, path.parent)
    return path


def gigatoken_tokenizer(path: Path) -> Any:
    import gigatoken

    if path.suffix == ".tiktoken":
        return gigatoken.Tokenizer.from_tiktoken(path)
    return gigatoken.Tokenizer(path)


def of_awkward(ids: Any) -> Any:
    import awkward

    return awkward.to_numpy(awkward.flatten(ids))


def gigatoken_encoder(path: Path, threads: int) -> Encoder:
    made = gigatoken_tokenizer(path)
    if path.name.startswith("llama2"):  # parts of it would have other ids than the whole
        return Encoder(str.encode, made.encode, lambda ids: ids)

    def prepare(text: str) -> list[bytes]:
        return [part.encode() for part in parts(text, 8 * threads)]

    return Encoder(prepare, lambda texts: made.encode_batch(texts, parallel=True), of_awkward)


def gigatoken_file_encoder(path: Path, threads: int) -> Encoder:
    return Encoder(in_file, gigatoken_tokenizer(path).encode_files, of_awkward)


def tiktoken_encoding(path: Path) -> Any:
    import tiktoken

    if path.suffix == ".tiktoken":
        from tiktoken.load import load_tiktoken_bpe

        ranks = load_tiktoken_bpe(str(path))
        pattern = (
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"
            r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
        )
    else:
        vocabulary = json.loads(path.read_text())["model"]["vocab"]
        letters = byte_letters()
        ranks = {
            bytes(letters[c] for c in token): rank
            for token, rank in vocabulary.items()
            if all(c in letters for c in token)
        }
        pattern = GPT2_PATTERN
    return tiktoken.Encoding("measured", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


def tiktoken_encoder(path: Path, threads: int) -> Encoder:
    made = tiktoken_encoding(path)
    return Encoder(
        lambda text: parts(text, threads),
        lambda texts: made.encode_ordinary_batch(texts, num_threads=threads),
    )


def byte_letters() -> dict[str, int]:
    """Return the bytes that the letters of a byte-level vocabulary stand for."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}


def tokenizers_encoder(path: Path, threads: int) -> Encoder:
    import tokenizers

    made = tokenizers.Tokenizer.from_file(str(path))
    # Of llama2.json parts would have other ids than the whole.
    count = 1 if path.name.startswith("llama2") else 8 * threads
    return Encoder(
        lambda text: parts(text, count),
        lambda texts: made.encode_batch_fast(texts, add_special_tokens=False),
        lambda answers: flat([a.ids for a in answers]),
    )


ENCODERS = {
    "msltx": msltx_encoder,
    "msltx, file": msltx_file_encoder,
    "gigatoken": gigatoken_encoder,
    "gigatoken, file": gigatoken_file_encoder,
    "tiktoken": tiktoken_encoder,
    "tokenizers": tokenizers_encoder,
}


def encode(contender: str, threads: int, tokenizer: str, file: str, *shares: str) -> dict[str, Any]:
    """Measure on the first share of the file; of all shares the ids are handed on."""
    whole = Path(file).read_bytes().decode()
    texts = {s: whole[: before_word(whole, int(len(whole) * float(s)))] for s in shares}
    encoder = ENCODERS[contender](Path(tokenizer), threads)
    text = texts[shares[0]]
    given = encoder.prepare(text)
    times = []
    for _ in range(1 + WARM_CALLS):
        begin = time.perf_counter()
        answer = encoder.encode(given)
        times.append(time.perf_counter() - begin)
    ids = {shares[0]: digest(encoder.array(answer))}
    for share in shares[1:]:
        ids[share] = digest(encoder.array(encoder.encode(encoder.prepare(texts[share]))))
    megabytes = len(text.encode()) / 1e6
    return {
        "cold": megabytes / times[0],
        "warm": megabytes / statistics.median(times[1:]),
        "ids": ids,
    }


def read_lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", newline="\n") as file:
        yield from file


def train_msltx(model: str, path: Path, size: int, threads: int) -> None:
    import msltx

    msltx.set_num_threads(threads)
    msltx.Tokenizer.train(path, model=model, vocab_size=size)


def train_tokenizers(model: str, path: Path, size: int, threads: int) -> None:
    import tokenizers as hf

    made = hf.Tokenizer(hf.models.BPE())
    made.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.train(
        [str(path)],
        hf.trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=2,
            special_tokens=SPECIAL,
            initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )


def train_rustbpe(model: str, path: Path, size: int, threads: int) -> None:
    import rustbpe

    rustbpe.Tokenizer().train_from_iterator(read_lines(path), size, pattern=GPT2_PATTERN)


def train_gigatoken(model: str, path: Path, size: int, threads: int) -> None:
    import gigatoken

    gigatoken.train_bpe(str(path), size, SPECIAL)


def train_sentencepiece(model: str, path: Path, size: int, threads: int) -> None:
    import sentencepiece

    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            input=str(path),
            model_prefix=f"{folder}/m",
            vocab_size=size,
            model_type=model,
            num_threads=threads,
            input_sentence_size=0,
            minloglevel=2,
        )


TRAINERS = {
    "msltx": train_msltx,
    "tokenizers": train_tokenizers,
    "rustbpe": train_rustbpe,
    "gigatoken": train_gigatoken,
    "sentencepiece": train_sentencepiece,
}


def train(contender: str, threads: int, model: str, file: str, size: str) -> dict[str, Any]:
    __import__(contender)
    path = Path(file)
    begin = time.perf_counter()
    TRAINERS[contender](model, path, int(size), threads)
    return {"speed": path.stat().st_size / 1e6 / (time.perf_counter() - begin)}


def short(contender: str, threads: int, tokenizer: str) -> dict[str, Any]:
    if contender == "tokenizers":
        import tokenizers

        call = tokenizers.Tokenizer.from_file(tokenizer).encode
    elif contender == "tiktoken":
        call = tiktoken_encoding(Path(tokenizer)).encode
    else:
        call = msltx_encoder(Path(tokenizer), threads).encode
    best = float("inf")
    for _ in range(7):
        begin = time.perf_counter_ns()
        for _ in range(20_000):
            call("Hello world")
        best = min(best, (time.perf_counter_ns() - begin) / 20_000)
    return {"nanoseconds": best}


def main() -> None:
    contender, threads, what, *rest = sys.argv[1:]
    work: dict[str, Callable[..., dict[str, Any]]] = {
        "encode": encode,
        "train": train,
        "short": short,
    }
    try:
        answer = work[what](contender, int(threads), *rest)
    except ModuleNotFoundError as error:
        answer = {"missing": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
