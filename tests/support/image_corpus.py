"""Hundreds of images with the right RGB pixels or the right refusal for each, made here.

Pixels are known before a file is written, or computed with numpy; PNG, TIFF and PGM of depths that Pillow does not
write are written by hand. Nothing comes from the code under test.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.support.images import encoded, noise

Pixels = np.ndarray[Any, Any]
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Case:
    """One image.

    Attributes:
        name: What the test is called.
        make: Returns what a caller passes; a new one each time.
        pixels: The right RGB pixels; None if it is to be refused.
        bound: Largest mean difference from ``pixels``; 0 is exact.
        words: What the refusal says.
    """

    name: str
    make: Callable[[], object]
    pixels: Pixels | None = None
    bound: float = 0.0
    words: tuple[str, ...] = ()


RGB = noise(31, 17, seed=3)
VALUES = np.asarray(RGB)
GREY = np.asarray(RGB.convert("L"))
RAMP = np.linspace(0, 255, 31, dtype=np.uint8)[None, :].repeat(17, axis=0)
HIGH = GREY.astype(np.uint16) * 256 + 99


def grey(values: Pixels) -> Pixels:
    """Return grey levels as RGB."""
    return np.repeat(values.astype(np.uint8)[:, :, None], 3, axis=2)


def on_white(values: Pixels, alpha: Pixels) -> Pixels:
    """Return colours over white, not rounded."""
    share = np.asarray(alpha)[:, :, None] / 255
    return values * share + 255 * (1 - share)


def turned(values: Pixels, orientation: int) -> Pixels:
    """Return what EXIF's orientation makes of an image."""
    flipped = {2: values[:, ::-1], 3: values[::-1, ::-1], 4: values[::-1], 5: values.transpose(1, 0, 2)}
    rotated = {6: np.rot90(values, -1), 7: values[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(values, 1)}
    return (flipped | rotated).get(orientation, values)


def png_file(header: tuple[int, int, int, int], rows: Pixels, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG by hand: width, height, depth, colour type; ``rows`` are the packed bytes of each row."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    width, height, depth, colour = header
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))]
    parts += [chunk(kind, value) for kind, value in chunks]
    parts += [chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff_file(values: Pixels, *tags: tuple[int, int, float], order: str = "<") -> bytes:
    """Return an uncompressed grey TIFF by hand; ``tags`` are (number, type, value) of further entries, or others."""
    height, width = values.shape
    kinds = {"u": 1, "i": 2, "f": 3}
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    known = [(256, 4, width), (257, 4, height), (258, 3, 8 * values.itemsize), (259, 3, 1), (262, 3, 1), (273, 4, 8)]
    known += [(277, 3, 1), (278, 4, height), (279, 4, len(data)), (339, 3, kinds[values.dtype.kind])]
    entries, extra, start = b"", b"", 8 + len(data)
    everything = sorted({number: (number, kind, value) for number, kind, value in [*known, *tags]}.values())
    after = start + 2 + 12 * len(everything) + 4
    for number, kind, value in everything:
        packed = struct.pack(order + {3: "H", 4: "I", 11: "f", 12: "d"}[kind], int(value) if kind < 5 else value)
        if len(packed) > 4:
            packed, extra = struct.pack(order + "I", after + len(extra)), extra + packed
        entries += struct.pack(order + "HHI", number, kind, 1) + packed.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, start)
    return head + data + struct.pack(order + "H", len(everything)) + entries + bytes(4) + extra


def _file(data: bytes, folder: Path, number: int) -> Path:
    path = folder / f"{number}.bin"
    path.write_bytes(data)
    return path


def _loaded(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image


def _forms(data: bytes, folder: Path, name: str) -> Iterator[tuple[str, Callable[[], object]]]:
    path = _file(data, folder, zlib.crc32(name.encode()))
    yield "path", lambda: path
    yield "bytes", lambda: data
    yield "BytesIO", lambda: BytesIO(data)
    yield "data URI", lambda: "data:image/png;base64," + base64.b64encode(data).decode()
    yield "lazy PIL", lambda: Image.open(BytesIO(data))
    yield "lazy PIL of a path", lambda: Image.open(path)
    yield "PIL", lambda: _loaded(data)


def forms(name: str, data: bytes, folder: Path, pixels: Pixels, bound: float = 0.0, most: int = 7) -> Iterator[Case]:
    """Yield a file in each container."""
    for form, make in list(_forms(data, folder, name))[:most]:
        yield Case(f"{name}, {form}", make, pixels, bound)


def formats(folder: Path) -> Iterator[Case]:
    """Yield formats times modes times containers."""
    binary = GREY > 127
    lossless: dict[str, dict[str, Any]] = {"PNG": {}, "BMP": {}, "TIFF": {}, "PPM": {}, "TGA": {}, "JPEG2000": {}}
    for kind, options in (lossless | {"WEBP": {"lossless": True}}).items():
        yield from forms(f"{kind} RGB", encoded(RGB, kind, **options), folder, VALUES)
    for kind in lossless:
        yield from forms(f"{kind} L", encoded(Image.fromarray(GREY), kind), folder, grey(GREY))
    for kind in ("PNG", "TIFF", "PPM", "BMP"):
        yield from forms(f"{kind} 1", encoded(Image.fromarray(binary), kind), folder, grey(binary * 255))
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        yield from forms(f"TIFF {compression}", encoded(RGB, "TIFF", compression=compression), folder, VALUES, most=3)
    smooth = noise(64, 64, seed=2).resize((96, 96))
    lossy: dict[str, dict[str, Any]] = {"JPEG": {"quality": 98, "subsampling": 0}, "AVIF": {"quality": 95}}
    lossy |= {"WEBP": {"quality": 98}, "MPO": {"quality": 98}}
    for kind, options in lossy.items():
        yield from forms(f"lossy {kind}", encoded(smooth, kind, **options), folder, np.asarray(smooth), 6.0)
    progressive = encoded(smooth, "JPEG", quality=98, subsampling=0, progressive=True)
    yield from forms("progressive JPEG", progressive, folder, np.asarray(smooth), 6.0)
    cmyk = Image.fromarray(np.dstack([255 - np.asarray(smooth), np.zeros((96, 96), np.uint8)]), "CMYK")
    cmyk_file = encoded(cmyk, "JPEG", quality=98, subsampling=0)
    yield from forms("CMYK JPEG", cmyk_file, folder, np.asarray(smooth), 6.0)
    yield from forms(
        "ICO", encoded(noise(64, 64), "ICO", sizes=[(64, 64), (16, 16)]), folder, np.asarray(noise(64, 64))
    )


def orientations(folder: Path) -> Iterator[Case]:
    """Yield EXIF's eight orientations."""
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        right = turned(VALUES, orientation)
        for kind, options in {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {"compression": "tiff_lzw"}}.items():
            data = encoded(RGB, kind, exif=exif, **options)
            yield from (
                case for case in forms(f"{kind} turned {orientation}", data, folder, right) if "URI" not in case.name
            )
        clear = encoded(Image.fromarray(np.dstack([VALUES, RAMP])), exif=exif)
        yield Case(f"RGBA turned {orientation}", lambda d=clear: d, turned(on_white(VALUES, RAMP), orientation), 1.0)
        sixteen = encoded(Image.fromarray(HIGH), exif=exif)
        yield Case(f"I;16 turned {orientation}", lambda d=sixteen: d, turned(grey(GREY), orientation))


def transparency(folder: Path) -> Iterator[Case]:
    """Yield alpha channels and transparent colours."""
    rgba = Image.fromarray(np.dstack([VALUES, RAMP]))
    la = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(RAMP)])
    mixed, mixed_grey = on_white(VALUES, RAMP), on_white(grey(GREY), RAMP)
    for kind, options in {"PNG": {}, "TIFF": {}, "TGA": {}, "WEBP": {"lossless": True, "exact": True}}.items():
        yield from forms(f"{kind} RGBA", encoded(rgba, kind, **options), folder, mixed, 1.0)
    for kind in ("PNG", "TIFF"):
        yield from forms(f"{kind} LA", encoded(la, kind), folder, mixed_grey, 1.0)
    for mode, image, right in (("RGBa", rgba, mixed), ("La", la, mixed_grey)):
        yield Case(f"PIL {mode}", lambda i=image, m=mode: i.convert(m), right, 3.0)
    palette = RGB.quantize(16)
    colours = np.asarray(palette.getpalette(), np.uint8).reshape(-1, 3)[np.asarray(palette)]
    index = int(np.asarray(palette)[0, 0])
    clear = np.where((np.asarray(palette) == index)[:, :, None], 255, colours)
    for kind in ("PNG", "GIF"):
        yield from forms(f"{kind} palette", encoded(palette, kind), folder, colours)
        yield from forms(f"{kind} clear index", encoded(palette, kind, transparency=index), folder, clear)
    half = encoded(palette, "PNG", transparency=bytes([128] * 16))
    yield from forms("PNG palette of alphas", half, folder, on_white(colours, np.full((17, 31), 128)), 1.0)
    colour = tuple(int(value) for value in VALUES[0, 0])
    clear = np.where((VALUES[0, 0] == VALUES).all(axis=2)[:, :, None], 255, VALUES)
    yield from forms("PNG clear colour", encoded(RGB, "PNG", transparency=colour), folder, clear)
    level = int(GREY[0, 0])
    clear = grey(np.where(level == GREY, 255, GREY))
    yield from forms("PNG clear grey", encoded(Image.fromarray(GREY), "PNG", transparency=level), folder, clear)
    deep = png_file((31, 17, 16, 0), HIGH.astype(">u2"), (b"tRNS", struct.pack(">H", int(HIGH[0, 0]))))
    yield from forms("PNG clear 16-bit grey", deep, folder, clear)
    nothing = np.full_like(VALUES, 255)
    yield Case("array RGBA of alpha 0", lambda: np.dstack([VALUES, np.zeros((17, 31), np.uint8)]), nothing)


def depths(folder: Path) -> Iterator[Case]:
    """Yield 1 to 16 bits a sample in every container that has them: equal values, equal pixels."""
    for depth in (1, 2, 4):
        levels = (GREY >> (8 - depth)).astype(np.uint8)
        bits = np.unpackbits(levels[:, :, None], axis=2)[:, :, -depth:].reshape(17, -1)
        rows = np.packbits(bits, axis=1)
        right = grey(levels.astype(int) * 255 // (2**depth - 1))
        yield from forms(f"PNG of {depth} bits", png_file((31, 17, depth, 0), rows), folder, right)
        level = int(levels[0, 0])
        data = png_file((31, 17, depth, 0), rows, (b"tRNS", struct.pack(">H", level)))
        clear = np.where((levels == level)[:, :, None], 255, right)
        yield from forms(f"PNG of {depth} bits, one clear", data, folder, clear, most=6)
        colours = VALUES[0, : 2**depth]
        data = png_file((31, 17, depth, 3), rows, (b"PLTE", colours.tobytes()))
        yield from forms(f"PNG palette of {depth} bits", data, folder, colours[levels])
    right = grey(GREY)
    files = {
        "PNG": png_file((31, 17, 16, 0), HIGH.astype(">u2")),
        "TIFF II": tiff_file(HIGH),
        "TIFF MM": tiff_file(HIGH, order=">"),
        "TIFF lzw": encoded(Image.fromarray(HIGH), "TIFF", compression="tiff_lzw"),
        "PGM": b"P5 31 17 65535\n" + HIGH.astype(">u2").tobytes(),
        "plain PGM": b"P2 31 17 65535\n" + b" ".join(b"%d" % value for value in HIGH.ravel()),
        "JPEG2000": encoded(Image.fromarray(HIGH), "JPEG2000"),
    }
    for name, data in files.items():
        yield from forms(f"16 bits in {name}", data, folder, right)
    yield Case("PIL I;16", lambda: Image.fromarray(HIGH), right)
    for mode, order in (("I;16B", ">u2"), ("I;16L", "<u2"), ("I;16N", "=u2")):
        raw = HIGH.astype(order).tobytes()
        yield Case(f"PIL {mode}", lambda m=mode, r=raw: Image.frombytes(m, (31, 17), r), right)
    yield Case("PIL I", lambda: Image.fromarray(HIGH.astype(np.int32)), right)
    for order in ("<u2", ">u2"):
        yield Case(f"array {order}", lambda o=order: HIGH.astype(o), right)
        yield Case(f"array {order} RGB", lambda o=order: (VALUES.astype(np.uint16) * 256 + 7).astype(o), VALUES)
    rgb16 = (VALUES.astype(np.uint16) * 256 + 7).astype(">u2").reshape(17, -1)
    yield from forms("PNG of 16 bits a colour", png_file((31, 17, 16, 2), rgb16), folder, VALUES)
    colour = (b"tRNS", struct.pack(">HHH", *(int(value) * 256 + 7 for value in VALUES[0, 0])))
    clear = np.where((VALUES[0, 0] == VALUES).all(axis=2)[:, :, None], 255, VALUES)
    data = png_file((31, 17, 16, 2), rgb16, colour)
    yield from forms("PNG of 16 bits a colour, one clear", data, folder, clear, most=6)
    rgba16 = np.dstack([VALUES, RAMP]).astype(">u2").reshape(17, -1) * np.array(257, ">u2")
    data = png_file((31, 17, 16, 6), rgba16.astype(">u2"))
    yield from forms("PNG of 16 bits a colour and alpha", data, folder, on_white(VALUES, RAMP), 1.0)
    la16 = np.dstack([GREY, RAMP]).astype(">u2").reshape(17, -1) * np.array(257, ">u2")
    data = png_file((31, 17, 16, 4), la16.astype(">u2"))
    yield from forms("PNG of 16 bits grey and alpha", data, folder, on_white(grey(GREY), RAMP), 1.0)
    for name, alpha in (("opaque", 65535), ("clear", 0)):
        deep_rgba = np.dstack([VALUES.astype(np.uint16) * 257, np.full((17, 31), alpha, np.uint16)])
        right_rgba = VALUES if alpha else np.full_like(VALUES, 255)
        yield Case(f"array of 16 bits RGBA, {name}", lambda a=deep_rgba: a, right_rgba)
    twelve = GREY.astype(np.uint16) * 16 + 3
    for name, data in {
        "PGM of 4095": b"P5 31 17 4095\n" + twelve.astype(">u2").tobytes(),
        "TIFF with SMaxSampleValue": tiff_file(twelve, (341, 3, 4095)),
        "TIFF with MaxSampleValue": tiff_file(twelve, (281, 3, 4095), order=">"),
    }.items():
        yield from forms(f"12 bits in {name}", data, folder, right)
    black = np.zeros((17, 31), np.uint16)
    yield Case("16 bits of black", lambda: black, grey(black))
    yield Case("I of black", lambda: Image.fromarray(black.astype(np.int32)), grey(black))


def dark_beside_alpha(name: str, dark: Pixels, wide: Pixels, folder: Path) -> Iterator[Case]:
    """Yield dark 16-bit grey and colours whose alpha channel uses all 16 bits."""
    for clear, alpha in (("opaque", np.full((17, 31), 65535)), ("clear in part", RAMP.astype(int) * 257)):
        rgba, la = np.dstack([wide, alpha]).astype(np.uint16), np.dstack([dark, alpha]).astype(np.uint16)
        yield Case(f"{name} in 16, {clear} RGBA array", lambda a=rgba: a, words=("16-bit values", "uint8"))
        for kind, colour, values in (("RGBA", 6, rgba), ("LA", 4, la)):
            data = png_file((31, 17, 16, colour), values.astype(">u2").reshape(17, -1))
            for form, make in list(_forms(data, folder, f"{name} {clear} {kind}"))[:6]:
                yield Case(f"{name} in 16, {clear} {kind}, {form}", make, words=("16 bits per colour", "uint8"))


def unknown_ranges(folder: Path) -> Iterator[Case]:
    """Yield values of which nobody knows what is white."""
    for name, most in (("12 bits", 4095), ("10 bits", 1023), ("8 bits", 255)):
        dark = (GREY.astype(np.uint32) * most // int(GREY.max())).astype(np.uint16)
        words = ("16", str(most) if most != 4095 else "4095", "uint8")
        for form, make in {
            "array": lambda d=dark: d,
            "array >u2": lambda d=dark: d.astype(">u2"),
            "I;16": lambda d=dark: Image.fromarray(d),
            "I;16B": lambda d=dark: Image.frombytes("I;16B", (31, 17), d.astype(">u2").tobytes()),
            "I": lambda d=dark: Image.fromarray(d.astype(np.int32)),
            "PNG": lambda d=dark: encoded(Image.fromarray(d)),
            "TIFF": lambda d=dark: tiff_file(d),
            "TIFF MM": lambda d=dark: tiff_file(d, order=">"),
        }.items():
            yield Case(f"{name} in 16, {form}", make, words=words)
        wide = (VALUES.astype(np.uint32) * most // int(VALUES.max())).astype(np.uint16)
        yield from dark_beside_alpha(name, dark, wide, folder)
        data = png_file((31, 17, 16, 2), wide.astype(">u2").reshape(17, -1))
        for form, make in list(_forms(data, folder, f"{name} rgb"))[:6]:  # once loaded, nobody can tell
            yield Case(f"{name} in 16 a colour, {form}", make, words=("16 bits per colour", "uint8"))
    unit = GREY / np.float32(255)
    floats = {
        "0..65535": (unit * 65535, "65535" if unit.max() == 1 else "to"),
        "not a number": (np.full((17, 31), np.nan, np.float32), "finite"),
        "one not a number": (np.where(GREY[0, 0] == GREY, np.float32("nan"), unit), "finite"),
        "infinity": (np.where(GREY[0, 0] == GREY, np.float32("inf"), unit), "finite"),
        "over 1": (unit * 1.5 + 1, "1 (white)"),
        "below 0": (unit - 0.5, "1 (white)"),
        "0..100.5": (unit * 100.5, "1 (white)"),
    }
    for name, (values, word) in floats.items():
        values = values.astype(np.float32)
        yield Case(f"F {name}", lambda v=values: Image.fromarray(v), words=("float values", word))
        yield Case(f"TIFF F {name}", lambda v=values: tiff_file(v), words=("float values", word))
        for kind in ("f2", "f4", ">f4", "f8"):
            if kind != "f2" or name != "0..65535":
                yield Case(f"array {kind} {name}", lambda v=values, k=kind: v.astype(k), words=("0..1", "uint8"))
    for value in (70_000, -1):
        yield Case(f"I of {value}", lambda v=value: Image.fromarray(np.full((4, 4), v, np.int32)), words=("32-bit",))
    beyond = tiff_file(HIGH, (341, 3, 4095))
    yield Case("TIFF over its own range", lambda: beyond, words=("says 0 to 4095",))


def declared_values(folder: Path) -> Iterator[Case]:
    """Yield TIFFs that say what black and white are: 0 as white, ranges of other widths, 12 bits, signed values."""
    right, unit = grey(GREY), GREY / np.float32(255)
    twelve = GREY.astype(np.uint16) * 16 + 3
    percent = (GREY.astype(np.uint16) * 100) // 255
    signed = (GREY.astype(np.int32) * 257 - 32_768).astype(np.int16)
    bits = np.unpackbits(twelve.astype(">u2").view(np.uint8).reshape(17, 31, 2), axis=2)[:, :, 4:].reshape(17, -1)
    white_is_0 = (262, 3, 0)
    files = {
        "8 bits, 0 is white": (tiff_file(255 - GREY, white_is_0), right),
        "16 bits, 0 is white": (tiff_file(65_535 - HIGH, white_is_0), right),
        "12 bits in 16, 0 is white": (tiff_file(4_095 - twelve, white_is_0, (341, 3, 4_095)), right),
        "F, 0 is white": (tiff_file(1 - unit, white_is_0), right),
        "F of MM, 0 is white": (tiff_file(1 - unit, white_is_0, order=">"), right),
        "F of 0..10, 0 is white": (tiff_file(10 - unit * 10, white_is_0, (341, 12, 10.0)), right),
        "12 bits": (tiff_file(np.packbits(bits, axis=1), (256, 4, 31), (258, 3, 12)), right),
        "0..100": (tiff_file(percent, (341, 3, 100)), grey(np.rint(percent * 255 / 100))),
        "0..1": (tiff_file((GREY > 99).astype(np.uint16), (281, 3, 1)), grey((GREY > 99) * 255)),
        "signed 16 bits": (tiff_file(signed, (340, 12, -32_768.0), (341, 12, 32_767.0)), right),
        "signed 16 bits of MM": (tiff_file(signed, (340, 12, -32_768.0), (341, 12, 32_767.0), order=">"), right),
        "signed 16 bits of 0..32767": (tiff_file((GREY.astype(np.int16) << 7) + 5, (341, 3, 32_767)), right),
    }
    for name, (data, pixels) in files.items():
        yield from forms(f"TIFF of {name}", data, folder, pixels)
    for kind in ("i1", "i2"):
        data = tiff_file((GREY // 2).astype(kind))
        for form, make in _forms(data, folder, f"signed {kind}"):
            yield Case(f"TIFF of {kind}, {form}", make, words=("signed integers",))
    data = tiff_file((GREY * np.uint32(4_095) // GREY.max()).astype(np.uint16), white_is_0)
    for form, make in _forms(data, folder, "unknown, 0 is white"):
        yield Case(f"TIFF of 12 bits in 16, 0 is white, {form}", make, words=("4095", "is not known"))


def floats(folder: Path) -> Iterator[Case]:
    """Yield floats whose range is known."""
    unit, right = GREY / np.float32(255), grey(GREY)
    yield Case("F 0..1", lambda: Image.fromarray(unit), right)
    yield Case("F of whole numbers, as Pillow makes them", lambda: Image.fromarray(GREY).convert("F"), right)
    for kind in ("f2", "f4", "f8", ">f4", ">f8"):
        yield Case(f"array {kind}", lambda k=kind: (VALUES / 255).astype(k), VALUES)
    pfm = b"Pf\n31 17\n-1.0\n" + unit[::-1].astype("<f4").tobytes()
    for name, data in {"TIFF": tiff_file(unit), "TIFF MM": tiff_file(unit, order=">"), "PFM": pfm}.items():
        yield from forms(f"{name} F 0..1", data, folder, right)
    yield from forms("TIFF F, says 0..10", tiff_file(unit * 10, (341, 12, 10.0)), folder, right, most=3)


def sizes(folder: Path) -> Iterator[Case]:
    """Yield the smallest, the thin, and what is too thin."""
    for size in ((1, 1), (2, 3), (200, 1), (1, 200), (1400, 7), (27, 257), (28, 28)):
        image = noise(*size)
        for kind in ("PNG", "BMP", "PPM"):
            yield from forms(f"{kind} of {size}", encoded(image, kind), folder, np.asarray(image), most=2)
        yield Case(f"array of {size}", lambda i=image: np.asarray(i), np.asarray(image))
        yield Case(f"PIL of {size}", lambda i=image: i, np.asarray(image))
    for size in ((201, 1), (1, 201), (1401, 7)):
        image = noise(*size)
        for form, make in {
            "PIL": lambda i=image: i,
            "PNG": lambda i=image: encoded(i),
            "array": lambda i=image: np.asarray(i),
        }.items():
            yield Case(f"{form} of {size}", make, words=(f"{size[0]} x {size[1]} pixels", "up to 200"))


def animations(folder: Path) -> Iterator[Case]:
    """Yield files of several frames: the first, or the one that a PIL image is at."""
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    frames = [Image.new("RGB", (8, 8), colour) for colour in colours]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        options = {"WEBP": {"lossless": True}}.get(kind, {})
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        yield from forms(f"{kind} of 3 frames", data, folder, np.full((8, 8, 3), colours[0]), most=5)
        for number in (1, 2):

            def at(data: bytes = data, number: int = number) -> Image.Image:
                image = Image.open(BytesIO(data))
                image.seek(number)
                return image

            yield Case(f"{kind} at frame {number}", at, np.full((8, 8, 3), colours[number]))


def broken(folder: Path) -> Iterator[Case]:
    """Yield files that end early, say too much, or are no images."""
    image = noise(90, 70, seed=5)
    refused = ("cannot be decoded", "not an image that can be read")
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "TGA", "AVIF", "JPEG2000"):
        data = encoded(image, kind)
        for share in (0.02, 0.3, 0.6, 0.9):
            part = data[: int(len(data) * share)]
            for form, make in {"bytes": lambda p=part: p, "BytesIO": lambda p=part: BytesIO(p)}.items():
                yield Case(f"{kind} cut at {share}, {form}", make, words=("|".join(refused),))
        yield Case(
            f"{kind} with another start",
            lambda d=data: b"\x01\x02\x03\x04\x05\x06\x07\x08" + d[8:],
            words=("|".join(refused),),
        )
    for name, data, word in (
        ("nothing", b"", "no image"),
        ("SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no image"),
        ("HTML", b"<!doctype html><img src='file:///etc/passwd'>", "no image"),
        ("ZIP", b"PK\x03\x04" + bytes(60), "no image"),
        ("PDF", b"%PDF-1.7\n1 0 obj", "got a PDF"),
        ("EPS", encoded(RGB, "EPS"), "no image"),
        ("HEIC", b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(40), "pip install pillow-heif"),
    ):
        for form, make in list(_forms(data, folder, f"no {name}"))[:4]:
            yield Case(f"{name} as {form}", make, words=(word,))
    for width, height in ((50_000, 50_000), (12_000, 9_000), (2**31 - 1, 1)):
        claim = png_file((width, height, 8, 2), np.zeros((1, 9), np.uint8))
        yield Case(f"PNG that claims {width} x {height}", lambda d=claim: d, words=("pixels|cannot be decoded",))
    bomb = base64.b64decode("UklGRh4AAABXRUJQVlA4TBEAAAAvD+fDGQdQjyKXp2SBiOh/AAA=")
    yield Case("38 bytes of WebP", lambda: bomb, words=("10000 x 10000 pixels", "max_memory"))
    for shape in ((), (5,), (3, 5, 7), (5, 5, 2), (2, 5, 5, 3), (0, 5, 3)):
        yield Case(f"array of shape {shape}", lambda s=shape: np.zeros(s, np.uint8), words=("array of shape",))
    for kind in ("int8", "int32", "uint32", "int64", "complex64"):
        yield Case(f"array of {kind}", lambda k=kind: np.zeros((4, 4, 3), k), words=("array of dtype",))


def corpus(folder: Path) -> list[Case]:
    """Return every case; files lie in ``folder``."""
    parts = (
        formats,
        orientations,
        transparency,
        depths,
        declared_values,
        floats,
        unknown_ranges,
        sizes,
        animations,
        broken,
    )
    return [case for part in parts for case in part(folder)]
