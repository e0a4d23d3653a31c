"""Make LangChain documents of images, and of texts with an image, which every vector store keeps unchanged.

Their content is the image's data URI or reference, with the text in front of it where there is one;
``VllmJinaEmbeddings`` embeds it as the image, or as both together.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from langchain_core.documents import Document

from ..errors import ConfigError, InputError
from ..inputs import items as inputs
from ..inputs.encoding import data_uri
from ..inputs.file_names import readable_path, valid_metadata, valid_unicode
from ..inputs.images import ImageInput, LoadedImage, MediaPolicy, load_image
from ..inputs.metadata import CAPTION_KEY, MIMETYPE_KEY, TEXT_KEY, facts
from ..inputs.references import both_string, image_string, is_reference
from ..inputs.sources import ImageFile, path_of, read_reference, read_with_reference

Mode = Literal["data-uri", "reference"]


def image_document(
    image: ImageInput,
    *,
    text: str | None = None,
    caption: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    mode: Mode = "data-uri",
    media: MediaPolicy | None = None,
    thumbnail: bool = True,
    id: str | None = None,  # noqa: A002 - the name of Document's field
) -> Document:
    """Return a document of one image for any vector store; keep it away from text splitters, which would cut it.

    Args:
        image: Path, data URI, reference, encoded bytes, ``BytesIO``, PIL image or uint8 array.
        text: A text that is embedded together with the image, as one item; the embeddings need a model that was trained
            for that, or ``fusion="mean"``. ``page_content`` holds it percent-encoded in front of the image, so the
            document comes back from a store as the same item.
        caption: What people and chat models read beside the image; it does not change the embedding.
        metadata: Further metadata, for example ``source`` and ``page``, which citations name.
        mode: ``data-uri`` puts the whole image into ``page_content``. ``reference`` puts a short string there, which
            works as long as the file lies unchanged in ``media.allowed_root``; the embeddings need the same ``media``.
        media: Limits for the image.
        thumbnail: Whether a small copy, 8 KB at most, goes into the metadata as a data URI.
        id: The document's id in the store.

    Returns:
        A document whose metadata holds ``image_sha256``, ``image_width``, ``image_height`` and ``image_mimetype``, and
        ``image_text``, ``image_caption``, ``image_path`` and ``image_thumbnail`` where there is one; all flat, as every
        store needs it. A path that is not valid Unicode becomes a ``file:`` URI, or for a reference a percent-encoded
        path below ``allowed_root``. Bytes that are not Unicode in ``caption``, ``metadata`` and ``id`` are
        percent-encoded (``caf%E9.png``).

    Raises:
        InputError: ``image`` is not an image, breaks ``media``, or is not a file where ``mode="reference"`` needs one;
            or ``text`` is empty or not valid Unicode.
        ConfigError: ``mode`` is unknown.
    """
    policy = media or MediaPolicy()
    if mode == "data-uri":
        loaded = load_image(image, policy)
        data, media_type = loaded.browser_file(policy.max_bytes)
        content = data_uri(data, media_type)
    elif mode == "reference":
        loaded = load_image(_file(image, policy), policy)
        media_type = loaded.browser_file(policy.max_bytes)[1]
        content = str(loaded.reference)
    else:
        raise ConfigError(f"mode={mode!r} is unknown; choose one of data-uri, reference.")
    known: dict[str, Any] = {**facts(loaded.pixels, path=_path(loaded), thumbnail=thumbnail), MIMETYPE_KEY: media_type}
    if caption:
        known[CAPTION_KEY] = valid_unicode(caption)
    if text is not None:
        known[TEXT_KEY] = inputs.checked_text(text)
        content = both_string(known[TEXT_KEY], content)
    return Document(
        page_content=content, metadata={**valid_metadata(dict(metadata or {})), **known}, id=valid_metadata(id)
    )


def listed_documents(documents: Iterable[Document]) -> list[Document]:
    """Return ``documents`` as a list.

    Raises:
        InputError: ``documents`` is a single item, or cannot be iterated over.
    """
    found: list[Any] = list(inputs.listed(documents, "documents"))
    return found


def contents(documents: Sequence[Document]) -> list[Any]:
    """Return what to embed of each document, in order: its content, or an error for anything that is not a document."""
    return [_content(document, f"documents[{position}]") for position, document in enumerate(documents)]


def _content(document: Any, where: str) -> Any:
    if not isinstance(document, Document):
        kind = type(document)
        return InputError(f"got {kind.__name__} of {kind.__module__}; expected a Document of LangChain.", where=where)
    if not hasattr(document, "page_content"):  # made by model_construct, which checks nothing
        return InputError("the document has no page_content.", where=where)
    return document.page_content


def _file(image: ImageInput, policy: MediaPolicy) -> ImageFile:
    """Return the file that ``mode="reference"`` needs, read, with its reference."""
    text = image_string(image) if isinstance(image, str) else None
    if text is not None and is_reference(text):
        return read_reference(text, policy)
    if text is not None or not isinstance(image, str | os.PathLike):
        kind = "data URI" if text else type(image).__name__
        raise InputError(f"mode='reference' needs a file; got a {kind}. Pass a path, or take mode='data-uri'.")
    return read_with_reference(image, policy)


def _path(loaded: LoadedImage) -> str | None:
    """Return the file's path: in the root for references, so that it is right wherever the root lies."""
    if loaded.reference is not None:
        return readable_path(path_of(loaded.reference))
    return None if loaded.path is None else readable_path(loaded.path)
