"""Every component of tokenizer.json beside the Hugging Face library: ids, places, masks, text."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

import msltx
from msltx import Tokenizer

WORDS = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "a", "b", "the", "##a", "##b", "1", "\u2581", ".", "e"]

NORMALIZERS: list[dict[str, Any]] = [
    {"type": kind}
    for kind in ("NFC", "NFD", "NFKC", "NFKD", "Nmt", "Lowercase", "StripAccents", "ByteLevel")
] + [
    {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
    },
    {
        "type": "BertNormalizer",
        "clean_text": False,
        "handle_chinese_chars": True,
        "strip_accents": True,
        "lowercase": False,
    },
    {"type": "Strip", "strip_left": True, "strip_right": True},
    {"type": "Strip", "strip_left": False, "strip_right": True},
    {"type": "Prepend", "prepend": "\u2581x"},
    {"type": "Replace", "pattern": {"String": "a"}, "content": "\u2581\u2581"},
    {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": ""},
    {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u2581"},
    {
        "type": "Sequence",
        "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}],
    },
]

BEHAVIORS = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
PRE_TOKENIZERS: list[dict[str, Any] | None] = [
    None,
    {"type": "BertPreTokenizer"},
    {"type": "Whitespace"},
    {"type": "WhitespaceSplit"},
    {"type": "UnicodeScripts"},
    {"type": "FixedLength", "length": 3},
    {"type": "CharDelimiterSplit", "delimiter": "a"},
    {"type": "Digits", "individual_digits": True},
    {"type": "Digits", "individual_digits": False},
    *({"type": "Punctuation", "behavior": behavior} for behavior in BEHAVIORS),
    *(
        {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": split}
        for scheme in ("always", "first", "never")
        for split in (True, False)
    ),
    {"type": "Metaspace", "replacement": "_", "str_rep": "_", "add_prefix_space": True},
    *(
        {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}
        for pattern in (
            {"String": "a"},
            {"Regex": "\\w+|[^\\w\\s]+"},
            {"Regex": "\\d{1,2}+|\\bt"},
            {"Regex": "[[:upper:]]?[[:lower:]]+|[^[:alnum:][:space:]]|(?x: \\u00e9 # \\b\n )"},
            {"Regex": "[\\w]+|[[:word:]x]|\\W|[\\W]"},
            {"Regex": "(?m)t.e|1(?i)a|B|[.,!.]|[:;:]"},
            {"Regex": "(?:(?x) a (?i) b | a \u2028? . )|[\\d-]|\\\u00e9"},
        )
        for behavior in BEHAVIORS
        for invert in (False, True)
    ),
    *(
        {"type": "ByteLevel", "add_prefix_space": space, "trim_offsets": True, "use_regex": regex}
        for space in (False, True)
        for regex in (False, True)
    ),
    {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Punctuation"}]},
]

DECODERS: list[dict[str, Any] | None] = [
    None,
    {"type": "WordPiece", "prefix": "##", "cleanup": True},
    {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
    {"type": "BPEDecoder", "suffix": "a"},
    {"type": "CTC", "pad_token": "[PAD]", "word_delimiter_token": "\u2581", "cleanup": True},
    {"type": "Fuse"},
    {"type": "ByteFallback"},
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    {"type": "Strip", "content": "a", "start": 1, "stop": 0},
    {"type": "Replace", "pattern": {"String": "a"}, "content": "bb"},
    {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ],
    },
]

TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 1}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 2}},
    ],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {
        "[CLS]": {"id": "[CLS]", "ids": [1], "tokens": ["[CLS]"]},
        "[SEP]": {"id": "[SEP]", "ids": [2], "tokens": ["[SEP]"]},
    },
}
POST_PROCESSORS: list[dict[str, Any] | None] = [
    None,
    TEMPLATE,
    {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
    {
        "type": "RobertaProcessing",
        "sep": ["[SEP]", 2],
        "cls": ["[CLS]", 1],
        "trim_offsets": True,
        "add_prefix_space": True,
    },
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    {
        "type": "Sequence",
        "processors": [
            {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True},
            TEMPLATE,
        ],
    },
]

PIECES = [
    *("a", "b", "the", " ", "  ", "\n", "1", "23", ".", "!?", "A", "\u00e9", "e\u0301", "\u0301"),
    *("\u00c5ngstr\u00f6m", "\u4e2d", "\u3042\u30fc", "\uac01", "\ufb01", "\u00b2", "\u0130", "\t"),
    *("\u2581", "_", "\u0120", "\u00a0", "\u200b", "\x00", "\x7f", "\U0001f468\u200d\U0001f469"),
    *("[CLS]", " [MASK] ", "<x>", "\u0664", "\u0e33", "\ufffd", "'s", "do not", "\U0001d7d9"),
]


def strings(count: int) -> list[str]:
    draw = random.Random(7)
    return ["", " ", "a"] + [
        "".join(draw.choice(PIECES) for _ in range(draw.randrange(1, 9))) for _ in range(count)
    ]


def characters() -> dict[str, Any]:
    """Return a BPE model over characters that knows bytes."""
    tokens = ["[UNK]", "[CLS]", "[SEP]", "[PAD]"]
    tokens += [chr(c) for c in range(0x21, 0x7F)] + [f"<0x{b:02X}>" for b in range(256)]
    tokens += ["\u2581", "\u0120", "\u00e9", "th", "the", "\u2581a", "\u2581the", "aa"]
    merges = [["t", "h"], ["th", "e"], ["\u2581", "a"], ["\u2581", "the"], ["a", "a"]]
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": "[UNK]",
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": {token: i for i, token in enumerate(tokens)},
        "merges": merges,
    }


def tokenizer(**parts: Any) -> dict[str, Any]:
    added = [
        ("[CLS]", True, False, False, False, False),
        ("[MASK]", True, False, True, True, False),
        ("<x>", False, True, False, False, True),
        ("the", False, False, False, False, True),
    ]
    model = parts.pop("model", characters())
    size = len(model["vocab"])
    ids = {content: model["vocab"].get(content) for content, *_ in added}
    fresh = iter(range(size, size + len(added)))
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": next(fresh) if ids[content] is None else ids[content],
                "content": content,
                "special": special,
                "single_word": single,
                "lstrip": left,
                "rstrip": right,
                "normalized": normalized,
            }
            for content, special, normalized, left, right, single in added
        ],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": model,
        **parts,
    }


def check(file: dict[str, Any], texts: list[str]) -> None:
    hf = pytest.importorskip("tokenizers", reason="the tokenizers library is not installed")
    written = json.dumps(file)
    theirs, ours = hf.Tokenizer.from_str(written), Tokenizer.from_json(written)
    again = Tokenizer.from_json(ours.to_json())
    assert ours.vocab_size == theirs.get_vocab_size()
    for text in texts:
        for special in (False, True):
            expected = theirs.encode(text, add_special_tokens=special)
            full = ours.encode_fully(text, special)
            assert full.ids.tolist() == expected.ids, text
            assert full.tokens == expected.tokens, text
            assert [tuple(o) for o in full.offsets.tolist()] == expected.offsets, text
            assert full.type_ids.tolist() == expected.type_ids, text
            assert full.special_tokens_mask.tolist() == expected.special_tokens_mask, text
            assert ours.encode(text, special).tolist() == expected.ids, text
            assert again.encode(text, special).tolist() == expected.ids, text
            for skip in (False, True):
                if expected.ids:  # their BPEDecoder fails on none
                    decoded = theirs.decode(expected.ids, skip_special_tokens=skip)
                    assert ours.decode(expected.ids, skip) == decoded, text


@pytest.mark.parametrize("part", NORMALIZERS, ids=lambda p: json.dumps(p)[9:60])
def test_normalizers(part: dict[str, Any]) -> None:
    check(tokenizer(normalizer=part), strings(60))


@pytest.mark.parametrize("part", PRE_TOKENIZERS, ids=lambda p: json.dumps(p)[9:90])
def test_pre_tokenizers(part: dict[str, Any] | None) -> None:
    check(tokenizer(pre_tokenizer=part), strings(40))


@pytest.mark.parametrize("part", DECODERS, ids=lambda p: json.dumps(p)[9:60])
def test_decoders(part: dict[str, Any] | None) -> None:
    check(tokenizer(decoder=part, model=characters() | {"byte_fallback": True}), strings(40))


@pytest.mark.parametrize("part", POST_PROCESSORS, ids=lambda p: json.dumps(p)[9:60])
def test_post_processors(part: dict[str, Any] | None) -> None:
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False}
    check(tokenizer(post_processor=part, pre_tokenizer=byte_level), strings(40))


@pytest.mark.parametrize(
    "model",
    [
        characters() | {"byte_fallback": True, "fuse_unk": True},
        characters() | {"end_of_word_suffix": "a"},
        {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 5,
            "vocab": {word: i for i, word in enumerate(WORDS)},
        },
        {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {w: i for i, w in enumerate(WORDS)}},
    ],
    ids=["fused", "suffix", "wordpiece", "words"],
)
def test_models(model: dict[str, Any]) -> None:
    check(tokenizer(model=model, pre_tokenizer={"type": "Whitespace"}), strings(60))


def test_unigram() -> None:
    vocab = [[word, -1.0 - i / 3] for i, word in enumerate(WORDS)]
    for fallback in (False, True):
        model = {"type": "Unigram", "unk_id": 0, "byte_fallback": fallback, "vocab": vocab}
        file = tokenizer(model={"vocab": {w: i for i, w in enumerate(WORDS)}})
        check(file | {"model": model}, strings(60))


@pytest.mark.slow
def test_normal_forms_of_every_code_point_equal_the_library() -> None:
    hf = pytest.importorskip("tokenizers", reason="the tokenizers library is not installed")
    for kind in ("NFC", "NFD", "NFKC", "NFKD", "StripAccents", "Nmt", "Lowercase"):
        fused = {"type": "Fuse"}
        part = {"type": kind}
        model = characters() | {"unk_token": None, "byte_fallback": True}
        file = tokenizer(model=model, normalizer=part, decoder=fused)
        ours = Tokenizer.from_json(json.dumps(file))
        theirs = hf.Tokenizer.from_str(json.dumps(file))
        texts = []
        for start in range(0, 0x110000, 64):
            codes = [c for c in range(start, start + 64) if not 0xD800 <= c < 0xE000]
            texts.append("".join(f"{chr(c)}\u0334x" for c in codes))
        expected = theirs.encode_batch_fast(texts, add_special_tokens=False)
        for text, mine, their in zip(texts, ours.encode_batch(texts), expected, strict=True):
            assert mine.tolist() == their.ids, (kind, hex(ord(text[0]) if text else 0))


def test_unknown_components_are_named() -> None:
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        with pytest.raises(msltx.FileError, match=f"has {part} Foo, which is not supported"):
            Tokenizer.from_json(json.dumps(tokenizer(**{part: {"type": "Foo"}})))
    wrong = {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False}
    with pytest.raises(msltx.FileError, match="cannot be read"):
        Tokenizer.from_json(json.dumps(tokenizer(pre_tokenizer=wrong)))


def test_windows_and_padding_equal_the_library() -> None:
    hf = pytest.importorskip("tokenizers", reason="the tokenizers library is not installed")
    file = tokenizer(post_processor=TEMPLATE)
    file["added_tokens"].append(
        {"id": 3, "content": "[PAD]", "special": True, "normalized": False}
        | {"single_word": False, "lstrip": False, "rstrip": False}
    )
    theirs, ours = hf.Tokenizer.from_str(json.dumps(file)), Tokenizer.from_json(json.dumps(file))
    texts = ["a" * 3, "ab" * 20, "", "the b.1" * 3]
    for side in ("left", "right"):
        theirs.enable_padding(direction=side, pad_id=3, pad_token="[PAD]", pad_to_multiple_of=4)
        expected = theirs.encode_batch(texts)
        batch = ours.encode_batch_fully(
            texts,
            add_special_tokens=True,
            padding="longest",
            pad_to_multiple_of=4,
            padding_side=side,
        )
        assert batch.ids.tolist() == [e.ids for e in expected]
        assert batch.attention_mask.tolist() == [e.attention_mask for e in expected]
        assert batch.special_tokens_mask.tolist() == [e.special_tokens_mask for e in expected]
        assert batch.offsets.tolist() == [[list(o) for o in e.offsets] for e in expected]
        theirs.no_padding()
        theirs.enable_truncation(9, stride=2, direction=side)
        firsts = [e.ids for e in theirs.encode_batch(texts)]
        theirs.no_truncation()
        cut = ours.encode_batch_fully(
            texts, add_special_tokens=True, max_length=9, stride=2, truncation_side=side
        )
        seen: dict[int, list[int]] = {}
        for i, encoding in zip(cut.text_of.tolist(), cut.encodings, strict=True):
            seen.setdefault(i, encoding.ids.tolist())
        assert list(seen.values()) == firsts
        assert cut.text_of.tolist().count(1) == 8  # 40 tokens, 7 in a window, 5 new in each


def test_streams_do_not_gather_what_is_never_shown() -> None:
    special = {"id": 1, "content": "<s>", "special": True}
    file = tokenizer(
        model={"type": "WordLevel", "vocab": {"a": 0, "<s>": 1}, "unk_token": "a"},
        added_tokens=[special],
    )
    stream = Tokenizer.from_json(json.dumps(file)).stream_decoder()
    with pytest.raises(ValueError, match="outside the vocabulary"):
        stream.push(2)
    assert stream.push(0) == "a"
    begin = time.monotonic()
    assert all(stream.push(1) == "" for _ in range(60_000))
    assert time.monotonic() - begin < 2  # the square of their number would be many seconds
    assert stream.push(0) == " a"


def test_streams_do_not_wait_for_bytes_that_are_no_character() -> None:
    model = characters()
    ids = model["vocab"]
    file = tokenizer(model=model, decoder=DECODERS[-1])
    tok = Tokenizer.from_json(json.dumps(file))
    wrong, first = ids["<0xFF>"], [ids[f"<0x{b:02X}>"] for b in "\U0001f600".encode()]
    stream = tok.stream_decoder()
    begin = time.monotonic()
    shown = "".join(stream.push(wrong) for _ in range(8000))
    assert time.monotonic() - begin < 2
    assert len(shown) == 8000 - 3
    assert set(shown) == {"\ufffd"}
    assert shown + stream.finish() == tok.decode([wrong] * 8000)
    # What was shown becomes wrong by a byte behind it; the stream goes on all the same.
    given = [stream.push(k) for k in [ids["a"], *first, wrong, ids["a"], ids["th"]]]
    assert "".join(given[:5]) == "a\U0001f600"
    assert given[-1] == "th"
    assert "".join(given[5:-1]).endswith("a")


@pytest.mark.parametrize("text", ["\u2581\u00e9", "\u2581\u4e2d", "\u2581a\U0001f600"])
def test_streams_keep_together_what_comes_behind_a_character_that_is_not_shown(text: str) -> None:
    model = characters()
    parts = [{"type": "ByteFallback"}, DECODERS[2]]
    file = tokenizer(model=model, decoder={"type": "Sequence", "decoders": parts})
    tok = Tokenizer.from_json(json.dumps(file))
    ids = [model["vocab"][f"<0x{b:02X}>"] for b in text.encode()]
    stream = tok.stream_decoder()
    assert "".join([*(stream.push(k) for k in ids), stream.finish()]) == tok.decode(ids) == text[1:]


def test_streams_show_what_decoding_shows() -> None:
    decoder = DECODERS[-1]
    file = tokenizer(
        model=characters() | {"byte_fallback": True},
        normalizer={"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        decoder=decoder,
    )
    tok = Tokenizer.from_json(json.dumps(file))
    for text in ("the a\u00e9 b \U0001f600 the", " a  b", "\u00e9"):
        ids = tok.encode(text).tolist()
        stream = tok.stream_decoder()
        parts = [stream.push(i) for i in ids]
        assert "".join(parts) + stream.finish() == tok.decode(ids, skip_special_tokens=True)
        assert not any("\ufffd" in part for part in parts)
