"""A caller's own PIL images as RGB images, within a bound on memory; the caller's stay as they were.

One that is not decoded yet is opened a second time from its file and decoded there: any number of threads may pass it,
also while its owner loads it (WebP and AVIF are refused meanwhile). One that is decoded is only read. Not protected are
an image that its owner draws on or seeks in during the call, and one that its owner loads during the call from a file
object that is neither ``BytesIO`` nor a file on disk.
"""

from __future__ import annotations

from typing import IO, Any

from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from ..errors import InputError
from .file_objects import lock_of, own_file
from .image_files import (
    BUDGET,
    check_memory,
    check_size,
    conversion_cost,
    decode_opened,
    limited,
    open_limited,
    turn_of,
    unless_broken,
)
from .image_modes import rgb
from .policy import MediaPolicy


def decoded_pil(image: Image.Image, policy: MediaPolicy) -> Image.Image:
    """Return a caller's PIL image in mode RGB; it stays as it is, and the result shares nothing with it.

    Raises:
        InputError: It cannot be decoded, or breaks the policy.
    """
    name = "a PIL image"
    check_size(image.size, policy)
    for _ in range(3):  # its owner may load it meanwhile
        if not _is_lazy(image):
            return _read_only(image, policy)
        try:
            own = unless_broken(name, _file_of, image)
        except InputError:
            if _is_lazy(image):
                raise
            continue  # its owner has just loaded it, and closed its file
        with own as file:
            taken = [unless_broken(name, _reopened, image, file, policy)]
            if taken[0] is not None:
                return decode_opened(taken, file, name, policy, 0)
    raise InputError(
        "a PIL image cannot be decoded: it differs from its file, or another thread is loading it. "
        "Call its load() first."
    )


def _read_only(image: Image.Image, policy: MediaPolicy) -> Image.Image:
    """Return a caller's image, which is decoded, as RGB."""
    name = "a PIL image"
    with lock_of(image):  # both fill in what Pillow puts off: a palette, the EXIF
        unless_broken(name, image.load)
        turn = unless_broken(name, turn_of, image)
    cost = conversion_cost(image, turned=turn is not None, ours=False)
    check_memory(image, cost, policy)
    with BUDGET.hold(cost):
        return unless_broken(name, rgb, [image], turn, ours=False)  # type: ignore[no-any-return]


def _is_lazy(image: Image.Image) -> bool:
    """Tell whether the image, or the frame that it stands at, is still to be decoded."""
    if not isinstance(image, ImageFile.ImageFile):
        return False
    core = image._im if hasattr(image, "_im") else image.im
    if image.tile or core is None:
        return True
    if image.format == "TIFF":  # Pillow turns it after the pixels are there, then forgets the tag
        return getattr(image, "tag_v2", {}).get(ExifTags.Base.Orientation) in range(2, 9)
    if (
        image.format != "ICO" and image.fp is not None and not getattr(image.fp, "closed", False)
    ):  # let go of once all is done
        return True
    loaded = getattr(image, "_WebPImageFile__loaded", image.tell())
    return bool(loaded != image.tell() or getattr(core, "size", image.size) != image.size)


def _file_of(image: Any) -> IO[bytes]:
    for file in (getattr(image, "fp", None), getattr(image, "_fp", None)):
        if hasattr(file, "read"):
            return own_file(file)
    raise InputError("a PIL image cannot be decoded: its file is closed. Call its load() before the file is closed.")


def _reopened(image: Any, file: IO[bytes], policy: MediaPolicy) -> Image.Image | None:
    """Return a caller's image, opened again from ``file``; None if it differs from what the file holds."""
    kind = "JPEG" if image.format == "MPO" else image.format
    if kind not in Image.OPEN:
        return None
    try:
        copy: Any = open_limited(file, (kind,), policy)
    except UnidentifiedImageError:  # WebP and AVIF put decoded pixels there while they load
        return None
    with limited(policy.max_pixels):
        if image.tell():
            copy.seek(image.tell())
    _take_exif(image, copy)
    if kind == "JPEG" and len(image.decoderconfig) == 2:  # draft() was called
        scale = image.decoderconfig[0]
        copy.draft(image.mode, (copy.width // scale, copy.height // scale))
    if kind == "ICO" and copy.size != image.size:
        copy.size = image.size
        copy.load()
        return copy  # type: ignore[no-any-return]
    return copy if copy.size == image.size else None


def _take_exif(image: Image.Image, copy: Image.Image) -> None:
    """Give ``copy`` the orientation that the owner of ``image`` has set or taken away since it was opened."""
    for key in ("exif", "xmp", "XML:com.adobe.xmp"):  # where Pillow looks for it
        if key in image.info:
            copy.info[key] = image.info[key]
        else:
            copy.info.pop(key, None)
    with lock_of(image):
        own = image._exif
        if own is not None and own._loaded:  # its owner has looked at it; info no longer counts
            # Not copy.getexif(), which decodes a PNG without EXIF to look behind its pixels.
            Image.Image.getexif(copy)[ExifTags.Base.Orientation] = own.get(ExifTags.Base.Orientation, 1)
