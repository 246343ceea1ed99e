"""safetensors files: ours and those of the safetensors package read each other."""

from __future__ import annotations

import struct
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import msltx
from msltx import exchange

DTYPES = [np.float32, ml_dtypes.bfloat16, np.float16, np.int32, np.int8, np.uint8]


def arrays_of_every_dtype() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    arrays = {}
    for dtype in DTYPES:
        name = np.dtype(dtype).name
        arrays[f"{name}.matrix"] = (rng.standard_normal((3, 5)) * 50).astype(np.int8).astype(dtype)
        arrays[f"{name}.scalar"] = np.array(1, dtype)
        arrays[f"{name}.empty"] = np.zeros((0, 2), dtype)
    return arrays


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert set(a) == set(b)
    for name, array in a.items():
        assert array.dtype == b[name].dtype, name
        assert array.shape == b[name].shape, name
        assert array.tobytes() == b[name].tobytes(), name


def test_there_and_back(tmp_path: Path) -> None:
    arrays = arrays_of_every_dtype()
    exchange.write_safetensors(tmp_path / "x", arrays, {"k": "v"})
    found, metadata = exchange.read_safetensors(tmp_path / "x")
    assert_same(found, arrays)
    assert metadata == {"k": "v"}
    view = found["float32.matrix"]
    assert not view.flags.writeable
    del found
    assert view.sum() == arrays["float32.matrix"].sum()  # the mapping lives as long as a view


def test_the_safetensors_package_reads_ours(tmp_path: Path) -> None:
    theirs = pytest.importorskip("safetensors.numpy", reason="the safetensors package is absent")
    package = pytest.importorskip("safetensors")
    arrays = arrays_of_every_dtype()
    exchange.write_safetensors(tmp_path / "x", arrays, {"format": "np"})
    plain = {name: a for name, a in arrays.items() if a.dtype != ml_dtypes.bfloat16}
    with package.safe_open(tmp_path / "x", framework="np") as file:
        assert file.metadata() == {"format": "np"}
        assert set(file.keys()) == set(arrays)
        assert_same({name: file.get_tensor(name) for name in plain}, plain)
    floats = {"a": np.arange(6, dtype=np.float32).reshape(2, 3)}
    exchange.write_safetensors(tmp_path / "y", floats)
    assert_same(theirs.load_file(tmp_path / "y"), floats)


def test_ours_reads_the_safetensors_package(tmp_path: Path) -> None:
    theirs = pytest.importorskip("safetensors.numpy", reason="the safetensors package is absent")
    plain = {n: a for n, a in arrays_of_every_dtype().items() if a.dtype != ml_dtypes.bfloat16}
    theirs.save_file(plain, tmp_path / "x", metadata={"format": "np"})
    found, metadata = exchange.read_safetensors(tmp_path / "x")
    assert_same(found, plain)
    assert metadata == {"format": "np"}


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(msltx.InvalidValueError, match="array a has dtype float64; safetensors"):
        exchange.write_safetensors(tmp_path / "x", {"a": np.zeros(3)})
    with pytest.raises(msltx.InvalidValueError, match="a tensor has 5 dimensions; the limit is 4"):
        exchange.write_safetensors(tmp_path / "x", {"a": np.zeros((1,) * 5, np.float32)})
    with pytest.raises(msltx.FileError, match="No such file"):
        exchange.read_safetensors(tmp_path / "x")
    strided = np.arange(6, dtype=np.float32).reshape(2, 3).T
    exchange.write_safetensors(tmp_path / "x", {"a": strided})
    assert exchange.read_safetensors(tmp_path / "x")[0]["a"].tolist() == strided.tolist()


@settings(max_examples=150, deadline=None)
@given(
    header=st.binary(max_size=120), data=st.binary(max_size=40), length=st.integers(0, 2**64 - 1)
)
def test_no_bytes_crash_the_reader(
    tmp_path_factory: pytest.TempPathFactory, header: bytes, data: bytes, length: int
) -> None:
    path = tmp_path_factory.mktemp("st") / "x"
    for n in (len(header), length):
        path.write_bytes(struct.pack("<Q", n) + header + data)
        with pytest.raises(msltx.FileError):
            exchange.read_safetensors(path)
