"""jina-embeddings-v4 as published: Qwen2.5-VL, a projector for multi-vectors, and adapters per task.

vLLM's own LoRA applies a request's adapter in the layers. The projector's adapters are added here, once per task; a
request names its task for the projector too. Weights load by the checkpoint's own names, without its remote code.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..checkpoints.table.jina_v4 import TOKEN_DIMENSIONS
from ..checkpoints.weights.projector import projector_adapters
from ..engine.plugin_contract import ADAPTERS_KEY, DEFAULT_TASK_KEY, TASKS_KEY
from .both_pooler import BothPooler
from .jina_v4_merged import JinaV4VisionSpanModel
from .token_states_pooler import TokenVectors

if TYPE_CHECKING:
    from vllm.config import VllmConfig


class MultiVectorProjector(torch.nn.Module):
    """A linear layer with one weight per task, in float32."""

    def __init__(self, hidden_size: int, token_dimensions: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(token_dimensions, hidden_size, dtype=torch.float32))
        self.bias = torch.nn.Parameter(torch.empty(token_dimensions, dtype=torch.float32))
        self.of_task: dict[str, torch.Tensor] = {}

    def add_adapters(self, folder: Path, tasks: tuple[str, ...]) -> None:
        """Compute each task's weight; call it after the base weight is loaded."""
        with torch.no_grad():
            for task, added in projector_adapters(folder, tasks).items():
                self.of_task[task] = self.weight + torch.from_numpy(added).to(self.weight.device)

    def forward(self, states: torch.Tensor, task: object) -> torch.Tensor:
        """Return rows ``(n_tokens, token_dimensions)``, float32, not normalised; NaN for an unknown task.

        NaN and not an error: requests name the task, and an exception here ends the engine for everybody.
        """
        weight = self.of_task.get(task) if isinstance(task, str) else None
        if weight is None:
            return states.new_full((len(states), len(self.bias)), float("nan"), dtype=torch.float32)
        return torch.nn.functional.linear(states.float(), weight, self.bias)


class JinaEmbeddingsV4Model(JinaV4VisionSpanModel):
    """The architecture that config.json of jinaai/jina-embeddings-v4 names."""

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        config = vllm_config.model_config.hf_config
        dimensions = getattr(config, "multi_vector_projector_dim", TOKEN_DIMENSIONS)
        self.multi_vector_projector = MultiVectorProjector(config.get_text_config().hidden_size, dimensions)
        rows = TokenVectors(
            self.multi_vector_projector,
            default_task=getattr(config, DEFAULT_TASK_KEY, None),
            tasks=self.multi_vector_projector.of_task,
        )
        self.pooler.poolers_by_task["token_embed"] = BothPooler(rows, self.pooler.poolers_by_task["embed"])

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        """Load the base weights, then add the projector's adapters."""
        loaded: set[str] = super().load_weights(weights)
        folder, tasks = (getattr(self.config, key, None) for key in (ADAPTERS_KEY, TASKS_KEY))
        if not folder or not tasks:
            raise RuntimeError(
                "this checkpoint needs the adapter of a task, and vLLM was started without one: its vectors "
                "would be wrong. Use vllm_jina_embed.JinaEmbedder, or the command vllm-jina-embed."
            )
        self.multi_vector_projector.add_adapters(Path(folder), tuple(tasks))
        return loaded
