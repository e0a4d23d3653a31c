"""LlamaIndex's nodes as matches, and what a chat model sees of matches as LlamaIndex's blocks.

A translation table: what the model reads and sees is made in ``frameworks.found_images``.
"""

from __future__ import annotations

from typing import Any

from llama_index.core.base.llms.types import ContentBlock, ImageBlock, TextBlock
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore

from ..errors import InputError
from ..frameworks.found_images import Block, Match, citation
from ..inputs.file_names import is_path_key, shown_name, valid_metadata, valid_unicode
from ..inputs.metadata import THUMBNAIL_KEY
from .nodes import image_of


def match(hit: NodeWithScore) -> Match:
    """Return a node that was found as a match; its image is not opened."""
    node = hit.node
    return Match(
        source=citation(node.metadata),
        text=_text(node),
        image=_image(node),
        thumbnail=node.metadata.get(THUMBNAIL_KEY),
        key=node.node_id,
        score=hit.score,
    )


def block(shown: Block) -> ContentBlock:
    """Return a text or a JPEG file as a block."""
    return TextBlock(text=shown) if isinstance(shown, str) else ImageBlock(image=shown, image_mimetype="image/jpeg")


def _image(node: BaseNode) -> Any:
    """Return a node's image, the error where it is gone or elsewhere, or None for a node of text."""
    try:
        return image_of(node)
    except InputError as error:
        return error


def _text(node: BaseNode) -> str:
    """Return a node's text with its metadata, of whose paths the last part alone."""
    shown = node.model_copy()
    metadata = valid_metadata(node.metadata)
    paths = {key: shown_name(value) for key, value in metadata.items() if is_path_key(key) and isinstance(value, str)}
    shown.metadata = {**metadata, **paths}
    return valid_unicode(shown.get_content(metadata_mode=MetadataMode.LLM))
