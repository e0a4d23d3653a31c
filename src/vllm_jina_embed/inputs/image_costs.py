"""Estimate how much memory an image takes to decode, from its header alone.

The figures are bytes per pixel at the peak of Pillow's ``load()``, measured with Pillow 13 in separate processes;
``tests/fire/test_image_corpus.py`` measures them again. Pillow's own image takes 1 byte per pixel in modes 1, L and P,
2 in I;16, and 4 in every other mode, RGB included; the rest is what the codec holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PIL import Image

SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
VALUE_MODES = (*SIXTEEN_BIT_MODES, "I", "F")
"""Modes whose values Pillow keeps as they are in the file."""
GREY_MODES = (*VALUE_MODES, "LA", "La")
"""Modes of one colour that Pillow cannot turn into RGB in one step."""
ROW_MODES = ("1", "L", "P")
"""Modes of one byte per pixel."""

SPARE = 8_000_000
"""Bytes for what does not grow with the image: tables, rows, parts of a file."""
_PLAIN_TEXT = 40_000_000
_UNKNOWN = 16.0
ICON = 16.0
"""Bytes per pixel of an icon, which Pillow decodes on opening."""


def peak(image: Image.Image, encoded: int, *, turned: bool) -> int:
    """Estimate the bytes that decoding and converting hold at their peak, the RGB result included.

    Args:
        image: As ``Image.open`` returned it, not loaded.
        encoded: Bytes of the file that are held at the same time.
        turned: Whether EXIF rotates it.
    """
    pixels = image.size[0] * image.size[1]
    load = _LOADS.get(image.format or "", _any)(image) * pixels + encoded
    return int(max(load, converting(image.mode, turned=turned, owned=True) * pixels)) + SPARE


def converting(mode: str, *, turned: bool, owned: bool) -> float:
    """Return the bytes per pixel that ``image_modes.rgb`` holds at its peak, with the image if it is ours."""
    if mode in ROW_MODES or mode in GREY_MODES:
        return 5.0
    if (mode == "RGB" or not owned) and not turned:
        return 4.0
    return 7.0


def pixel_bytes(mode: str) -> float:
    """Return the bytes that Pillow holds for one pixel."""
    if mode in ROW_MODES:
        return 1.0
    return 2.0 if mode in SIXTEEN_BIT_MODES else 4.0


def _any(image: Image.Image) -> float:
    return _UNKNOWN


def _plain(image: Image.Image) -> float:
    return pixel_bytes(image.mode)


def _jpeg(image: Any) -> float:
    """With several scans, libjpeg holds every coefficient, 2 bytes each, until the last scan is read."""
    if not (image.info.get("progressive") or _has_scans(image)):
        return pixel_bytes(image.mode)
    sampling = [(layer[1], layer[2]) for layer in image.layer]
    whole = max(across for across, _ in sampling) * max(down for _, down in sampling)
    return float(pixel_bytes(image.mode) + 2.02 * sum(across * down for across, down in sampling) / whole)


def _has_scans(image: Any) -> bool:
    """Tell whether the first scan of a JPEG holds some of its components only."""
    file, position = image.fp, image.fp.tell()
    try:
        file.seek(2)
        while True:
            while (marker := file.read(1)) == b"\xff":
                pass
            length = int.from_bytes(file.read(2), "big")
            if not marker or length < 2:
                return True
            if marker == b"\xda":
                return bool(file.read(1)[0] < len(image.layer))
            file.seek(length - 2, 1)
            if file.read(1) != b"\xff":
                return True
    except IndexError:
        return True
    finally:
        file.seek(position)


def _webp(image: Image.Image) -> float:
    return 16.5 + _share(image)


def _avif(image: Any) -> float:
    """Planes of 1 or 2 bytes per sample, then RGB twice, then Pillow's image."""
    start = head(image)
    at = start.find(b"av1C")
    flags = start[at + 6] if 0 <= at < len(start) - 6 else 0x40  # unknown: 2 bytes per sample, 4:4:4
    chroma = 2 / ((2 if flags & 0x08 else 1) * (2 if flags & 0x04 else 1))
    alpha = image.mode == "RGBA"
    return float((2 if flags & 0x40 else 1) * (1 + chroma + alpha) + (10.5 if alpha else 8.5))


def _jpeg2000(image: Image.Image) -> float:
    """4 bytes per sample, and part of that again."""
    return pixel_bytes(image.mode) + 5.5 * len(image.getbands())


def _tiff(image: Any) -> float:
    """A strip or tile of a compressed file is decoded whole; Pillow rotates into a second image."""
    tags = image.tag_v2
    own = pixel_bytes(image.mode)
    turned = own * (2 if tags.get(0x0112, 1) in range(2, 9) else 1)
    if not image.use_load_libtiff:
        return turned
    width, height = tags[0x0100], tags[0x0101]
    strip = width * min(tags.get(0x0116, height), height)
    part = tags[0x0142] * tags[0x0143] if 0x0144 in tags else strip
    samples = tags.get(0x0115, 1) * max(tags.get(0x0102, (1,))) / 8
    # Deflate, LZW, packbits and fax write into the part; JPEG, WebP and others hold it once more.
    codec = 1 if tags.get(0x0103) in (1, 2, 3, 4, 5, 8, 32946, 32773) else 3
    return float(max(turned, own + part / (width * height) * samples * codec))


def _ppm(image: Any) -> float:
    if not image.tile or image.tile[0][0] == "raw":
        return pixel_bytes(image.mode)
    return float(14.0 + _PLAIN_TEXT / max(1, image.size[0] * image.size[1]))


def _bmp(image: Any) -> float:
    return pixel_bytes(image.mode) + (3.0 if image.tile and image.tile[0][0] == "bmp_rle" else 0.0)


def _gif(image: Image.Image) -> float:
    return 6.0  # an image for the disposal of the frame, then RGB


def _heif(image: Image.Image) -> float:
    return 14.0


def head(image: Any) -> bytes:
    """Return the first 64 KiB of the file of an image that is not loaded."""
    position = image.fp.tell()
    image.fp.seek(0)
    start: bytes = image.fp.read(65_536)
    image.fp.seek(position)
    return start


def _share(image: Any) -> float:
    """Return the file's bytes per pixel; the decoder keeps a copy of the file."""
    position = image.fp.tell()
    size = image.fp.seek(0, 2)
    image.fp.seek(position)
    return float(size / max(1, image.size[0] * image.size[1]))


_LOADS: dict[str, Callable[[Any], float]] = {
    "PNG": _plain,
    "JPEG": _jpeg,
    "MPO": _jpeg,
    "WEBP": _webp,
    "GIF": _gif,
    "BMP": _bmp,
    "DIB": _bmp,
    "TIFF": _tiff,
    "PPM": _ppm,
    "ICO": _plain,
    "JPEG2000": _jpeg2000,
    "AVIF": _avif,
    "HEIF": _heif,
    "TGA": _plain,
}
