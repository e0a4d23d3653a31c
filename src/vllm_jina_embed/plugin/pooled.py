"""vLLM's own model classes with our pooling: ``PooledQwen3ForCausalLM`` is ``Qwen3ForCausalLM`` with ``SpanPooler``.

Weights, forward, processors and quantisation are vLLM's; only the pooler is replaced, as a whole. So vLLM's limits do
not hold: a mean, or a first token, of a prompt that is cut over several steps ends vLLM's own engine (0.32: "partial
prefill is not supported with MEAN pooling"). ``hf_overrides`` chooses the class and says which pooling.

vLLM imports a class by its name only when a checkpoint asks for it, so a class is made when this module is asked.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, get_args

import torch
from vllm import ModelRegistry
from vllm.model_executor.layers.pooler import DispatchPooler
from vllm.model_executor.models.adapters import as_embedding_model

from ..checkpoints.row import Pooling
from ..engine.plugin_contract import LAYER_NORM_KEY, LINE_KEY, POOLED_PREFIX, POOLING_KEY, PROJECTOR_KEY, REVERSED_KEY
from .both_pooler import BothPooler
from .kept_memory import keep_after_loading
from .span_pooler import SpanPooler
from .token_layers import token_vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vllm.config import VllmConfig
    from vllm.model_executor.layers.pooler import Pooler


def __getattr__(name: str) -> type[torch.nn.Module]:
    """Return the class of that name.

    Raises:
        AttributeError: It is not one of vLLM's after ``POOLED_PREFIX``.
    """
    architecture = name.removeprefix(POOLED_PREFIX)
    if architecture == name or architecture not in ModelRegistry.models:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _pooled(architecture)


def pooler_of(model: Any) -> Pooler:
    """Return the pooler that a ``ModelConfig`` asks for: of both tasks, or of multi-vectors alone.

    Raises:
        ConfigError: A layer on top of the token states cannot be read.
        RuntimeError: It asks for none, or for one that is not known.
    """
    config = model.hf_config
    pooling: Any = getattr(config, POOLING_KEY, None)
    if pooling is None and getattr(config, PROJECTOR_KEY, None) is not None:
        return DispatchPooler({"token_embed": token_vectors(model)})
    if pooling not in get_args(Pooling):
        raise RuntimeError(
            f"this model class needs a pooling and got {pooling!r} (one of {', '.join(get_args(Pooling))}): its "
            "vectors would be wrong. Use vllm_jina_embed.JinaEmbedder, or the command vllm-jina-embed."
        )
    with_markers = pooling == "vision_span_mean"
    markers = (config.vision_start_token_id, config.vision_end_token_id) if with_markers else (-1, -1)
    embed = SpanPooler(pooling, *markers, layer_norm=bool(getattr(config, LAYER_NORM_KEY, False)))
    return DispatchPooler({"token_embed": BothPooler(token_vectors(model), embed), "embed": embed})


def in_line(input_tokens: Sequence[int], *_: object, **__: object) -> tuple[torch.Tensor, int]:
    """Return positions ``(3, n_tokens)`` that count all tokens, and what to add to the number of later ones.

    In place of ``get_mrope_input_positions`` of vLLM's classes, which takes the images' sizes too.
    Source: get_rope_index in transformers 4's modeling_qwen2_vl.py, where no image has a ``<|vision_start|>``, and its
    Qwen2VLModel.forward without ``position_ids``.
    """
    return torch.arange(len(input_tokens)).expand(3, -1), 0


def place_in_line(model: Any) -> None:
    """Replace what gives the tokens of a prompt their positions.

    Raises:
        RuntimeError: The class has none, or has it under another name.
    """
    if not hasattr(model, "get_mrope_input_positions"):
        raise RuntimeError(
            f"{type(model).__name__} has no get_mrope_input_positions to replace, but its row has image_positions="
            "'line': its vectors would be wrong. Try another version of vLLM."
        )
    model.get_mrope_input_positions = in_line


def put_in_order(model: Any) -> None:
    """Replace what reverses the states of each text.

    Raises:
        RuntimeError: The class has nothing of this name.
    """
    if not hasattr(model, "_flip_sequences_by_position_ids"):
        raise RuntimeError(
            f"{type(model).__name__} has no _flip_sequences_by_position_ids to replace, but its row has "
            "reversed_states=True: its vectors would be wrong. Try another version of vLLM."
        )
    model._flip_sequences_by_position_ids = lambda states, _: states


@cache
def _pooled(architecture: str) -> type[torch.nn.Module]:
    """Return the class of one of vLLM's architectures; one that is a pooling model already is extended as it is."""
    base: Any = as_embedding_model(ModelRegistry.models[architecture].load_model_cls())

    class Pooled(base):
        def __init__(self, *, vllm_config: VllmConfig, prefix: str = "", **kwargs: Any) -> None:
            pooler = pooler_of(vllm_config.model_config)  # before any weight is made
            super().__init__(vllm_config=vllm_config, prefix=prefix, **kwargs)
            self.pooler = pooler
            if getattr(vllm_config.model_config.hf_config, LINE_KEY, False):
                place_in_line(self)
            if getattr(vllm_config.model_config.hf_config, REVERSED_KEY, False):
                put_in_order(self)
            keep_after_loading(self)

        def _init_pooler(self, vllm_config: VllmConfig, prefix: str = "") -> Pooler:
            """Return ours at once: vLLM's would load the layers of sentence-transformers too."""
            return pooler_of(vllm_config.model_config)

    Pooled.__name__ = Pooled.__qualname__ = POOLED_PREFIX + architecture
    return Pooled
