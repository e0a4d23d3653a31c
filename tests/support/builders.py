"""Prompt builders over the tests' small tokenizers, read as a checkpoint's are."""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Tokenizer

from tests.support.tokenizer import make_tokenizer
from tests.support.unigram import make_unigram
from vllm_jina_embed.checkpoints.description import DEMO_FOLDER, Model
from vllm_jina_embed.checkpoints.prompt_pieces import Special
from vllm_jina_embed.checkpoints.table.bge import XLM_ROBERTA
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.inputs.images import MediaPolicy
from vllm_jina_embed.prompts.chunks import ChunkBuilder
from vllm_jina_embed.prompts.plain import plain_tokenizer


def template_builder(tokenizer: Tokenizer | None = None, row: Model = JINA_V4) -> ChunkBuilder:
    """Return a builder of texts and images."""
    return builder_of(row, (tokenizer or make_tokenizer()).to_str())


def text_builder(content: str | None = None, row: Model = XLM_ROBERTA) -> ChunkBuilder:
    """Return a builder of texts alone."""
    return builder_of(row, make_unigram().to_str() if content is None else content)


def builder_of(row: Model, content: str, *, length: int | None = None) -> ChunkBuilder:
    """Return the builder of a row with the content of a tokenizer.json, for a checkpoint of ``length`` tokens."""
    plain = plain_tokenizer(row, content.encode(), origin="test")
    return ChunkBuilder(plain, row, policy=MediaPolicy(), length=length)


@dataclass(frozen=True, slots=True)
class SpecialIds:
    """Ids of the tokens around an image."""

    vision_start: int
    image: int
    vision_end: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> SpecialIds:
        """Return those of a tokenizer."""
        return cls(*(tokenizer.token_to_id(piece.token) for piece in JINA_V4.image if isinstance(piece, Special)))

    @classmethod
    def of_demo(cls) -> SpecialIds:
        """Return those of the demo."""
        return cls.of(Tokenizer.from_file(str(DEMO_FOLDER / "tokenizer.json")))
