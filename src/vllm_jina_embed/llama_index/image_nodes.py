"""Make LlamaIndex nodes and documents of images that no index, cache or store loses.

Their text is never empty, and their metadata holds the hash of the pixels, the file, the size and a thumbnail.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

from llama_index.core.schema import BaseNode, ImageDocument, ImageNode, MetadataMode
from PIL import Image

from ..errors import InputError
from ..inputs.encoding import png
from ..inputs.file_names import local_path, readable_path, valid_metadata, valid_unicode
from ..inputs.images import ImageInput, MediaPolicy, open_image
from ..inputs.metadata import HASH_KEY, HEIGHT_KEY, PATH_KEY, THUMBNAIL_KEY, WIDTH_KEY, facts, placeholder
from ..inputs.references import is_reference, picture_string
from ..inputs.sources import path_of, read
from .misread import refuse_misread
from .nodes import picture_of

NOT_FOR_TEXTS = [WIDTH_KEY, HEIGHT_KEY, THUMBNAIL_KEY]
"""Keys of metadata that neither an embedding model nor a chat model gets as text."""

AnyNode = TypeVar("AnyNode", bound=BaseNode)


def image_node(
    image: ImageInput,
    *,
    caption: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    media: MediaPolicy | None = None,
    thumbnail: bool = True,
    **fields: Any,
) -> ImageNode:
    """Return a node of one picture; for indexes and pipelines without a splitter.

    Args:
        image: Path, data URI, encoded bytes, ``BytesIO``, PIL image or uint8 array. The node holds a file as its
            absolute path, and anything else as content. A file whose path is not valid Unicode, which stores refuse, is
            held as content too; its metadata has the path as a ``file:`` URI. Bytes that are not Unicode in
            ``caption``, ``metadata`` and ``id_`` are percent-encoded.
        caption: What chat models read beside the picture; it does not change the embedding.
        metadata: Further metadata.
        media: Limits for the picture.
        thumbnail: Whether a small copy goes into the metadata.
        **fields: Further fields of ``ImageNode``, for example ``id_``.

    Raises:
        InputError: ``image`` is not an image, or breaks ``media``.
    """
    return ImageNode(**_fields(image, caption, metadata, media or MediaPolicy(), thumbnail), **valid_metadata(fields))


def image_document(
    image: ImageInput,
    *,
    caption: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    media: MediaPolicy | None = None,
    thumbnail: bool = True,
    **fields: Any,
) -> ImageDocument:
    """Return a document of one picture, which text splitters keep; arguments as for ``image_node``."""
    known = _fields(image, caption, metadata, media or MediaPolicy(), thumbnail)
    return ImageDocument(**known, **valid_metadata(fields))


def name_pictures(nodes: Iterable[AnyNode], *, media: MediaPolicy | None = None) -> list[AnyNode]:
    """Add ``image_node``'s metadata to each picture among a reader's nodes, in place, and return the nodes.

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
            errors.append(InputError(f"nodes[{position}] (id {node.node_id!r}): {error}", positions=[position]))
    if errors:
        raise InputError.collect(errors, total=len(named))
    return named


def _name(node: BaseNode, media: MediaPolicy) -> None:
    node.metadata = valid_metadata(node.metadata)
    source = picture_of(node)
    if source is None:
        refuse_misread(node.get_content(metadata_mode=MetadataMode.NONE), node.metadata)
        return
    picture = open_image(source, media)
    known = facts(picture, path=source if isinstance(source, Path) else None)
    node.metadata = {**node.metadata, **known}
    node.excluded_embed_metadata_keys = [*node.excluded_embed_metadata_keys, *NOT_FOR_TEXTS]
    node.excluded_llm_metadata_keys = [*node.excluded_llm_metadata_keys, *NOT_FOR_TEXTS, HASH_KEY]
    if not node.get_content(metadata_mode=MetadataMode.NONE).strip():
        node.set_content(placeholder(str(known[HASH_KEY])))


def _fields(
    image: ImageInput, caption: str | None, metadata: Mapping[str, Any] | None, media: MediaPolicy, thumbnail: bool
) -> dict[str, Any]:
    picture = open_image(image, media)
    path = _file(image, media)
    is_kept_as_path = path is not None and not path.startswith("file:")
    known = facts(picture, path=path, thumbnail=thumbnail)
    return {
        "text": valid_unicode(caption) if caption and caption.strip() else placeholder(str(known[HASH_KEY])),
        "metadata": {**valid_metadata(dict(metadata or {})), **known},
        "excluded_embed_metadata_keys": [*NOT_FOR_TEXTS, PATH_KEY],
        "excluded_llm_metadata_keys": [*NOT_FOR_TEXTS, HASH_KEY],
        **({"image_path": path} if is_kept_as_path else {"image": _inline(image, picture, media)}),
    }


def _file(image: ImageInput, media: MediaPolicy) -> str | None:
    """Return the absolute path of an image as valid Unicode; None if it is not a file."""
    if not isinstance(image, str | os.PathLike):
        return None
    string = picture_string(image) if isinstance(image, str) else None
    if string is None:
        return readable_path(Path(local_path(image)).expanduser().absolute())
    if is_reference(string):
        return readable_path(Path(media.allowed_root or "").expanduser().absolute() / path_of(string))
    return None


def _inline(image: ImageInput, picture: Image.Image, media: MediaPolicy) -> str:
    """Return base64 of the encoded bytes, or of a PNG if there are none."""
    if isinstance(image, str | os.PathLike):
        data, _ = read(image, media) or (png(picture), "")
        return base64.b64encode(data).decode("ascii")
    if isinstance(image, bytes | bytearray | memoryview):
        return base64.b64encode(image).decode("ascii")
    if isinstance(image, BytesIO):
        return base64.b64encode(image.getvalue()).decode("ascii")
    return base64.b64encode(png(picture)).decode("ascii")
