"""The prompts of a checkpoint, as its row says: prefixes of texts, and the builder with its own tokenizer."""

from __future__ import annotations

from tokenizers import Tokenizer

from ..checkpoints.description import Checkpoint, Family
from ..errors import ConfigError
from ..inputs.items import Item, TextItem
from ..inputs.policy import MediaPolicy
from .base import Builder
from .encoder import TextPromptBuilder, without_special_tokens
from .template import PromptBuilder


def prefix(family: Family, task: str, prompt_name: str) -> str:
    """Return the text that stands before a user's text.

    Args:
        family: The model's.
        task: ``retrieval``, ``text-matching`` or ``code``.
        prompt_name: ``query`` or ``passage``.

    Raises:
        ConfigError: Unknown ``prompt_name``.
    """
    prefixes = family.prefixes
    if prompt_name not in prefixes:
        raise ConfigError(f"prompt_name={prompt_name!r} is unknown; choose one of {', '.join(prefixes)}.")
    return prefixes["query" if task in family.symmetric_tasks else prompt_name]


def role_of(family: Family, item: Item, prompt_name: str) -> str:
    """Return the role that decides an item's prompt, for the names of cached vectors.

    ``image`` stands for both roles where the model gives images the same prompt in both.
    """
    if isinstance(item, TextItem):
        return prompt_name
    instructions = set(family.images.instruction.values()) if family.images is not None else set()
    return "image" if len(instructions) < 2 else f"image {prompt_name}"


def load_builder(checkpoint: Checkpoint, *, revision: str | None, policy: MediaPolicy) -> Builder:
    """Return the builder with the checkpoint's own tokenizer.

    Raises:
        ConfigError: There is no tokenizer.json, or it is not the one of this family.
    """
    template = checkpoint.family.images
    if template is None:
        return TextPromptBuilder.load(checkpoint.location, revision=revision)
    return PromptBuilder.load(checkpoint.location, template, revision=revision, policy=policy)


def read_builder(checkpoint: Checkpoint, tokenizer: bytes, *, policy: MediaPolicy) -> Builder:
    """Return the builder with the tokenizer.json that a server gave.

    Raises:
        ConfigError: It is not a tokenizer, or not the one of this family.
    """
    template = checkpoint.family.images
    if template is None:
        return TextPromptBuilder.from_json(tokenizer)
    return PromptBuilder.from_json(tokenizer, template, policy=policy)


def plain_tokenizer(family: Family, tokenizer_json: str) -> Tokenizer:
    """Return the tokenizer as the builders use it for texts: it finds no special token in them."""
    if family.images is None:
        return without_special_tokens(tokenizer_json)
    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.encode_special_tokens = True
    return tokenizer
