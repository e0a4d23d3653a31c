"""What vLLM is started with for a checkpoint with adapters."""

from __future__ import annotations

from pathlib import Path

import pytest

from vllm_jina_embed.adapters import Adapters
from vllm_jina_embed.engine.arguments import engine_arguments
from vllm_jina_embed.engine.base import EngineConfig
from vllm_jina_embed.errors import ConfigError


def config(**options: object) -> EngineConfig:
    return EngineConfig(location="org/name", revision=None, min_pixels=1, max_pixels=2, options=options)


def adapters(rank: int) -> Adapters:
    folders = {task: Path(task) for task in ("retrieval", "code")}
    return Adapters(source=Path("/native/adapters"), rank=rank, scale=1.0, folders=folders)


def test_merged_weights_know_nothing_of_adapters() -> None:
    """Neither LoRA nor a projector."""
    arguments = engine_arguments(config(), cpu=True)
    assert "enable_lora" not in arguments
    assert arguments["hf_overrides"] == {"architectures": ["JinaV4VisionSpanModel"], "is_matryoshka": True}


@pytest.mark.parametrize(("rank", "room"), [(1, 1), (3, 8), (8, 8), (32, 32), (33, 64), (512, 512)])
def test_every_adapter_stays_loaded_in_room_for_its_rank(rank: int, room: int) -> None:
    """vLLM takes certain ranks only."""
    arguments = engine_arguments(config(), cpu=True, adapters=adapters(rank))
    assert (arguments["enable_lora"], arguments["max_loras"], arguments["max_lora_rank"]) == (True, 2, room)
    assert arguments["hf_overrides"] == {
        "architectures": ["JinaEmbeddingsV4Model"],
        "is_matryoshka": True,
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
