"""The model class over vLLM's own Qwen2.5-VL: same weights and forward, but ``embed`` averages the vision spans.

``token_embed`` returns every token's state from the same engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vllm.model_executor.models.adapters import as_embedding_model
from vllm.model_executor.models.qwen2_5_vl import Qwen2_5_VLForConditionalGeneration

from .both_pooler import BothPooler
from .kept_memory import keep_after_loading
from .span_pooler import SpanPooler
from .token_states_pooler import TokenVectors
from .vision_attention import join_windows

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.model_executor.layers.pooler import Pooler


class JinaV4VisionSpanModel(as_embedding_model(Qwen2_5_VLForConditionalGeneration)):  # type: ignore[misc]
    """jina-embeddings-v4, one task merged into Qwen2.5-VL."""

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        join_windows(self.visual)
        keep_after_loading(self)

    def _init_pooler(self, vllm_config: VllmConfig, prefix: str = "") -> Pooler:
        pooler = super()._init_pooler(vllm_config, prefix=prefix)
        config = vllm_config.model_config.hf_config
        embed = SpanPooler("vision_span_mean", config.vision_start_token_id, config.vision_end_token_id)
        pooler.poolers_by_task["embed"] = embed
        pooler.poolers_by_task["token_embed"] = BothPooler(TokenVectors(), embed)
        return pooler
