"""Make LlamaIndex nodes and documents of images that no index, cache or store loses.

Their text is never empty, and their metadata holds the hash of the pixels, the file, the size and a thumbnail.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from llama_index.core.schema import BaseNode, ImageDocument, ImageNode, MetadataMode

from ..errors import InputError
from ..inputs.encoding import png
from ..inputs.file_names import readable_path, valid_metadata, valid_unicode
from ..inputs.images import ImageInput, LoadedImage, MediaPolicy, load_image, open_image
from ..inputs.items import checked_text
from ..inputs.metadata import CAPTION_KEY, HASH_KEY, HEIGHT_KEY, PATH_KEY, THUMBNAIL_KEY, WIDTH_KEY, facts, placeholder
from .misread import refuse_misread
from .nodes import image_of

NOT_FOR_TEXTS = [WIDTH_KEY, HEIGHT_KEY, THUMBNAIL_KEY]
"""Keys of metadata that neither an embedding model nor a chat model gets as text."""

AnyNode = TypeVar("AnyNode", bound=BaseNode)


def image_node(
    image: ImageInput,
    *,
    text: str | None = None,
    caption: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    media: MediaPolicy | None = None,
    thumbnail: bool = True,
    **fields: Any,
) -> ImageNode:
    """Return a node of one image; for indexes and pipelines without a splitter.

    Args:
        image: Path, data URI, encoded bytes, ``BytesIO``, PIL image or uint8 array. The node holds a file as its
            absolute path, and anything else as content. A file whose path is not valid Unicode, which stores refuse, is
            held as content too; its metadata has the path as a ``file:`` URI. Bytes that are not Unicode in
            ``caption``, ``metadata`` and ``id_`` are percent-encoded.
        text: A text that is embedded together with the image if the embedding takes both (a model that was trained for
            it, or ``fusion="mean"``); the image alone is embedded otherwise.
        caption: What chat models read beside the image; it does not change the embedding.
        metadata: Further metadata.
        media: Limits for the image.
        thumbnail: Whether a small copy goes into the metadata.
        **fields: Further fields of ``ImageNode``, for example ``id_``.

    Raises:
        InputError: ``image`` is not an image, or breaks ``media``; or ``text`` is empty or not valid Unicode.
    """
    known = _fields(image, text, caption, metadata, media or MediaPolicy(), thumbnail)
    return ImageNode(**known, **valid_metadata(fields))


def image_document(
    image: ImageInput,
    *,
    text: str | None = None,
    caption: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    media: MediaPolicy | None = None,
    thumbnail: bool = True,
    **fields: Any,
) -> ImageDocument:
    """Return a document of one image, which text splitters keep; arguments as for ``image_node``."""
    known = _fields(image, text, caption, metadata, media or MediaPolicy(), thumbnail)
    return ImageDocument(**known, **valid_metadata(fields))


def name_images(nodes: Iterable[AnyNode], *, media: MediaPolicy | None = None) -> list[AnyNode]:
    """Add ``image_node``'s metadata to each image among a reader's nodes, in place, and return the nodes.

    ``IngestionPipeline`` keys its cache by text and metadata, so call this before the pipeline. Bytes that are not
    Unicode in the metadata of any node are percent-encoded.

    Raises:
        InputError: A node's image cannot be opened, or its text is the bytes of an image, a PDF or another binary file
            that a reader took for text; names each node.
    """
    named = list(nodes)
    errors: list[InputError] = []
    for position, node in enumerate(named):
        try:
            _name(node, media or MediaPolicy())
        except InputError as error:
            errors.append(error.at(f"nodes[{position}] (id {node.node_id!r})", position))
    if errors:
        raise InputError.collect(errors, total=len(named))
    return named


def _name(node: BaseNode, media: MediaPolicy) -> None:
    node.metadata = valid_metadata(node.metadata)
    source = image_of(node)
    if source is None:
        refuse_misread(node.get_content(metadata_mode=MetadataMode.NONE), node.metadata)
        return
    image = open_image(source, media)
    known = facts(image, path=source if isinstance(source, Path) else None)
    node.metadata = {**node.metadata, **known}
    node.excluded_embed_metadata_keys = [*node.excluded_embed_metadata_keys, *NOT_FOR_TEXTS]
    node.excluded_llm_metadata_keys = [*node.excluded_llm_metadata_keys, *NOT_FOR_TEXTS, HASH_KEY]
    if not node.get_content(metadata_mode=MetadataMode.NONE).strip():
        node.set_content(placeholder(str(known[HASH_KEY])))


def _fields(
    image: ImageInput,
    text: str | None,
    caption: str | None,
    metadata: Mapping[str, Any] | None,
    media: MediaPolicy,
    thumbnail: bool,
) -> dict[str, Any]:
    loaded = load_image(image, media)
    path = None if loaded.path is None else readable_path(loaded.path)
    is_kept_as_path = path is not None and not path.startswith("file:")
    known = facts(loaded.pixels, path=path, thumbnail=thumbnail)
    if caption and caption.strip():
        known[CAPTION_KEY] = valid_unicode(caption)
    is_read_twice = [] if text else [CAPTION_KEY]  # by a chat model: the caption is the text already
    return {
        "text": str(known.get(CAPTION_KEY) or placeholder(str(known[HASH_KEY])))
        if text is None
        else checked_text(text),
        "metadata": {**valid_metadata(dict(metadata or {})), **known},
        "excluded_embed_metadata_keys": [*NOT_FOR_TEXTS, PATH_KEY, CAPTION_KEY],
        "excluded_llm_metadata_keys": [*NOT_FOR_TEXTS, HASH_KEY, *is_read_twice],
        **({"image_path": path} if is_kept_as_path else {"image": _inline(loaded)}),
    }


def _inline(loaded: LoadedImage) -> str:
    """Return base64: the bytes that were given, or a PNG of what never was a file."""
    data = png(loaded.pixels) if loaded.data is None else loaded.data
    return base64.b64encode(data).decode("ascii")
