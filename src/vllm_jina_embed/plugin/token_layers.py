"""The layers that a row has on top of its token states, inside vLLM: multi-vectors and token weights.

They are read from the checkpoint's own files, not by vLLM, which may leave out a bias that it does not expect (0.32:
ColQwen3). ``vllm_jina_embed.checkpoints.weights.projector.Projection`` is the reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ..checkpoints.files import locate
from ..checkpoints.token_layer import TokenLayer
from ..checkpoints.weights.token_layers import token_layer
from ..engine.plugin_contract import DEFAULT_TASK_KEY, PROJECTOR_KEY, ROWS_TASK, WEIGHTS_KEY, WEIGHTS_TASK
from .token_states_pooler import TokenVectors

if TYPE_CHECKING:
    from vllm.config import ModelConfig


class Linear:
    """A linear layer in float32, on the device on which vLLM builds the model."""

    def __init__(self, model: ModelConfig, layer: TokenLayer) -> None:
        read = token_layer(locate(str(model.model), model.revision), layer)
        self.weight, self.bias = torch.tensor(read.weight), torch.tensor(read.bias)
        width = model.hf_config.get_text_config().hidden_size
        if self.weight.shape[1] != width:
            raise RuntimeError(
                f"the layer {'/'.join(layer.names) or layer.file} takes states of {self.weight.shape[1]} numbers, and "
                f"the model gives {width}: these files belong to different checkpoints."
            )

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """Return rows ``(n_tokens, size)`` of states ``(n_tokens, hidden_size)``."""
        return torch.nn.functional.linear(states.float(), self.weight, self.bias)


class TokenLayers:
    """What a task makes of token states; NaN for an unknown one."""

    def __init__(self, projector: Linear | None, weights: Linear | None) -> None:
        self.projector, self.weights = projector, weights

    def __call__(self, states: torch.Tensor, task: str) -> torch.Tensor:
        """Return rows ``(n_tokens, token_dimensions)``, not normalised, or weights ``(n_tokens, 1)``; float32."""
        if task == WEIGHTS_TASK and self.weights is not None:
            return self.weights(states).clamp(min=0)
        if task == ROWS_TASK and self.projector is not None:
            return self.projector(states)
        size = states.shape[-1] if self.projector is None else len(self.projector.bias)
        return states.new_full((len(states), size), float("nan"), dtype=torch.float32)


def token_vectors(model: ModelConfig) -> TokenVectors:
    """Return the pooler of token states with the layers that a model's configuration names.

    Raises:
        ConfigError: A layer cannot be read.
        RuntimeError: A layer takes states of another length.
    """
    config = model.hf_config
    projector, weights = (_layer(getattr(config, key, None)) for key in (PROJECTOR_KEY, WEIGHTS_KEY))
    if projector is None and weights is None:
        return TokenVectors()
    read = {
        task: Linear(model, layer)
        for task, layer in ((ROWS_TASK, projector), (WEIGHTS_TASK, weights))
        if layer is not None
    }
    return TokenVectors(
        TokenLayers(read.get(ROWS_TASK), read.get(WEIGHTS_TASK)),
        default_task=getattr(config, DEFAULT_TASK_KEY, None),
        tasks=tuple(read),
        apart=(WEIGHTS_TASK,),
        skips_first=(ROWS_TASK,) if projector is not None and projector.skips_first else (),
    )


def _layer(told: Any) -> TokenLayer | None:
    """Return what ``TokenLayer.plain`` told."""
    if told is None:
        return None
    return TokenLayer(names=tuple(told["names"]), file=told["file"], skips_first=told["skips_first"])
