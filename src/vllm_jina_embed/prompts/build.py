"""Which prompts a family of checkpoints is given.

Enters: a ``Checkpoint``. Leaves: its prompt builder and prefixes. What else differs between families stands in
``engine/arguments.py`` (how vLLM is started) and ``engine/selfcheck.py`` (what its vectors must be).
"""

from __future__ import annotations

from ..checkpoints.description import XLM_ROBERTA, Checkpoint
from ..inputs.images import MediaPolicy
from . import template
from .base import Builder
from .encoder import TextPromptBuilder
from .template import PromptBuilder


def prefix(checkpoint: Checkpoint, task: str, prompt_name: str) -> str:
    """Return the text that stands before a user's text: none for XLM-RoBERTa, see ``prompts.prefix`` for the rest.

    Raises:
        ConfigError: Unknown ``prompt_name``, whatever the checkpoint.
    """
    of_jina = template.prefix(task, prompt_name)
    return "" if checkpoint.family == XLM_ROBERTA else of_jina


def load_builder(checkpoint: Checkpoint, *, revision: str | None, policy: MediaPolicy) -> Builder:
    """Return the builder with the checkpoint's own tokenizer.

    Raises:
        ConfigError: There is no tokenizer.json, or it is not the one of this family.
    """
    if checkpoint.family == XLM_ROBERTA:
        return TextPromptBuilder.load(checkpoint.location, revision=revision)
    return PromptBuilder.load(checkpoint.location, revision=revision, policy=policy)


def read_builder(checkpoint: Checkpoint, tokenizer: bytes, *, policy: MediaPolicy) -> Builder:
    """Return the builder with the tokenizer.json that a server gave.

    Raises:
        ConfigError: It is no tokenizer, or not the one of this family.
    """
    if checkpoint.family == XLM_ROBERTA:
        return TextPromptBuilder.from_json(tokenizer)
    return PromptBuilder.from_json(tokenizer, policy=policy)
