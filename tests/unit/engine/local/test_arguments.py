"""What vLLM is started with for a checkpoint with adapters."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vllm_jina_embed.checkpoints.files import Location, locate
from vllm_jina_embed.checkpoints.layout import Layout
from vllm_jina_embed.checkpoints.table.bge import XLM_ROBERTA
from vllm_jina_embed.checkpoints.weights.lora import Adapters
from vllm_jina_embed.engine.config import LocalConfig
from vllm_jina_embed.engine.local import arguments as arguments_module
from vllm_jina_embed.engine.local.arguments import (
    COMPILE_FROM_BYTES,
    CPU_CACHE_BYTES,
    LENGTHS,
    SMALL_CACHE_BYTES,
    engine_arguments,
    memory_kept,
)
from vllm_jina_embed.engine.plugin_contract import ALLOCATOR, RETURN_MEMORY
from vllm_jina_embed.errors import ConfigError


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is fetched."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def config(**options: object) -> LocalConfig:
    return LocalConfig(location="org/name", revision=None, min_pixels=1, max_pixels=2, options=options)


def adapters(rank: int) -> Adapters:
    folders = {task: Path(task) for task in ("retrieval", "code")}
    return Adapters(source=Path("/native/adapters"), rank=rank, folders=folders, has_projector=True)


def test_merged_weights_know_nothing_of_adapters() -> None:
    """Neither LoRA nor a projector."""
    arguments = engine_arguments(config(), cpu=True)
    assert "enable_lora" not in arguments
    assert arguments["hf_overrides"] == {
        "architectures": ["JinaV4VisionSpanModel"],
        "is_matryoshka": True,
        "matryoshka_dimensions": None,
    }


@pytest.mark.parametrize(("rank", "room"), [(1, 1), (3, 8), (8, 8), (32, 32), (33, 64), (512, 512)])
def test_every_adapter_stays_loaded_in_room_for_its_rank(rank: int, room: int) -> None:
    """vLLM takes certain ranks only."""
    arguments = engine_arguments(config(), cpu=True, adapters=adapters(rank))
    assert (arguments["enable_lora"], arguments["max_loras"], arguments["max_lora_rank"]) == (True, 2, room)
    assert arguments["hf_overrides"] == {
        "architectures": ["JinaEmbeddingsV4Model"],
        "is_matryoshka": True,
        "matryoshka_dimensions": None,
        "jina_adapters": "/native/adapters",
        "jina_tasks": ["retrieval", "code"],
    }


def test_a_rank_over_vllms_is_refused() -> None:
    """Before anything starts."""
    with pytest.raises(ConfigError, match="rank 513; vLLM serves 512"):
        engine_arguments(config(), cpu=True, adapters=adapters(513))


def test_adapters_cannot_be_switched_off() -> None:
    """Every vector would be wrong."""
    with pytest.raises(ConfigError, match="enable_lora=False"):
        engine_arguments(config(enable_lora=False), cpu=True, adapters=adapters(4))


def test_the_users_options_win() -> None:
    """As everywhere."""
    assert engine_arguments(config(max_loras=1), cpu=True, adapters=adapters(4))["max_loras"] == 1


def test_a_step_on_the_cpu_is_larger_than_vllms() -> None:
    """Where prompts may be cut into steps; on a GPU vLLM knows better, and the user everywhere."""
    assert engine_arguments(config(), cpu=True)["max_num_batched_tokens"] == 4096
    assert "max_num_batched_tokens" not in engine_arguments(config(), cpu=False)
    assert engine_arguments(config(max_num_batched_tokens=64), cpu=True)["max_num_batched_tokens"] == 64


def test_processes_keep_their_memory_while_an_engine_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The application's own later processes are left alone, and so is what the user has set."""
    monkeypatch.delenv(ALLOCATOR, raising=False)
    with memory_kept(cpu=False):
        assert ALLOCATOR not in os.environ
    with memory_kept(cpu=True):
        assert os.environ[ALLOCATOR] == RETURN_MEMORY
    assert ALLOCATOR not in os.environ
    with pytest.raises(RuntimeError), memory_kept(cpu=True):
        raise RuntimeError
    assert ALLOCATOR not in os.environ
    monkeypatch.setenv(ALLOCATOR, "glibc.malloc.check=0")
    with memory_kept(cpu=True):
        assert os.environ[ALLOCATOR] == "glibc.malloc.check=0"
    assert os.environ[ALLOCATOR] == "glibc.malloc.check=0"


def test_xlm_roberta_is_vllms_own_model_with_our_pooling() -> None:
    """Nothing about images, and no scheduler that cuts prompts into steps."""
    config = LocalConfig(
        location="org/name", revision=None, min_pixels=1, max_pixels=2, max_tokens=512, row=XLM_ROBERTA
    )
    arguments = engine_arguments(config, cpu=True)
    assert arguments["hf_overrides"] == {
        **LENGTHS, "architectures": ["PooledXLMRobertaModel"], "jina_pooling": "first_token",
        "position_embedding_type": "absolute",
    }  # fmt: skip
    assert arguments["pooler_config"] == {"task": "embed", "use_activation": True}
    assert arguments["enable_prefix_caching"] is False
    assert arguments["max_model_len"] == 512
    assert arguments["scheduling_policy"] == "priority"
    assert not [name for name in arguments if name.startswith(("mm_", "limit_mm", "scheduler_cls", "max_num_batched"))]


def test_the_scheduler_and_the_pixel_bounds_are_jinas() -> None:
    """As they were before there were several models."""
    arguments = engine_arguments(config(), cpu=False)
    assert arguments["scheduler_cls"] == "vllm_jina_embed.plugin.scheduler.QuestionsFirst"
    assert arguments["mm_processor_kwargs"] == {"size": {"shortest_edge": 1, "longest_edge": 2}}
    assert (arguments["limit_mm_per_prompt"], arguments["mm_processor_cache_gb"]) == ({"video": 0}, 0)
    # Even where the folder's modules.json does not list Normalize.
    assert arguments["pooler_config"] == {"task": "embed", "use_activation": True, "seq_pooling_type": "LAST"}


def of_row(architecture: str = "", **changes: Any) -> dict[str, Any]:
    """Return the arguments for a copy of bge-m3's row with some other fields."""
    options = changes.pop("options", {})
    row = replace(XLM_ROBERTA, name="own", **changes)
    config = LocalConfig(
        location="org/name", revision=None, min_pixels=1, max_pixels=2, row=row, architecture=architecture,
        options=options,
    )  # fmt: skip
    return engine_arguments(config, cpu=True)


def test_the_checkpoints_own_architecture_is_the_one_that_is_pooled() -> None:
    """A row has several; that of its first layout stands for a published name, whose files are not read."""
    layouts = (Layout(architecture="FirstModel"), Layout(architecture="SecondModel"))
    for own, expected in (("", "PooledFirstModel"), ("SecondModel", "PooledSecondModel")):
        assert of_row(own, layouts=layouts)["hf_overrides"]["architectures"] == [expected]


def test_vllm_is_told_what_config_json_must_say_of_itself() -> None:
    """Of this layout alone; transformers 5 leaves keys out that vLLM asks for. The row's own overrides win."""
    layouts = (Layout(architecture="A", config={"x": 1, "y": 2}), Layout(architecture="B", config={"z": 3}))
    told = of_row("A", layouts=layouts, overrides={"y": 4})["hf_overrides"]
    assert (told["x"], told["y"], "z" in told) == (1, 4, False)
    assert of_row("B", layouts=layouts)["hf_overrides"]["z"] == 3


def test_the_layer_norm_is_told_to_the_plugin() -> None:
    assert of_row(layer_norm=True)["hf_overrides"]["jina_layer_norm"] is True
    assert "jina_layer_norm" not in of_row()["hf_overrides"]


def test_what_a_row_needs_is_passed_on_and_the_users_options_win() -> None:
    """Except for the keys that are ours: they decide what is pooled."""
    overrides = {"is_causal": False, "architectures": ["Other"], "jina_pooling": "mean", "names": ("a",)}
    arguments = of_row(overrides=overrides, arguments={"dtype": "float32", "max_num_seqs": 4})
    assert arguments["hf_overrides"] == {
        **LENGTHS, "is_causal": False, "architectures": ["PooledXLMRobertaModel"],
        "jina_pooling": "first_token", "names": ("a",), "position_embedding_type": "absolute",
    }  # fmt: skip
    assert (arguments["dtype"], arguments["max_num_seqs"]) == ("float32", 4)
    arguments = of_row(arguments={"dtype": "float32", "model": "other"}, options={"dtype": "bfloat16"})
    assert (arguments["dtype"], arguments["model"]) == ("bfloat16", "org/name")


def test_a_decoder_whose_mean_is_pooled_may_be_cut_all_the_same() -> None:
    """vLLM's own pooler of means could not be, so it would switch cuts off; ours adds up."""
    arguments = of_row(pooling="mean", attention="causal", splits_prompts=True)
    assert arguments["pooler_config"]["seq_pooling_type"] == "LAST"
    assert "seq_pooling_type" not in of_row(pooling="mean", attention="both")["pooler_config"]


def test_keys_and_values_of_the_longest_text_have_room(tmp_path: Path) -> None:
    """Where a model has many heads of keys, the room for the published checkpoints is too small for one text."""
    sizes = {"num_hidden_layers": 28, "num_key_value_heads": 8, "num_attention_heads": 16, "head_dim": 128}
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(COMPILE_FROM_BYTES)
    place = LocalConfig(location=str(tmp_path), revision=None, min_pixels=1, max_pixels=2)
    per_token = 2 * 28 * 8 * 128 * 2
    assert engine_arguments(place, cpu=True)["kv_cache_memory_bytes"] >= 32768 * per_token > CPU_CACHE_BYTES
    for options in ({"dtype": "float32"}, {"dtype": "float"}, {"max_model_len": 65536}):
        cache = engine_arguments(replace(place, options=options), cpu=True)["kv_cache_memory_bytes"]
        assert cache >= 32768 * per_token * 2
    short = replace(place, max_tokens=512)
    assert engine_arguments(short, cpu=True)["kv_cache_memory_bytes"] == CPU_CACHE_BYTES
    (tmp_path / "config.json").write_text(json.dumps(sizes | {"num_key_value_heads": [4, 8, 2]}))
    assert engine_arguments(place, cpu=True)["kv_cache_memory_bytes"] >= 32768 * per_token
    assert engine_arguments(replace(place, options={"max_model_len": "8k"}), cpu=True)["max_model_len"] == "8k"


@pytest.mark.parametrize("key", ["num_hidden_layers", "num_key_value_heads", "num_attention_heads", "hidden_size"])
@pytest.mark.parametrize("value", [0, -1, "8", 1024.0, [], {}, True, None, 10**30])
def test_what_config_json_says_of_sizes_stops_no_start(tmp_path: Path, key: str, value: object) -> None:
    """It is an estimate: vLLM reads the file too, and speaks for itself."""
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 64, key: value, "text_config": []}
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    place = LocalConfig(location=str(tmp_path), revision=None, min_pixels=1, max_pixels=2)
    assert engine_arguments(place, cpu=True)["kv_cache_memory_bytes"] == SMALL_CACHE_BYTES


def test_the_pinned_commit_is_asked_for_its_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the newest one, whose sizes may be others."""
    asked: list[tuple[str, str | None]] = []

    def note(name: str, revision: str | None = None) -> Location:
        asked.append((name, revision))
        return locate(name, revision)

    monkeypatch.setattr(arguments_module, "locate", note)
    engine_arguments(replace(config(), revision="abc"), cpu=True)
    assert asked == [("org/name", "abc")]


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_weights_of_either_kind_decide_whether_compiling_pays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Large ones are compiled where there is a compiler."""
    (tmp_path / "g++").write_text("")
    (tmp_path / "g++").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    place = LocalConfig(location=str(tmp_path), revision=None, min_pixels=1, max_pixels=2)
    with (tmp_path / name).open("wb") as file:
        file.truncate(COMPILE_FROM_BYTES - 1)
        file.flush()
        assert engine_arguments(place, cpu=True)["enforce_eager"] is True
        assert engine_arguments(place, cpu=True)["kv_cache_memory_bytes"] == SMALL_CACHE_BYTES
        file.truncate(COMPILE_FROM_BYTES)
        file.flush()
        assert engine_arguments(place, cpu=True)["enforce_eager"] is False
        assert engine_arguments(place, cpu=True)["kv_cache_memory_bytes"] == CPU_CACHE_BYTES
