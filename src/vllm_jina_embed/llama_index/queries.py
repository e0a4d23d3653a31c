"""What a LlamaIndex query asks by: a text, or an image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_index.core.schema import QueryBundle

from ..errors import InputError
from ..inputs.file_names import local_path
from ..inputs.images import ImageInput
from ..inputs.items import EmbedInput
from ..inputs.references import is_path


@dataclass
class ImageQuery(QueryBundle):
    """A query by image; ``query_str`` is what rerankers of texts and chat models read as the question.

    Attributes:
        image: Path, data URI, encoded bytes, ``BytesIO``, PIL image or uint8 array.
    """

    image: Any = None


def image_of(bundle: QueryBundle) -> EmbedInput | None:
    """Return the image that a query asks by; None for a query of text."""
    if isinstance(bundle, ImageQuery):
        image: EmbedInput = bundle.image
        return image
    return None if bundle.image_path is None else file_or_image(bundle.image_path)


def question_of(bundle: QueryBundle) -> EmbedInput:
    """Return the image that a query asks by, or else its question; texts that a HyDE transform made are left aside.

    Raises:
        InputError: The query has neither.
    """
    image = image_of(bundle)
    if image is not None:
        return image
    if not bundle.query_str:
        raise InputError(
            "the query has neither text nor image (its embedding is not used). For an image, pass "
            "embedding.image_query(image)."
        )
    return bundle.query_str


def file_or_image(image: ImageInput) -> ImageInput:
    """Return a path in a string as a ``Path``, since a string is taken for a text."""
    return Path(local_path(image)) if isinstance(image, str) and is_path(image) else image
