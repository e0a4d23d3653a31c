"""Choose a checkpoint's prefixes of texts and its prompt builder, as its row says."""

from __future__ import annotations

from tokenizers import Tokenizer

from ..checkpoints.description import Checkpoint, Model
from ..checkpoints.files import TOKENIZER, locate
from ..errors import ConfigError
from ..inputs.items import Item, TextItem
from ..inputs.policy import MediaPolicy
from .base import Builder
from .encoder import TextPromptBuilder, without_special_tokens
from .template import PromptBuilder


def prefix(row: Model, task: str, prompt_name: str) -> str:
    """Return the prefix of a user's text.

    Args:
        row: The model's row.
        task: ``retrieval``, ``text-matching`` or ``code``.
        prompt_name: ``query`` or ``passage``.

    Raises:
        ConfigError: ``prompt_name`` is unknown.
    """
    prefixes = row.prefixes
    if prompt_name not in prefixes:
        raise ConfigError(f"prompt_name={prompt_name!r} is unknown; choose one of {', '.join(prefixes)}.")
    return prefixes["query" if task in row.symmetric_tasks else prompt_name]


def role_of(row: Model, item: Item, prompt_name: str) -> str:
    """Return the role that decides an item's prompt, for the key of a cached vector.

    It is ``image`` for both roles if the model has one prompt for images.
    """
    if isinstance(item, TextItem):
        return prompt_name
    instructions = set(row.images.instruction.values()) if row.images is not None else set()
    return "image" if len(instructions) < 2 else f"image {prompt_name}"


def load_builder(checkpoint: Checkpoint, *, revision: str | None, policy: MediaPolicy) -> Builder:
    """Return the prompt builder with the checkpoint's own tokenizer.

    Raises:
        ConfigError: tokenizer.json is missing, or belongs to another model.
    """
    file = locate(checkpoint.location, revision).file(TOKENIZER)
    return read_builder(checkpoint, file.read_bytes(), policy=policy, origin=f"{checkpoint.location!r}: {TOKENIZER}")


def read_builder(
    checkpoint: Checkpoint, tokenizer: bytes, *, policy: MediaPolicy, origin: str = f"the server's {TOKENIZER}"
) -> Builder:
    """Return the prompt builder with the content of a tokenizer.json.

    Args:
        checkpoint: The checkpoint whose prompts are built.
        tokenizer: The content of the file.
        policy: Limits for images.
        origin: Where the file came from, for errors.

    Raises:
        ConfigError: ``tokenizer`` is not a tokenizer, or belongs to another model.
    """
    template = checkpoint.row.images
    plain = plain_tokenizer(checkpoint.row, tokenizer, origin=origin)
    if template is None:
        return TextPromptBuilder(plain)
    return PromptBuilder(plain, template, policy=policy)


def plain_tokenizer(row: Model, content: bytes, *, origin: str) -> Tokenizer:
    """Return a tokenizer that neither cuts nor pads texts, and finds no special token in them.

    Raises:
        ConfigError: ``content`` is not a tokenizer, or belongs to another model.
    """
    try:
        text = content.decode()
        tokenizer = without_special_tokens(text) if row.images is None else Tokenizer.from_str(text)
    except ConfigError:
        raise
    except Exception as error:  # tokenizers raises bare exceptions
        raise ConfigError(f"{origin} cannot be read ({error}).") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if row.images is not None:
        tokenizer.encode_special_tokens = True  # "<|image_pad|>" in a user's text stays ordinary text
    return tokenizer
