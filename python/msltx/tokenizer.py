"""Text to token ids and back."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from msltx import _core
from msltx._arguments import MOST_COUNT, whole_number
from msltx._encoding import EncodedBatch, Encoding, TokenView

__all__ = [
    "DEFAULT_SPECIAL_TOKENS",
    "EncodedBatch",
    "Encoding",
    "Ids",
    "ProgressFunction",
    "StreamDecoder",
    "TokenView",
    "Tokenizer",
]

DEFAULT_SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[BOS]", "[EOS]")

#: Token ids: any one-dimensional integer array or sequence of integers.
Ids = Sequence[int] | npt.NDArray[Any]

#: Called with (stage, done, total) a few times a second; total is 0 where it is not known.
ProgressFunction = Callable[[str, int, int], object]


def _sample(sample: float | None) -> tuple[float, int]:
    """Give the share and the number of bytes that a sample is: a float is a share."""
    if sample is None:
        return 1.0, 0
    if isinstance(sample, float | np.floating):
        return float(sample), 0
    return 1.0, whole_number(sample, "sample", 1, MOST_COUNT)


class Tokenizer:
    """Text to token ids and back, kept as a Hugging Face ``tokenizer.json``.

    Make one with :meth:`train` or :meth:`load`. A tokenizer never changes once made, and any number
    of threads may use it at once. Byte-level BPE decodes to exactly the text that was encoded,
    unless the tokenizer normalizes text.
    """

    _engine: _core.Tokenizer

    def __init__(self) -> None:
        raise TypeError("make a tokenizer with Tokenizer.train or Tokenizer.load")

    @classmethod
    def _of(cls, engine: _core.Tokenizer) -> Tokenizer:
        self = object.__new__(cls)
        self._engine = engine
        return self

    @classmethod
    def train(
        cls,
        files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None,
        *,
        texts: Iterable[str] | None = None,
        model: str = "bpe",
        vocab_size: int = 8192,
        min_frequency: int = 2,
        special_tokens: Sequence[str] = DEFAULT_SPECIAL_TOKENS,
        split: str | None = None,
        max_token_length: int | None = None,
        alphabet_limit: int | None = None,
        character_coverage: float | None = None,
        byte_fallback: bool = False,
        continuing_prefix: str | None = None,
        word_suffix: str | None = None,
        lowercase: bool = False,
        remove_control: bool = False,
        normalize_unicode: str = "none",
        strip_accents: bool = False,
        remove_punctuation: bool = False,
        normalize_whitespace: bool = False,
        invalid_utf8: str = "refuse",
        sample: float | None = None,
        sample_seed: int = 0,
        progress: ProgressFunction | None = None,
    ) -> Tokenizer:
        """Train a tokenizer on text files, or on texts.

        The corpus is streamed: memory grows with the number of distinct words only. The result
        depends on the text and the options alone, not on the number of threads. Merges and ids of
        byte-level BPE are those of the Hugging Face ``BpeTrainer`` (files as its ``train``, each
        line on its own; texts as its ``train_from_iterator``).

        Parameters
        ----------
        files : path or iterable of paths, optional
            UTF-8 text files, also compressed by gzip or zstd; ``-`` is standard input.
        texts : iterable of str, optional
            Texts instead of files; a generator is read once, a few megabytes at a time.
        model : {"bpe", "bytes", "char_bpe", "wordpiece", "unigram", "word_level", "chars"}
            The kind of tokenizer: byte-level BPE, a token for every byte; BPE over characters,
            WordPiece, Unigram, whole words, or a token for every character.
        vocab_size : int
            Number of tokens wanted, special tokens and the alphabet (256 bytes, or the text's
            characters) included. There are fewer when the text has no more.
        min_frequency : int
            How often a pair (Unigram: a piece, else: a word or character) must occur at least to
            become a token; 0 counts as 1.
        special_tokens : sequence of str
            They take the first ids, in this order. ``[PAD] [UNK] [BOS] [EOS]`` and other usual
            names also get their roles (``eos_id`` ...).
        split : str, optional
            How text is cut before tokens are made; no token crosses a cut. "gpt2", "cl100k",
            "o200k", "llama3", "qwen2": the patterns of those tokenizers; "bert": at white space,
            which is lost, and punctuation; "whitespace": at white space, which is lost, and between
            words and what is none; "metaspace": before every space; "digits": every digit on its
            own, too; anything else: a regular expression. By default "gpt2" over bytes, "bert" for
            WordPiece, "metaspace" for Unigram and "whitespace" for the others.
        max_token_length : int, optional
            No token is made of this many bytes or characters, unless of two single ones (one less
            than it sounds, as in the Hugging Face trainer); of Unigram the longest, by default 16.
        alphabet_limit : int, optional
            Of models over characters: begin with so many characters, the most frequent ones.
        character_coverage : float, optional
            Begin with no more characters than cover this share of the text; by default 0.9995 of
            Unigram as in SentencePiece, else 1.
        byte_fallback : bool
            Of char_bpe, unigram and chars: write other characters as their bytes, ``<0x0A>``.
        continuing_prefix, word_suffix : str, optional
            Of char_bpe, and the first of wordpiece: what is written before what does not begin a
            word and after what ends one. By default "##" of wordpiece and, where white space is
            lost, "</w>" of char_bpe.
        lowercase : bool
            Make lowercase a part of the tokenizer, for training and for every later text.
        remove_control, normalize_unicode, strip_accents, remove_punctuation, normalize_whitespace
            Train on text that is cleaned so (see :func:`msltx.data.prepare`); the tokenizer itself
            leaves text as it is.
        invalid_utf8 : {"refuse", "replace", "skip"}
            What to do with bytes in files that are not UTF-8: an error with the file and the byte
            offset, U+FFFD in their place, or the line left out.
        sample : float or int, optional
            Train on a part of the text, drawn by line and so from all files: a share (a float up
            to 1.0), or about so many bytes of the files (an int).
        sample_seed : int
            The lines that are drawn follow from it.
        progress : callable, optional
            Called with (stage, done, total); stages are "read" (bytes) and "merge" (tokens).

        Returns
        -------
        Tokenizer

        Raises
        ------
        ValueError
            An option out of range, or no text at all.
        FileError
            A file that cannot be read or is not UTF-8.
        """
        sample_share, sample_bytes = _sample(sample)
        options = _core.TokenizerTrainOptions(
            model=model,
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            special_tokens=list(special_tokens),
            split=split or "",
            max_token_length=max_token_length or 0,
            alphabet_limit=alphabet_limit or 0,
            character_coverage=character_coverage,
            byte_fallback=byte_fallback,
            continuing_prefix=continuing_prefix,
            word_suffix=word_suffix,
            lowercase=lowercase,
            cleaning=_core.Cleaning(
                remove_control=remove_control,
                normalize_unicode=normalize_unicode,
                strip_accents=strip_accents,
                remove_punctuation=remove_punctuation,
                normalize_whitespace=normalize_whitespace,
            ),
            invalid_utf8=invalid_utf8,
            sample_share=sample_share,
            sample_bytes=sample_bytes,
            sample_seed=sample_seed,
        )
        if (files is None) == (texts is None):
            raise TypeError("Tokenizer.train takes files or texts=, one of them")
        if texts is not None:
            if isinstance(texts, str):
                raise TypeError("texts is one str; an iterable of them is expected, as [text]")
            return cls._of(_core.Tokenizer.train_texts(texts, options, progress))
        if isinstance(files, str | os.PathLike):
            files = [files]
        assert files is not None
        paths = [os.fspath(file) for file in files]
        return cls._of(_core.Tokenizer.train_files(paths, options, progress))

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        split: str | None = None,
        special_tokens: Mapping[str, int] | None = None,
        pad_token: str | None = None,
        unk_token: str | None = None,
        bos_token: str | None = None,
        eos_token: str | None = None,
    ) -> Tokenizer:
        """Load a Hugging Face ``tokenizer.json``, a ``.tiktoken`` or a SentencePiece ``.model``.

        Parameters
        ----------
        path : path
            The file, or a folder with a ``tokenizer.json`` in it (a dataset, a model).
        split : {"gpt2", "cl100k", "o200k", "llama3", "qwen2"}, optional
            The split pattern of a ``.tiktoken`` file. The files of tiktoken's own encodings are
            told by their names (``cl100k_base.tiktoken``), with their special tokens.
        special_tokens : mapping of str to int, optional
            Special tokens of a ``.tiktoken`` file and their ids.
        pad_token, unk_token, bos_token, eos_token : str, optional
            The tokens with these roles. By default what ``tokenizer_config.json`` and
            ``special_tokens_map.json`` beside the file say, else the usual names (``[PAD]``,
            ``</s>`` ...). Roles are kept when the tokenizer is saved.

        Raises
        ------
        FileError
            A file that cannot be read, is damaged, or has a component that is not supported; the
            message names it.
        ValueError
            A split pattern that is not known, or none where one is needed.
        """
        special = list((special_tokens or {}).items())
        roles = (pad_token, unk_token, bos_token, eos_token)
        return cls._of(_core.Tokenizer.load(os.fspath(path), split or "", special, *roles))

    @classmethod
    def load_from_model(cls, path: str | os.PathLike[str]) -> Tokenizer | None:
        """Load the tokenizer of a model folder, a checkpoint or a run; None where it has none."""
        folder, _ = _core.resolve_model(os.fspath(path))
        file = Path(folder) / "tokenizer.json"
        return cls.load(file) if file.exists() else None

    @classmethod
    def from_json(cls, json: str) -> Tokenizer:
        """Make a tokenizer from the content of a ``tokenizer.json``."""
        return cls._of(_core.Tokenizer.from_json(json))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a ``tokenizer.json``, whole or not at all.

        Parameters
        ----------
        path : path
            A file, or an existing folder to put ``tokenizer.json`` in. A name that ends in
            ``.model`` becomes a SentencePiece file; Unigram and character BPE that were trained
            here with the split "metaspace" have one.

        Returns
        -------
        Path
            The file written.

        Raises
        ------
        ValueError
            A ``.model`` file cannot say what this tokenizer does.
        """
        file = Path(path)
        if file.is_dir():
            file = file / "tokenizer.json"
        self._engine.save(str(file))
        return file

    def to_json(self) -> str:
        """Return the content of a ``tokenizer.json``."""
        return self._engine.to_json()

    def encode(self, text: str, add_special_tokens: bool = False) -> npt.NDArray[np.int32]:
        """Turn a text into token ids.

        Special tokens written in the text are recognized. A long text is shared out to all threads.

        Parameters
        ----------
        text : str
        add_special_tokens : bool
            Put [BOS] before and [EOS] after (what the file's post-processor says, for a loaded
            one).

        Returns
        -------
        ndarray of int32, shape (tokens,)
        """
        return self._engine.encode(text, add_special_tokens)

    def encode_file(
        self, path: str | os.PathLike[str], add_special_tokens: bool = False
    ) -> npt.NDArray[np.int32]:
        """Turn a text file into token ids; faster than reading it first.

        Line ends stay as they are. For files larger than memory: :func:`msltx.data.prepare`.

        Parameters
        ----------
        path : path
            A file in UTF-8.
        add_special_tokens : bool
            As for :meth:`encode`.

        Returns
        -------
        ndarray of int32, shape (tokens,)

        Raises
        ------
        FileError
            A file that cannot be read, or that is not UTF-8.
        MemoryLimitError
            A file that the system gives no memory for.
        """
        return self._engine.encode_file(os.fspath(path), add_special_tokens)

    def encode_batch(
        self, texts: Iterable[str], add_special_tokens: bool = False
    ) -> list[npt.NDArray[np.int32]]:
        """Encode many texts, shared out to all threads; ids as from :meth:`encode`."""
        if isinstance(texts, str):
            raise TypeError("texts is one str; an iterable of them is expected, as [text]")
        return self._engine.encode_batch(list(texts), add_special_tokens)

    def encode_fully(self, text: str, add_special_tokens: bool = False) -> Encoding:
        """Encode a text, with the place of every token and the masks; slower than :meth:`encode`.

        Offsets are those of the Hugging Face library.
        """
        return Encoding._of(self._engine.encode_fully(text, add_special_tokens))

    def encode_batch_fully(
        self,
        texts: Iterable[str],
        *,
        add_special_tokens: bool = False,
        max_length: int | None = None,
        stride: int = 0,
        truncation_side: str = "right",
        padding: str | int | None = None,
        pad_to_multiple_of: int = 1,
        padding_side: str = "right",
    ) -> EncodedBatch:
        """Encode many texts with masks and offsets, cut into windows and padded as asked.

        Parameters
        ----------
        texts : iterable of str
        add_special_tokens : bool
            As in :meth:`encode`; every window has them.
        max_length : int, optional
            Most tokens of a window, special ones included; a longer text has several windows.
        stride : int
            Tokens that a window shares with the one before it.
        truncation_side : {"right", "left"}
            Which end the first window leaves out.
        padding : {"longest"} or int, optional
            Pad to the longest encoding, or to a length, with the tokenizer's padding token.
        pad_to_multiple_of : int
            Round the length that is padded to up to a multiple.
        padding_side : {"right", "left"}

        Raises
        ------
        ValueError
            An option out of range, or padding without a padding token.
        """
        if isinstance(texts, str):
            raise TypeError("texts is one str; an iterable of them is expected, as [text]")
        if isinstance(padding, str) and padding != "longest":
            raise ValueError(f"padding is {padding!r}; it takes 'longest' or a length")
        is_length = padding is not None and not isinstance(padding, str)
        made = self._engine.encode_batch_fully(
            list(texts),
            add_special_tokens=add_special_tokens,
            max_length=None
            if max_length is None
            else whole_number(max_length, "max_length", 1, MOST_COUNT),
            stride=whole_number(stride, "stride", 0, MOST_COUNT),
            truncation_side=truncation_side,
            padded_length=whole_number(padding, "padding", 0, 2**30) if is_length else None,
            pad_longest=padding == "longest",
            pad_to_multiple_of=whole_number(pad_to_multiple_of, "pad_to_multiple_of", 1, 2**30),
            padding_side=padding_side,
        )
        windows = [[fields, *fields["overflowing"]] for fields in made]
        text_of = [i for i, of_text in enumerate(windows) for _ in of_text]
        return EncodedBatch(
            [Encoding._of(fields) for of_text in windows for fields in of_text],
            np.array(text_of, np.int32),
        )

    def vocabulary(self) -> dict[str, int]:
        """Every token as the file writes it, and its id, in the order of ids."""
        tokens = ((self.id_to_token(i), i) for i in range(self.vocab_size))
        return {token: i for token, i in tokens if token}

    def _repr_html_(self) -> str:
        return f"<code>{html.escape(repr(self))}</code>"

    def show(self, text: str) -> TokenView:
        """Return a view of a text's tokens that Jupyter shows in colours."""
        return TokenView(text, self.encode_fully(text))

    def decode(self, ids: Ids, skip_special_tokens: bool = False) -> str:
        """Turn token ids into text.

        Parameters
        ----------
        ids : integer array or sequence, shape (tokens,)
        skip_special_tokens : bool
            Leave special tokens out.

        Returns
        -------
        str
            Bytes that are not UTF-8 (a character cut in half) become U+FFFD.

        Raises
        ------
        ValueError
            An id outside the vocabulary.
        """
        return self._engine.decode(ids, skip_special_tokens)

    def decode_batch(self, batch: Iterable[Ids], skip_special_tokens: bool = False) -> list[str]:
        """Decode many sequences of ids."""
        return [self._engine.decode(ids, skip_special_tokens) for ids in batch]

    def stream_decoder(self, skip_special_tokens: bool = True) -> StreamDecoder:
        """Return a decoder for tokens that arrive one by one."""
        return StreamDecoder(self, skip_special_tokens)

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a token as the file writes it ("Ġthe"), or None."""
        return self._engine.token_to_id(token)

    def id_to_token(self, id: int) -> str:
        """Return a token as the file writes it ("Ġ" is a byte-level space, "Ċ" a line feed)."""
        return self._engine.id_to_token(id)

    def token_bytes(self, id: int) -> bytes:
        """Return the bytes that a token stands for."""
        return self._engine.token_bytes(id)

    def is_special(self, id: int) -> bool:
        """Whether the id is a special token's."""
        return self._engine.is_special(id)

    @property
    def vocab_size(self) -> int:
        """Number of tokens, special ones included; ids are 0 to vocab_size - 1."""
        return self._engine.vocab_size

    @property
    def special_tokens(self) -> dict[str, int]:
        """Special tokens and their ids."""
        return self._engine.special_tokens()

    @property
    def training(self) -> dict[str, Any]:
        """What it was trained with, as far as its file says; empty for files of others."""
        written = self._engine.training
        return json.loads(written) if written else {}

    @property
    def pad_id(self) -> int | None:
        """Id of the padding token, if there is one."""
        return self._engine.pad_id

    @property
    def unk_id(self) -> int | None:
        """Id of the token for unknown text, if there is one; byte-level BPE never needs it."""
        return self._engine.unk_id

    @property
    def bos_id(self) -> int | None:
        """Id of the token that begins a text, if there is one."""
        return self._engine.bos_id

    @property
    def eos_id(self) -> int | None:
        """Id of the token that ends a text, if there is one."""
        return self._engine.eos_id

    def __len__(self) -> int:
        return self._engine.vocab_size

    def __repr__(self) -> str:
        lowercase = ", lowercase" if self._engine.lowercase else ""
        return f"<msltx.Tokenizer: {self._engine.model}, {self.vocab_size} tokens{lowercase}>"

    def __reduce__(self) -> tuple[Callable[[str], Tokenizer], tuple[str]]:
        return (Tokenizer.from_json, (self.to_json(),))


class StreamDecoder:
    """Decodes token by token and never shows half a character.

    Parameters
    ----------
    tokenizer : Tokenizer
    skip_special_tokens : bool
        Leave special tokens out.
    """

    def __init__(self, tokenizer: Tokenizer, skip_special_tokens: bool = True) -> None:
        self._engine = _core.StreamDecoder(tokenizer._engine, skip_special_tokens)

    def push(self, id: int) -> str:
        """Take one token; return the characters that it completes, perhaps none."""
        return self._engine.push(id)

    def finish(self) -> str:
        """Return what still waits for the rest of a character, as U+FFFD."""
        return self._engine.finish()
