"""Open the images of an item for a prompt."""

from __future__ import annotations

from PIL import Image

from ..inputs.image_sizes import in_multiples
from ..inputs.images import MediaPolicy
from ..inputs.items import BothItem, ImageItem, opened
from .base import Files


def images_of(
    item: ImageItem | BothItem, policy: MediaPolicy, side_multiple: int | None
) -> tuple[tuple[Image.Image, ...], Files]:
    """Return the RGB images of an item, as the model's code gives them to the processor, and the files of these.

    Args:
        item: The item.
        policy: Limits for images.
        side_multiple: As in a row.

    Raises:
        InputError: An image cannot be opened.
    """
    images = opened(item, policy)
    if side_multiple is not None:
        return tuple(in_multiples(image.pixels, side_multiple) for image in images), ()
    files = (None if one.data is None or one.media_type is None else (one.data, one.media_type) for one in images)
    return tuple(image.pixels for image in images), tuple(files)
