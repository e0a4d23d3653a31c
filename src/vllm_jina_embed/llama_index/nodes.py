"""Turn LlamaIndex's nodes into items to embed, and into nodes that vector stores keep whole.

A node with an image is embedded as that image, any other node as its text; where the model or ``fusion`` takes both
together, a node with an image and a text as both. The kind of the node decides, never what its text looks like: a file
that holds a data URI is a text. What LlamaIndex would lose silently is kept, or named in an error or a warning.
"""

from __future__ import annotations

import base64
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from llama_index.core.schema import BaseNode, Document, ImageNode, MetadataMode, Node, NodeRelationship, TextNode

from ..errors import InputError
from ..inputs import items as inputs
from ..inputs.file_names import local_path, valid_unicode
from ..inputs.metadata import (
    CAPTION_KEY,
    HASH_KEY,
    HEIGHT_KEY,
    MIMETYPE_KEY,
    PATH_KEY,
    TEXT_KEY,
    THUMBNAIL_KEY,
    WIDTH_KEY,
)
from ..inputs.references import Text, both_parts, image_string, is_data_uri, strict_image
from .misread import refuse_misread

Image: TypeAlias = "bytes | Path | str"
"""Encoded bytes, a file, a data URI or a reference."""
IMAGE_KEYS = (HASH_KEY, WIDTH_KEY, HEIGHT_KEY, MIMETYPE_KEY, PATH_KEY, THUMBNAIL_KEY, CAPTION_KEY, TEXT_KEY)
"""Metadata about an image itself, which is no part of the text beside it."""
_STAND_IN = re.compile(r"<image(?: [^<>]*)?>")
"""A whole text that stands for an image, as ``storable`` and ``image_node`` write it."""
_SHOWN = 5


def image_of(node: BaseNode) -> Image | None:
    """Return the unopened image of a node; None for a node of text.

    Raises:
        InputError: The image is a URL, or LlamaIndex has lost its bytes.
    """
    data: str | bytes | None
    path: str | Path | None
    if isinstance(node, ImageNode):
        data, path, url = node.image, node.image_path, node.image_url
    elif isinstance(node, Node) and node.image_resource is not None:
        resource = node.image_resource
        data, path, url = resource.data, resource.path, str(resource.url or "")
    elif HASH_KEY in node.metadata:
        return _from_content(node)
    else:
        return None
    if data:
        return _decoded(data)
    if path or (url and url.lower().startswith("file:")):
        return Path(local_path(path or url or ""))
    if url and is_data_uri(url):
        return url
    if url:
        raise InputError(f"got the URL {url[:200]!r}; URLs are not fetched. Use image_node() with its bytes.")
    raise InputError(
        "its image is gone: LlamaIndex does not persist the bytes of a MediaResource. Use image_node() or "
        "image_document(), or give it a path."
    )


def text_beside(node: BaseNode) -> str | None:
    """Return the text that belongs to a node's image, with its metadata as LlamaIndex embeds it; None without one.

    A caption that ``image_node`` was given, and what stands for the image, are none.
    """
    if (both := _both_of(node)) is not None:
        return both[0]
    content = node.get_content(metadata_mode=MetadataMode.NONE).strip()
    if not content or _STAND_IN.fullmatch(content) or content == str(node.metadata.get(CAPTION_KEY, "")).strip():
        return None
    refuse_misread(content, node.metadata)
    alone = node.model_copy(update={"excluded_embed_metadata_keys": [*node.excluded_embed_metadata_keys, *IMAGE_KEYS]})
    return alone.get_content(metadata_mode=MetadataMode.EMBED)


def items_of(nodes: Sequence[BaseNode], *, together: bool = False) -> list[Any]:
    """Return the item to embed for each node, in order: an image, a ``Text``, both, or an error that names the node.

    It is an error if the node's image is missing, or if its text is the bytes of a binary file.

    Args:
        nodes: Nodes of any kind.
        together: Whether a node with an image and a text is an item of both, instead of the image alone.
    """
    items: list[Any] = []
    for position, node in enumerate(nodes):
        try:
            items.append(_item(node, together))
        except InputError as error:
            items.append(error.at(f"nodes[{position}] (id {node.node_id!r})", position))
    return items


def whole(nodes: Iterable[BaseNode]) -> list[BaseNode]:
    """Return ``nodes`` with one node per image of a document: splitters copy the image to every piece of its text.

    The first copy gets the text of all, so nothing is lost and a search finds the image once. Nodes that differ in
    metadata (a page, a caption) are not copies and stay apart.

    Raises:
        InputError: ``nodes`` is a single item, or holds something that is not a node.
    """
    found: list[BaseNode] = []
    copies: dict[tuple[str | None, ...], list[ImageNode]] = {}
    for position, node in enumerate(inputs.listed(nodes, "nodes")):
        if not isinstance(node, BaseNode):
            problem = f"got {type(node).__name__}; expected a node."
            raise InputError(problem, where=f"nodes[{position}]", positions=[position])
        if isinstance(node, ImageNode) and node.ref_doc_id is not None:
            metadata = repr(sorted(node.metadata.items(), key=repr))
            same = copies.setdefault((node.ref_doc_id, node.image, node.image_path, node.image_url, metadata), [])
            same.append(node)
            if len(same) > 1:
                continue
        found.append(node)
    for same in copies.values():
        if len(same) > 1:
            _join(same)
    return found


def storable(node: BaseNode) -> BaseNode:
    """Return a node whose image survives vector stores, caches and docstores.

    They return an ``ImageDocument`` as a text and lose the bytes of a ``MediaResource``, so both become an
    ``ImageNode``, as in LlamaIndex's own splitters. Nodes of text are returned as they are.
    """
    image = image_of(node)
    if image is None:
        return node
    is_lost = isinstance(node, Document) or isinstance(image, bytes)
    if is_lost and isinstance(node, Node) and node.image_resource is not None:
        node = _image_node(node)
    if not node.get_content(metadata_mode=MetadataMode.EMBED).strip():
        node.set_content(f"<image {valid_unicode(image.name)}>" if isinstance(image, Path) else "<image>")
    return node


def warn_of_unnamed(nodes: Sequence[BaseNode]) -> None:
    """Warn about images whose hash or file name stands in neither text nor metadata.

    ``IngestionPipeline`` keys its cache by a node's text and metadata: without such a name, the next image would get
    the vector of this one.
    """
    unnamed = [node.node_id for node in nodes if not _is_named(node)]
    if unnamed:
        shown = ", ".join(unnamed[:_SHOWN]) + (", ..." if len(unnamed) > _SHOWN else "")
        warnings.warn(
            f"{len(unnamed)} nodes hold images that their text and metadata do not name (ids {shown}): the cache of "
            "IngestionPipeline would take another image for the same one. Make them by image_node() or "
            "image_document(), or call name_images(documents) before the pipeline.",
            stacklevel=4,
        )


def _is_named(node: BaseNode) -> bool:
    image = image_of(node)
    if image is None:
        return True
    names = [str(node.metadata.get(HASH_KEY) or ""), image.name if isinstance(image, Path) else ""]
    content = node.get_content(metadata_mode=MetadataMode.ALL)  # a Node without text hides its metadata here
    return any(name and name in content for name in names)


def _item(node: BaseNode, together: bool) -> Any:
    image = image_of(node)
    if image is not None:
        text = text_beside(node) if together or _both_of(node) else None
        return image if text is None else {"text": text, "image": image}
    refuse_misread(node.get_content(metadata_mode=MetadataMode.NONE), node.metadata)
    return Text(node.get_content(metadata_mode=MetadataMode.EMBED))


def _both_of(node: BaseNode) -> tuple[str, str] | None:
    """Return the text and the image in the content of a node that LangChain's ``image_document`` made of both."""
    is_other = isinstance(node, ImageNode) or (isinstance(node, Node) and node.image_resource is not None)
    if is_other or HASH_KEY not in node.metadata:
        return None
    return both_parts(node.get_content(metadata_mode=MetadataMode.NONE))


def _from_content(node: BaseNode) -> str:
    """Return the image in a text with an image's metadata, as LangChain's ``image_document`` makes it.

    Raises:
        InputError: The content is not an image's data URI or reference.
    """
    both = _both_of(node)
    content = strict_image(node.get_content(metadata_mode=MetadataMode.NONE)) if both is None else both[1]
    if content is None:
        raise InputError(
            f"it has an image's metadata ({HASH_KEY}) and no image: text splitters turn image_node() into text. "
            "Use image_document() in front of a splitter."
        )
    return content


def _decoded(data: str | bytes) -> Image:
    text = data if isinstance(data, str) else data.decode("ascii", "replace")
    found = image_string(text)
    if found is not None:
        return found
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:  # binascii.Error, and characters that are not ASCII
        raise InputError(f"its image's base64 is broken ({error}); standard base64 is expected.") from None


def _join(copies: Sequence[ImageNode]) -> None:
    """Put the text of all ``copies`` into the first, without the overlap that splitters leave between neighbours."""
    first, *others = copies
    end = first.end_char_idx
    for node in others:
        start = node.start_char_idx
        if start is None or end is None:
            first.text = f"{first.text}\n{node.text}"
        else:
            first.text += " " * (start > end) + node.text[max(0, end - start) :]
        end = node.end_char_idx
    first.end_char_idx = end
    for kind in (NodeRelationship.NEXT, NodeRelationship.PREVIOUS):
        first.relationships.pop(kind, None)


def _image_node(node: Node) -> ImageNode:
    resource = node.image_resource
    assert resource is not None
    shared = {name: getattr(node, name) for name in set(TextNode.model_fields) & set(Node.model_fields)}
    if isinstance(node, Document) and node.source_node is None:  # so that index.delete_ref_doc(document id) works
        shared["relationships"] = {**node.relationships, NodeRelationship.SOURCE: node.as_related_node_info()}
    return ImageNode(
        **shared,
        text=node.get_content(metadata_mode=MetadataMode.NONE),
        image=resource.data.decode("ascii") if resource.data else None,
        image_path=str(resource.path) if resource.path else None,
        image_url=str(resource.url) if resource.url else None,
        image_mimetype=resource.mimetype,
    )
