"""Make the prompt builder of a checkpoint, and name the prompt of an item."""

from __future__ import annotations

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.description import Model
from ..checkpoints.files import TOKENIZER, Location, locate
from ..inputs.items import BothItem, Item, TextItem
from ..inputs.policy import MediaPolicy
from .base import Builder
from .chunks import ChunkBuilder
from .plain import plain_tokenizer


def role_of(row: Model, item: Item, prompt_name: str) -> str:
    """Return the role that decides an item's prompt, for the key of a cached vector.

    It is ``image`` or ``both`` for both roles if the model has one prompt for these.
    """
    if isinstance(item, TextItem):
        return prompt_name
    if isinstance(item, BothItem):
        has_one = row.takes_both and (prompt_name, "both") not in row.templates
        return "both" if has_one else f"both {prompt_name}"
    return f"image {prompt_name}" if (prompt_name, "image") in row.templates else "image"


def load_builder(checkpoint: Checkpoint, *, revision: str | None, policy: MediaPolicy) -> Builder:
    """Return the prompt builder with the checkpoint's own tokenizer.

    Raises:
        ConfigError: tokenizer.json is missing, or belongs to another model.
    """
    location = locate(checkpoint.location, revision)
    return row_builder(checkpoint.row, location, policy=policy, length=checkpoint.max_length)


def row_builder(row: Model, location: Location, *, policy: MediaPolicy, length: int) -> Builder:
    """Return the builder of a row's prompts with the tokenizer of the checkpoint at ``location``.

    Args:
        row: The row.
        location: Where the tokenizer is.
        policy: Limits for images.
        length: How many tokens the checkpoint takes.

    Raises:
        ConfigError: tokenizer.json is missing, or belongs to another model.
    """
    content, origin = location.file(TOKENIZER).read_bytes(), f"{str(location)!r}: {TOKENIZER}"
    return ChunkBuilder(plain_tokenizer(row, content, origin=origin), row, policy=policy, length=length)


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
    row = checkpoint.row
    plain = plain_tokenizer(row, tokenizer, origin=origin)
    return ChunkBuilder(plain, row, policy=policy, length=checkpoint.max_length)
