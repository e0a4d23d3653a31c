"""vLLM's llama-nemotron-embed-vl, with the place of an image marked by the model's own special tokens.

vLLM 0.32 looks for ``<image>``, which is no token of this model but a few pieces of ordinary text: a user's text could
hold it, and where it is not found in these pieces, vLLM writes the prompt out as text and makes tokens anew, so that
special tokens in users' texts take effect. Weights, forward and image processing are vLLM's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vllm.model_executor.models.internvl import BaseInternVLDummyInputsBuilder, BaseInternVLMultiModalProcessor
from vllm.model_executor.models.nemotron_vl import LlamaNemotronVLEmbedProcessingInfo, LlamaNemotronVLForEmbedding
from vllm.multimodal import MULTIMODAL_REGISTRY

if TYPE_CHECKING:
    from vllm.multimodal.processing import PromptReplacement

MARK = ("<img>", "<IMG_CONTEXT>", "</img>")
"""What stands for an image in a prompt; the second is repeated. Source: the published process_documents."""


class DummyInputs(BaseInternVLDummyInputsBuilder[LlamaNemotronVLEmbedProcessingInfo]):
    """What vLLM measures memory with."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        """Return the marks of as many images."""
        return "".join(MARK) * mm_counts.get("image", 0)


class MarkedProcessor(BaseInternVLMultiModalProcessor[LlamaNemotronVLEmbedProcessingInfo]):
    """Finds images by ``MARK``."""

    def _get_prompt_repl_image(self, *args: Any) -> PromptReplacement:
        vocabulary = self.info.get_tokenizer().get_vocab()
        return replace(super()._get_prompt_repl_image(*args), target=[vocabulary[token] for token in MARK])


@MULTIMODAL_REGISTRY.register_processor(
    MarkedProcessor, info=LlamaNemotronVLEmbedProcessingInfo, dummy_inputs=DummyInputs
)
class MarkedLlamaNemotronVLModel(LlamaNemotronVLForEmbedding):
    """``LlamaNemotronVLModel`` of vLLM with this processor."""
