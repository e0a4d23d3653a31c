"""vLLM's ColQwen3 without its projector: the states of its tokens, which ``token_layers`` projects with the bias.

vLLM builds the projector without the bias that the checkpoint has, leaves the tensor out in silence, and normalises in
``forward``, so that nothing can tell (0.32, 0.33). Its names of weights and its processors are right and stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vllm.model_executor.models.colqwen3 import ColQwen3Model
from vllm.model_executor.models.interfaces_base import default_pooling_type
from vllm.model_executor.models.qwen3_vl import Qwen3VLForConditionalGeneration

if TYPE_CHECKING:
    from vllm.config import VllmConfig


# vLLM's class says CLS, as encoders do, and then no prompt is cut: a step would have to hold the longest one.
@default_pooling_type(seq_pooling_type="LAST", tok_pooling_type="ALL")
class ColQwen3StatesModel(ColQwen3Model):
    """ColQwen3 up to the final norm."""

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "model") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        # With a size and no layer, vLLM's loader passes over its tensors.
        self.custom_text_proj, self.embed_dim = None, 1

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return states ``(n_tokens, hidden_size)``, neither projected nor normalised."""
        return Qwen3VLForConditionalGeneration.forward(self, *args, **kwargs)
