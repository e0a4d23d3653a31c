"""vLLM's own rerankers, which give raw token states too: ``RankingQwen3ForCausalLM`` is ``Qwen3ForCausalLM`` as one.

Weights, forward, head and score are vLLM's. The states are what the application's check at the start compares the head
with. vLLM imports a class by its name only when a checkpoint asks for it, so a class is made when this module is asked.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from vllm import ModelRegistry
from vllm.model_executor.layers.pooler import DispatchPooler
from vllm.model_executor.models.adapters import as_seq_cls_model

from ..engine.plugin_contract import RANKING_PREFIX
from .kept_memory import keep_after_loading
from .token_states_pooler import TokenVectors

if TYPE_CHECKING:
    from vllm.config import VllmConfig


def __getattr__(name: str) -> type[torch.nn.Module]:
    """Return the class of that name.

    Raises:
        AttributeError: It is not one of vLLM's after ``RANKING_PREFIX``.
    """
    architecture = name.removeprefix(RANKING_PREFIX)
    if architecture == name or architecture not in ModelRegistry.models:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _ranking(architecture)


@cache
def _ranking(architecture: str) -> type[torch.nn.Module]:
    """Return the class of one of vLLM's architectures; one that is a reranker already is extended as it is."""
    base: Any = as_seq_cls_model(ModelRegistry.models[architecture].load_model_cls())

    class Ranking(base):
        def __init__(self, *, vllm_config: VllmConfig, prefix: str = "", **kwargs: Any) -> None:
            super().__init__(vllm_config=vllm_config, prefix=prefix, **kwargs)
            self.pooler: Any = _with_states(self.pooler)
            keep_after_loading(self)

    Ranking.__name__ = Ranking.__qualname__ = RANKING_PREFIX + architecture
    return Ranking


def _with_states(judging: Any) -> DispatchPooler:
    """Return a reranker's pooler that gives token states too."""
    return DispatchPooler({**judging.poolers_by_task, "token_embed": TokenVectors()})
