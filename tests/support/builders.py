"""Prompt builders over the tests' small tokenizers, read as a checkpoint's are."""

from __future__ import annotations

from tokenizers import Tokenizer

from tests.support.tokenizer import make_tokenizer
from tests.support.unigram import make_unigram
from vllm_jina_embed.checkpoints.description import ImageTemplate
from vllm_jina_embed.checkpoints.table.bge import XLM_ROBERTA
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.inputs.images import MediaPolicy
from vllm_jina_embed.prompts.build import plain_tokenizer
from vllm_jina_embed.prompts.encoder import TextPromptBuilder
from vllm_jina_embed.prompts.template import PromptBuilder


def template_builder(
    tokenizer: Tokenizer | None = None, images: ImageTemplate | None = JINA_V4.images
) -> PromptBuilder:
    """Return a builder of texts and images."""
    content = (tokenizer or make_tokenizer()).to_str()
    assert images is not None
    return PromptBuilder(plain_tokenizer(JINA_V4, content.encode(), origin="test"), images, policy=MediaPolicy())


def text_builder(content: str | None = None) -> TextPromptBuilder:
    """Return a builder of texts alone."""
    content = make_unigram().to_str() if content is None else content
    return TextPromptBuilder(plain_tokenizer(XLM_ROBERTA, content.encode(), origin="test"))
