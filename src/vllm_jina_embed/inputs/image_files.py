"""Image files decoded within a bound on memory.

Pillow opens a file without decoding it; from its header the memory is estimated (``image_costs``), refused where it is
over the policy's, and taken out of a budget that the whole process shares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import IO, Any

from PIL import ExifTags, Image, UnidentifiedImageError

from ..errors import InputError
from . import image_costs
from .budget import Budget
from .image_modes import rgb
from .image_ranges import check_sixteen_bit_colours
from .policy import MediaPolicy

MAX_SIDE_RATIO = 200
"""Longest side over shortest side. Source: smart_resize in transformers' Qwen2-VL image processor."""

BUDGET = Budget(1_000_000_000)
"""Bytes for all images that are decoded at the same time in a process."""

# Not all of Pillow's: its EPS reader, for one, starts Ghostscript on the bytes. HEIF is there once pillow-heif is.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "ICO", "JPEG2000", "AVIF", "HEIF", "TGA")
TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What EXIF's orientations ask for. Source: ``PIL.ImageOps.exif_transpose``."""

_GREY_STEPS = {"L;2": 85, "L;4": 17}

_most_pixels: ContextVar[int | None] = ContextVar("most_pixels", default=None)


def decoded_file(file: IO[bytes], name: str, policy: MediaPolicy, *, held: int) -> tuple[Image.Image, str]:
    """Return the RGB image in a file of our own, which is closed early, and its format.

    Args:
        file: The file object.
        name: What errors call it.
        policy: Limits to keep.
        held: Bytes of memory that the file takes.

    Raises:
        InputError: It cannot be decoded, or breaks the policy.
    """
    with file:
        taken = [unless_broken(name, open_limited, file, _FORMATS, policy)]
        kind = taken[0].format or ""
        return decode_opened(taken, file, name, policy, held), kind


def check_size(size: tuple[int, ...], policy: MediaPolicy) -> None:
    """Check width and height.

    Raises:
        InputError: There are too many pixels, none at all, or one side is too long for the model.
    """
    width, height = size
    if width * height > policy.max_pixels:
        raise InputError(
            f"got {width} x {height} = {width * height} pixels; the media policy's max_pixels is {policy.max_pixels}."
        )
    if min(width, height) <= 0 or max(width, height) / min(width, height) > MAX_SIDE_RATIO:
        raise InputError(
            f"got an image of {width} x {height} pixels; the model takes side ratios up to {MAX_SIDE_RATIO}. "
            "Crop it or cut it into tiles."
        )


def decode_opened(taken: list[Any], file: IO[bytes], name: str, policy: MediaPolicy, held: int) -> Image.Image:
    """Return the only image of ``taken``, opened from ``file``, as RGB."""
    image = taken.pop()
    check_size(image.size, policy)
    turn = unless_broken(name, turn_of, image) if image.format != "PNG" or "exif" in image.info else None
    unless_broken(name, _check_jpeg_2000, image)
    cost = unless_broken(name, image_costs.peak, image, held, turned=turn is not None)
    check_memory(image, cost, policy)
    with BUDGET.hold(cost):
        raw = str(image.tile[0][3]) if image.tile else ""
        unless_broken(name, _load, image, policy)
        turn = unless_broken(name, turn_of, image)
        check_size(image.size, policy)
        file.close()
        _finish_depth(image, raw)
        if turn is not None:  # told after the pixels
            check_memory(image, conversion_cost(image, turned=True, ours=True), policy)
        taken.append(image)
        del image
        return unless_broken(name, rgb, taken, turn, ours=True)  # type: ignore[no-any-return]


def open_limited(file: IO[bytes], formats: tuple[str, ...], policy: MediaPolicy) -> Image.Image:
    """Return an image whose header was read; an icon is decoded by that already."""
    Image.init()
    known = [kind for kind in formats if kind in Image.OPEN]
    file.seek(0)
    icon = file.read(4) == b"\0\0\1\0"
    most = min(policy.max_pixels, int(policy.memory / image_costs.ICON)) if icon else policy.max_pixels
    with BUDGET.hold(int(most * image_costs.ICON) if icon else 0), limited(most):
        return Image.open(file, formats=known)


def _load(image: Image.Image, policy: MediaPolicy) -> None:
    with limited(policy.max_pixels):
        image.load()


def _check_jpeg_2000(image: Image.Image) -> None:
    """Check that colours have 8 bits: of more, Pillow 13 rounds white up to 256, which it keeps as 0."""
    if image.format != "JPEG2000" or image.mode in image_costs.VALUE_MODES:
        return
    start = image_costs.head(image)
    at = start.find(b"\xff\x4f\xff\x51")  # SOC and SIZ, whose Ssiz is the depth minus 1. Source: T.800, A.5.1
    if at >= 0 and any(depth & 0x7F > 7 for depth in start[at + 42 : at + 43]):
        raise InputError("got a JPEG 2000 of over 8 bits per colour, which is not read right. Save it as a PNG.")


def _finish_depth(image: Image.Image, raw: str) -> None:
    """Scale a transparent colour as Pillow scaled the pixels to 8 bits, and check that 16 bits were used.

    Args:
        image: The image, loaded.
        raw: How its file packs a pixel, in Pillow's words.
    """
    clear = image.info.get("transparency")
    if ";16" in raw and image.mode not in image_costs.VALUE_MODES:
        check_sixteen_bit_colours(image)
        if isinstance(clear, tuple):
            image.info["transparency"] = tuple(value >> 8 for value in clear)
    elif raw in _GREY_STEPS and isinstance(clear, int):
        image.info["transparency"] = clear * _GREY_STEPS[raw]


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """Return how EXIF turns an image; None where it stands upright."""
    return TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))


def conversion_cost(image: Image.Image, *, turned: bool, ours: bool) -> int:
    """Return the bytes that converting a decoded image to RGB takes."""
    return image_costs.SPARE + int(
        image.width * image.height * image_costs.converting(image.mode, turned=turned, owned=ours)
    )


def check_memory(image: Image.Image, cost: int, policy: MediaPolicy) -> None:
    """Check what opening an image takes.

    Raises:
        InputError: It is more than the policy allows.
    """
    allowed = policy.memory + 3 * image.width * image.height
    if cost > allowed:
        raise InputError(
            f"got a {image.format or 'PIL image'} of {image.width} x {image.height} pixels in mode {image.mode}, which "
            f"takes about {cost // 1_000_000} MB to decode; the media policy's max_memory allows "
            f"{allowed // 1_000_000}. Reduce it, save it as a JPEG or PNG, or pass MediaPolicy(max_memory=...)."
        )


def unless_broken(name: str, step: Callable[..., Any], *values: Any, **options: Any) -> Any:
    """Return what ``step`` gives; whatever decoders raise on hostile bytes becomes an ``InputError``."""
    try:
        return step(*values, **options)
    except UnidentifiedImageError:
        raise InputError(f"{name} is not an image that can be read; expected one such as PNG, JPEG or WebP.") from None
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{name} cannot be decoded ({type(error).__name__}: {error}).") from None


@contextmanager
def limited(most: int) -> Iterator[None]:
    """Put the policy's limit in the place of ``Image.MAX_IMAGE_PIXELS``, for this thread and block alone."""
    _install_limit()
    token = _most_pixels.set(most)
    try:
        yield
    finally:
        _most_pixels.reset(token)


def _install_limit() -> None:
    """Let Pillow ask for our limit inside ``limited``; everywhere else its own check goes on as before.

    Its check reads a global, which cannot be changed for one thread, and warns through filters, which cannot either.
    """
    pillow: Any = Image
    original = pillow._decompression_bomb_check
    if getattr(original, "is_ours", False):
        return

    def check(size: tuple[int, int], *values: Any, **options: Any) -> None:
        most = _most_pixels.get()
        if most is None:
            original(size, *values, **options)
        elif size[0] * size[1] > most:
            raise InputError(
                f"got {size[0]} x {size[1]} = {size[0] * size[1]} pixels; the media policy's max_pixels is {most}."
            )

    check.is_ours = True  # type: ignore[attr-defined]
    pillow._decompression_bomb_check = check
