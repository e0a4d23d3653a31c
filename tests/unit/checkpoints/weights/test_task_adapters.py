"""A PEFT folder of adapters for each task: what is loaded from where it is, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.adapter_files import HIDDEN, PLACES, RANK, Tensors, write_safetensors
from vllm_jina_embed.checkpoints.files import Folder
from vllm_jina_embed.checkpoints.table.jina_v5 import JINA_V5_NANO, TASKS
from vllm_jina_embed.checkpoints.weights.lora import Adapters
from vllm_jina_embed.checkpoints.weights.task_adapters import adapters_of
from vllm_jina_embed.errors import ConfigError

LAYERS = 2
FILE = "adapters/clustering/adapter_model.safetensors"


def write(folder: Path, change: Callable[[Tensors], object] = lambda tensors: None, **settings: Any) -> Path:
    """Write a checkpoint without weights; of clustering's adapter what ``change`` and ``settings`` leave."""
    for task in TASKS:
        random = np.random.default_rng(0)
        tensors = {
            f"base_model.model.layers.{layer}.{place}.lora_{side}.weight": random.normal(size=shape).astype("<f4")
            for layer in range(LAYERS)
            for place in PLACES
            for side, shape in (("A", (RANK, HIDDEN)), ("B", (HIDDEN, RANK)))
        }
        own = {"r": RANK, "lora_alpha": 6, "peft_type": "LORA", "bias": "none"}
        if task == "clustering":
            change(tensors)
            own |= settings
        file = write_safetensors(folder / "adapters" / task / "adapter_model.safetensors", tensors)
        (file.parent / "adapter_config.json").write_text(json.dumps(own))
    (folder / "config.json").write_text(json.dumps({"num_hidden_layers": LAYERS, "hidden_size": HIDDEN}))
    return folder


def found(folder: Path) -> Adapters:
    return adapters_of(Folder(folder), JINA_V5_NANO, TASKS)


def test_each_folder_stays_where_it_is(tmp_path: Path) -> None:
    adapters = found(write(tmp_path))
    assert adapters.folders == {task: tmp_path / "adapters" / task for task in TASKS}
    assert (adapters.source, adapters.rank, adapters.has_projector) == (tmp_path / "adapters", RANK, False)


def _drop(part: str) -> Callable[[Tensors], object]:
    return lambda tensors: [tensors.pop(name) for name in list(tensors) if part in name]


def _add(name: str) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.update({name: np.zeros((RANK, HIDDEN), dtype="<f4")})


def _transposed(tensors: Tensors) -> None:
    tensors.update({name: values.T.copy() for name, values in tensors.items()})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop("layers.1.mlp.up_proj.lora_B"), r"'clustering' lacks 1 of 28 tensors: 1\.mlp\.up_proj\.lora_B"),
        (_drop("layers.0."), r"lacks 14 of 28 tensors: 0\..*, \.\.\."),
        (_add("base_model.model.layers.2.mlp.up_proj.lora_A.weight"), r"has, beyond its layers, 1 of 28 tensors: 2\."),
        (_add("base_model.model.embed_tokens.lora_embedding_A"), r"not adapters of a projection: .*embed_tokens"),
        (_add("base_model.model.layers.0.mlp.up_proj.lora_A.clustering.weight"), r"1 tensors that are not adapters"),
        (_transposed, r"has shape .*; its configuration has r=3"),
    ],
)
def test_an_adapter_that_is_not_whole_is_refused(
    tmp_path: Path, change: Callable[[Tensors], object], message: str
) -> None:
    """vLLM would compute without what it does not find, silently."""
    with pytest.raises(ConfigError, match=message):
        found(write(tmp_path, change))


@pytest.mark.parametrize("settings", [{"use_rslora": True}, {"use_dora": True}, {"alpha_pattern": {"q_proj": 8}}])
def test_a_configuration_that_is_no_plain_lora_is_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"sets {next(iter(settings))}"):
        found(write(tmp_path, **settings))


@pytest.mark.parametrize("name", [FILE, FILE.replace("model.safetensors", "config.json")])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (write(tmp_path) / name).unlink()
    with pytest.raises(ConfigError, match=f"has no {name}"):
        found(tmp_path)


def test_a_changed_adapter_changes_the_fingerprint(tmp_path: Path) -> None:
    before = Folder(write(tmp_path)).state()
    (tmp_path / FILE).write_bytes(b"other")
    assert Folder(tmp_path).state() != before
