"""Our token ids against transformers' own, with the same tokenizer file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.reference import IMAGE, Reference
from tests.support.tokenizer import SPECIAL
from vllm_jina_embed import MediaPolicy
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.inputs import items as inputs
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.prompts.build import load_builder

TEXTS = [
    "the quick brown fox",
    "",
    "  two  spaces,\ttab\nand line break ",
    "e\u0301 日本語 🙂 \x00 \u200b \u202e",
    *SPECIAL,
    f"a {IMAGE} b",
    "<|image_pad|>" * 1000,
    "".join(SPECIAL) * 3,
    "<|image_pad", "|>", "<|<|image_pad|>|>",
]  # fmt: skip


@pytest.mark.parametrize(("role", "prefix"), [("query", "Query: "), ("passage", "Passage: ")])
def test_texts_have_the_ids_of_split_special_tokens(
    random_checkpoint: Path, random_reference: Reference, role: str, prefix: str
) -> None:
    """Special tokens in a user's text are ordinary text, exactly as transformers can be told to read them."""
    builder = load_builder(resolve(str(random_checkpoint)), revision=None, policy=MediaPolicy())
    items = inputs.texts([text or "." for text in TEXTS])
    prompts = builder.build(items, role=role, task="retrieval", max_length=100_000, truncate="error")
    special = set(random_reference.tokenizer.convert_tokens_to_ids(SPECIAL))
    for text, prompt in zip(TEXTS, prompts, strict=True):
        encoded = random_reference.tokenizer(
            prefix + (text or "."), split_special_tokens=True, add_special_tokens=False
        )
        assert isinstance(prompt, Prompt)
        assert list(prompt.token_ids) == encoded.input_ids, text
        assert special.isdisjoint(prompt.token_ids)


def test_transformers_would_read_them_as_special_by_default(random_reference: Reference) -> None:
    """So the test above compares two different things."""
    ids = random_reference.tokenizer("a <|image_pad|>", add_special_tokens=False).input_ids
    assert random_reference.pad in ids
