"""GPTConfig as Python sees it; tests_cpp/model has its rules."""

from __future__ import annotations

import ast
import copy
import pickle
from pathlib import Path

import numpy as np
import pytest

import msltx
from msltx import GPTConfig

ROOT = Path(__file__).resolve().parent.parent
SMALL = {
    "vocab_size": 100,
    "context_length": 32,
    "embedding_dim": 64,
    "num_layers": 2,
    "num_heads": 4,
}


def test_construction_and_attributes() -> None:
    config = GPTConfig(**SMALL, positions={"sinusoidal"}, bias={"qkv": False}, tie_weights=False)
    assert config.head_dim == 16
    assert config.ff_dim == 256
    assert config.positions == ["sinusoidal"]
    assert config.bias == {
        "qkv": False,
        "attention_out": True,
        "feed_forward": True,
        "norm": True,
        "output": True,
    }
    assert config.sliding_window is None
    assert config.rope_scaling is None
    assert config.norm == "layernorm"
    assert isinstance(config.norm_eps, float)
    with pytest.raises(AttributeError):
        config.head_dim = 3  # type: ignore[misc]


def test_numpy_scalars_are_numbers() -> None:
    fields = {name: np.int64(value) for name, value in SMALL.items()}
    config = GPTConfig(**fields, tie_weights=np.bool_(False), dropout=np.float64(0.25))
    assert config == GPTConfig(**SMALL, tie_weights=False, dropout=0.25)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_heads": 5}, "num_heads is 5; it must divide embedding_dim, 64, unless head_dim"),
        ({"vocab_size": 10**30}, r"vocab_size is 1e\+30; it takes an integer from 1 to 16777216"),
        ({"vocab_size": -1}, "vocab_size is -1; it takes an integer from 1 to 16777216"),
        ({"vocab_size": 10.0}, r"vocab_size is 10\.0; it takes an integer"),
        ({"vocab_size": object()}, "vocab_size is a object; it takes None, bool, int"),
        ({"tie_weights": "yes"}, 'tie_weights is "yes"; it takes true or false'),
        ({"dropout": float("nan")}, "dropout is nan; it takes a number from 0 to 0.99"),
        ({"n_embd": 64}, "unknown field n_embd; it is called embedding_dim here"),
        ({"num_layer": 2}, r"unknown field num_layer; did you mean num_layers\?"),
        ({"bias": {1: True}}, "bias has a key that is no str"),
    ],
)
def test_refusals(fields: dict[str, object], message: str) -> None:
    with pytest.raises(msltx.InvalidValueError, match=f"^{message}"):
        GPTConfig(**{**SMALL, **fields})  # type: ignore[arg-type]


def test_nesting_without_end_is_refused() -> None:
    loop: dict[str, object] = {}
    loop["qkv"] = loop
    with pytest.raises(msltx.InvalidValueError, match="nests deeper than 64"):
        GPTConfig(**SMALL, bias=loop)  # type: ignore[arg-type]


def test_a_preset_has_no_field_called_name() -> None:
    with pytest.raises(ValueError, match="unknown field name"):
        GPTConfig.preset("1m", **{"name": 3})


def test_preset_and_replace() -> None:
    assert GPTConfig.preset("gpt2").num_parameters() == 124_439_808
    assert {"1m", "4m", "11m", "25m", "gpt2", "mlx"} <= set(GPTConfig.preset_names())
    config = GPTConfig.preset("4m", vocab_size=5000)
    assert config.vocab_size == 5000
    wide = config.replace(embedding_dim=512)
    assert (wide.ff_dim, wide.head_dim) == (2048, 64)
    with pytest.raises(msltx.InvalidValueError, match="preset is 5m; there are 1m, 4m"):
        GPTConfig.preset("5m")


def test_presets_have_these_counts() -> None:
    """In Llama settings V C + L (4 C^2 + 3 C F + 2 C) + C; mlx has 2048 C more of positions."""
    counts = {name: GPTConfig.preset(name).num_parameters() for name in GPTConfig.preset_names()}
    assert counts == {
        "1m": 1_028_864,
        "4m": 3_646_976,
        "11m": 11_427_840,
        "gpt2": 124_439_808,
        "25m": 26_450_304,
        "125m": 123_685_632,
        "350m": 341_099_520,
        "760m": 757_016_064,
        "mlx": 177_169_152,
    }


def test_the_plans_counts() -> None:
    rest = {"tie_weights": False, "positions": "sinusoidal", "bias": True, "num_heads": 4}
    one = GPTConfig(
        vocab_size=100, context_length=64, embedding_dim=64, num_layers=2, ff_dim=256, **rest
    )
    two = GPTConfig(
        vocab_size=1000, context_length=64, embedding_dim=256, num_layers=4, ff_dim=1024, **rest
    )
    assert one.num_parameters() == 112_996
    assert two.num_parameters() == 3_672_552
    assert sum(int(np.prod(shape)) for _, shape in one.parameters()) == 112_996
    assert one.parameters()[0] == ("embed.tokens.weight", (100, 64))


@pytest.mark.parametrize("name", GPTConfig.preset_names())
def test_there_and_back(name: str) -> None:
    config = GPTConfig.preset(name)
    assert GPTConfig.from_dict(config.to_dict()) == config
    assert GPTConfig(**config.to_dict()) == config
    assert pickle.loads(pickle.dumps(config)) == config
    assert copy.deepcopy(config) == config
    assert hash(copy.copy(config)) == hash(config)
    assert eval(repr(config), {"GPTConfig": GPTConfig}) == config
    assert config != GPTConfig(**SMALL)
    assert config != name


def test_field_called() -> None:
    assert GPTConfig.field_called("n_head") == "num_heads"
    assert GPTConfig.field_called("vocab_size") == "vocab_size"
    assert GPTConfig.field_called("nonsense") is None


def test_stub_and_documentation_follow_the_table() -> None:
    names = [name for name, *_ in GPTConfig.describe() if "." not in name]
    stub = ast.parse((ROOT / "python/msltx/_core.pyi").read_text(encoding="utf-8"))
    (cls,) = (
        node for node in stub.body if isinstance(node, ast.ClassDef) and node.name == "GPTConfig"
    )
    functions = [node for node in cls.body if isinstance(node, ast.FunctionDef)]
    init = next(f for f in functions if f.name == "__init__")
    assert [arg.arg for arg in init.args.kwonlyargs] == names
    assert [f.name for f in functions if f.decorator_list and f.name in names] == names
    defaults = {
        arg.arg: ast.literal_eval(default)
        for arg, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
        if default is not None
    }
    assert GPTConfig(**SMALL, **defaults) == GPTConfig(**SMALL)
    assert set(defaults) == set(names) - set(SMALL)
    for name in names:
        assert f"\n{name} : " in (GPTConfig.__doc__ or "")


def test_formats_page_has_every_field() -> None:
    page = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    rows = "".join(
        f"| {name} | {takes} | {otherwise} | {meaning} |\n"
        for name, takes, otherwise, meaning in GPTConfig.describe()
    )
    assert rows in page, f"the table of docs/formats.md must be:\n{rows}"


def test_formats_page_has_every_refusal() -> None:
    page = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    rows = "".join(f"| {settings} | {reason} |\n" for settings, reason in GPTConfig.refusals())
    assert rows in page, f"the table of docs/formats.md must be:\n{rows}"
