"""The projector of each task, read without torch, against plain numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.adapter_files import (
    ALPHA,
    HIDDEN,
    RANK,
    TASKS,
    adapter_tensors,
    bfloat16,
    write_native,
    write_safetensors,
)
from vllm_jina_embed.checkpoints.files import Folder
from vllm_jina_embed.checkpoints.weights.projector import projections, projector_adapters
from vllm_jina_embed.checkpoints.weights.safetensors import read_table
from vllm_jina_embed.errors import ConfigError


def test_each_task_projects_with_its_own_adapter(tmp_path: Path) -> None:
    """W + B A alpha / r and the bias, one token after the other, then L2."""
    native = write_native(tmp_path)
    found = projections(Folder(native), native / "adapters", TASKS)
    states = np.random.default_rng(5).normal(size=(4, HIDDEN)).astype(np.float32) * 30
    adapters = adapter_tensors()
    weight = read_table(native / "model-0.safetensors")["multi_vector_projector.weight"].numpy()
    bias = read_table(native / "model-1.safetensors")["multi_vector_projector.bias"].numpy()
    for task in TASKS:
        low, high = (adapters[f"base_model.model.multi_vector_projector.lora_{side}.{task}.weight"] for side in "AB")
        rows = []
        for state in states.astype(np.float64):
            row = weight @ state + bias + high @ (low @ state) * ALPHA / RANK
            rows.append(row / np.sqrt((row**2).sum()))
        got = found[task].multi_vector(states)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, rows, atol=1e-6)


def test_numbers_of_every_type_are_read_exactly(tmp_path: Path) -> None:
    """bfloat16 is the upper half of a float32."""
    values = np.array([[1.0, -2.5, 3.0e-5], [0.0, 65504.0, -1 / 3]], dtype="<f4")
    halves = bfloat16(values)
    file = write_safetensors(tmp_path / "x", {"b": halves, "h": values.astype("<f2"), "f": values})
    table = read_table(file)
    np.testing.assert_array_equal(table["f"].numpy(), values)
    np.testing.assert_array_equal(table["h"].numpy(), values.astype("<f2").astype("<f4"))
    np.testing.assert_array_equal(table["b"].numpy(), (halves.astype("<u4") << 16).view("<f4"))
    assert {one.numpy().dtype for one in table.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    "content", [b"", b"\x05", b"\x02" + bytes(7) + b"[]", b"\xff" * 40, b"\x02" + bytes(7) + b"{x"]
)
def test_what_is_no_such_file_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    """Whatever is wrong with it."""
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ConfigError, match="not a usable safetensors file"):
        read_table(tmp_path / "x")


def test_whole_numbers_are_refused(tmp_path: Path) -> None:
    """No weight is one."""
    with pytest.raises(ConfigError, match="I64"):
        read_table(write_safetensors(tmp_path / "x", {"a": np.zeros(3, dtype=np.int64)}))


def test_a_missing_projector_is_named(tmp_path: Path) -> None:
    """In the base weights, and in the adapters."""
    native = write_native(tmp_path)
    (native / "model.safetensors.index.json").write_text('{"weight_map": {}}')
    with pytest.raises(ConfigError, match=r"has no multi_vector_projector\.weight"):
        projections(Folder(native), native / "adapters", TASKS)
    write_native(tmp_path, lambda tensors: tensors.pop("base_model.model.multi_vector_projector.lora_B.code.weight"))
    with pytest.raises(ConfigError, match="lacks the adapter of multi_vector_projector for task 'code'"):
        projector_adapters(native / "adapters", TASKS)
