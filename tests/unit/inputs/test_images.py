"""Opening images: every form gives the right RGB pixels, and hostile input ends in an InputError with a reason."""

from __future__ import annotations

import base64
import os
import struct
import sys
import types
import warnings
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from tests.support.image_corpus import png_file, tiff_file
from tests.support.images import encoded, noise
from vllm_jina_embed.errors import InputError
from vllm_jina_embed.inputs.image_costs import SPARE, peak
from vllm_jina_embed.inputs.image_files import TURNS
from vllm_jina_embed.inputs.image_modes import array_rgb, rgb
from vllm_jina_embed.inputs.images import MAX_SIDE_RATIO, MediaPolicy, is_data_uri, load_image, open_image

pytestmark = pytest.mark.timeout(30)  # nothing here may hang

RGB = noise(31, 17, seed=3)
PNG = encoded(RGB)
ORIENTATION = 0x0112
OPEN = MediaPolicy()


def pixels(source: object, policy: MediaPolicy = OPEN) -> npt.NDArray[np.uint8]:
    """Return the RGB values that the model sees."""
    image = open_image(source, policy)
    assert image.mode == "RGB"
    return np.asarray(image)


def refusal(source: object, policy: MediaPolicy = OPEN) -> str:
    """Return the message with which ``source`` is refused."""
    with pytest.raises(InputError) as caught:
        open_image(source, policy)
    return str(caught.value)


def as_data_uri(data: bytes, kind: str = "png") -> str:
    """Return ``data`` as a data URI."""
    return f"data:image/{kind};base64," + base64.b64encode(data).decode()


class Named:
    """A path of a type that is neither str nor Path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


class TestForms:
    """The same image in every form gives the same pixels."""

    def test_files(self, tmp_path: Path) -> None:
        """String, Path, and anything with a file system path; names with spaces and other scripts."""
        path = tmp_path / "ein Bild 画像.png"
        path.write_bytes(PNG)
        for source in (str(path), path, Named(path), os.fsencode(path).decode()):
            np.testing.assert_array_equal(pixels(source), np.asarray(RGB))

    def test_bytes(self) -> None:
        """Encoded bytes of the three types."""
        for source in (PNG, bytearray(PNG), memoryview(PNG)):
            np.testing.assert_array_equal(pixels(source), np.asarray(RGB))

    def test_file_objects(self, tmp_path: Path) -> None:
        """Read from the start, wherever they stand, and left open."""
        memory = BytesIO(PNG)
        memory.seek(0, os.SEEK_END)
        (tmp_path / "a.png").write_bytes(PNG)
        with (tmp_path / "a.png").open("rb") as file:
            for source in (memory, file):
                np.testing.assert_array_equal(pixels(source), np.asarray(RGB))
                np.testing.assert_array_equal(pixels(source), np.asarray(RGB))
                assert not source.closed

    def test_a_stream_that_cannot_seek(self) -> None:
        """A pipe or a response body is read as it comes."""
        reader, writer = os.pipe()
        os.write(writer, PNG)
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            np.testing.assert_array_equal(pixels(stream), np.asarray(RGB))

    def test_data_uris(self) -> None:
        """Any case, line breaks as MIME writes them, and white space at the end."""
        wrapped = "data:image/png;base64," + base64.encodebytes(PNG).decode()
        for source in (as_data_uri(PNG), "DATA:IMAGE/PNG;BASE64," + as_data_uri(PNG).split(",")[1], wrapped + " \r\n"):
            assert is_data_uri(source)
            np.testing.assert_array_equal(pixels(source), np.asarray(RGB))

    def test_pil_images_are_copied(self) -> None:
        """Drawing on the image afterwards changes nothing, and the caller's image is left as it was."""
        mine = RGB.copy()
        opened = open_image(mine, MediaPolicy())
        mine.paste((0, 0, 0), (0, 0, 31, 17))
        np.testing.assert_array_equal(np.asarray(opened), np.asarray(RGB))
        palette = RGB.quantize(8)
        open_image(palette, MediaPolicy())
        assert palette.mode == "P"

    @pytest.mark.parametrize(
        "kind", ["PNG", "BMP", "TIFF", "PPM", "TGA", "WEBP", "JPEG2000", "ICO", "GIF", "JPEG", "AVIF"]
    )
    def test_formats(self, kind: str) -> None:
        """Lossless formats to the pixel, lossy ones nearly."""
        image = noise(64, 64, seed=1)
        options: dict[str, dict[str, Any]] = {
            "WEBP": {"lossless": True},
            "ICO": {"sizes": [(64, 64)]},
            "JPEG": {"quality": 100, "subsampling": 0},
        }
        got = pixels(encoded(image, kind, **options.get(kind, {})))
        error = np.abs(got.astype(int) - np.asarray(image))
        assert error.mean() < (20 if kind in ("GIF", "AVIF", "JPEG") else 0.01)


class TestArrays:
    """numpy arrays, channels last."""

    VALUES = np.asarray(RGB)

    def test_uint8(self) -> None:
        """As they are, also when not contiguous or read-only."""
        frozen = self.VALUES.copy()
        frozen.flags.writeable = False
        for array in (self.VALUES, frozen, np.asfortranarray(self.VALUES), self.VALUES[::-1][::-1]):
            np.testing.assert_array_equal(pixels(array), self.VALUES)

    def test_grey(self) -> None:
        """Two dimensions, or one channel."""
        grey = self.VALUES[:, :, 0]
        for array in (grey, grey[:, :, None]):
            np.testing.assert_array_equal(pixels(array), np.repeat(grey[:, :, None], 3, axis=2))

    def test_other_types(self) -> None:
        """uint16 loses its low byte, floats stand for 0 to 1, booleans are black and white."""
        np.testing.assert_array_equal(pixels(self.VALUES.astype(np.uint16) * 256 + 77), self.VALUES)
        for kind in (np.float16, np.float32, np.float64):
            np.testing.assert_array_equal(pixels((self.VALUES / 255).astype(kind)), self.VALUES)
        mask = self.VALUES[:, :, 0] > 127
        np.testing.assert_array_equal(pixels(mask)[:, :, 0], mask * 255)

    def test_alpha(self) -> None:
        """Four channels are RGBA, on white."""
        clear = np.dstack([self.VALUES, np.zeros(self.VALUES.shape[:2], np.uint8)])
        assert (pixels(clear) == 255).all()

    @pytest.mark.parametrize("shape", [(), (5,), (3, 5, 7), (5, 5, 2), (5, 5, 5), (2, 5, 5, 3), (0, 5, 3), (5, 0)])
    def test_a_wrong_shape_is_refused(self, shape: tuple[int, ...]) -> None:
        """Channels first is the usual mistake; the message shows the shape."""
        assert f"got an array of shape {shape}" in refusal(np.zeros(shape, np.uint8))

    @pytest.mark.parametrize("kind", ["int8", "int32", "int64", "uint32", "complex64", "object", "U3"])
    def test_a_wrong_type_is_refused(self, kind: str) -> None:
        """No silent clipping; the message shows the type."""
        assert "got an array of dtype" in refusal(np.zeros((4, 4, 3), dtype=kind))

    @pytest.mark.parametrize("value", [1.5, 255.0, -0.1, float("nan"), float("inf")])
    def test_floats_outside_0_to_1_are_refused(self, value: float) -> None:
        """0 to 255 in floats would come out white."""
        assert "outside 0..1" in refusal(np.full((4, 4, 3), value))


class TestModes:
    """Every mode of a file or a PIL image, against RGB made by hand."""

    VALUES = np.asarray(RGB)
    GREY = np.asarray(RGB.convert("L"))
    RAMP = np.linspace(0, 255, 31, dtype=np.uint8)[None, :].repeat(17, axis=0)

    @staticmethod
    def grey_rgb(grey: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)

    @staticmethod
    def on_white(values: npt.NDArray[Any], alpha: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        share = alpha[:, :, None] / 255
        return values * share + 255 * (1 - share)

    def test_alpha_is_composited_on_white(self) -> None:
        """RGBA as a PIL image and as PNG; invisible colours do not show through."""
        rgba = Image.fromarray(np.dstack([self.VALUES, self.RAMP]))
        for source in (rgba, encoded(rgba), encoded(rgba, "WEBP", lossless=True, exact=True), encoded(rgba, "TIFF")):
            assert np.abs(pixels(source) - self.on_white(self.VALUES, self.RAMP)).max() <= 1
        assert (pixels(rgba)[:, 0] == 255).all()

    def test_grey_with_alpha(self) -> None:
        """LA, as a PIL image and as PNG."""
        la = Image.merge("LA", [Image.fromarray(self.GREY), Image.fromarray(self.RAMP)])
        for source in (la, encoded(la)):
            assert np.abs(pixels(source) - self.on_white(self.grey_rgb(self.GREY), self.RAMP)).max() <= 1

    def test_premultiplied_alpha(self) -> None:
        """RGBa stands for the same image as RGBA."""
        rgba = Image.fromarray(np.dstack([self.VALUES, np.full((17, 31), 200, np.uint8)]))
        assert np.abs(pixels(rgba.convert("RGBa")).astype(int) - pixels(rgba)).max() <= 2

    def test_palette(self) -> None:
        """Colours are looked up."""
        palette = RGB.quantize(16)
        colours = np.asarray(palette.getpalette(), np.uint8).reshape(-1, 3)
        for source in (palette, encoded(palette), encoded(palette, "GIF")):
            np.testing.assert_array_equal(pixels(source), colours[np.asarray(palette)])

    def test_palette_with_a_transparent_colour(self) -> None:
        """In GIF and PNG, one index is white on white; per-index alpha is mixed."""
        palette = RGB.quantize(16)
        index = int(np.asarray(palette)[0, 0])
        clear = np.asarray(palette) == index
        for kind in ("PNG", "GIF"):
            got = pixels(encoded(palette, kind, transparency=index))
            assert (got[clear] == 255).all()
            np.testing.assert_array_equal(got[~clear], pixels(palette)[~clear])
        half = bytes([128] * 16)
        mixed = self.on_white(pixels(palette), np.full((17, 31), 128))
        assert np.abs(pixels(encoded(palette, "PNG", transparency=half)) - mixed).max() <= 1

    def test_a_transparent_colour_without_a_palette(self) -> None:
        """PNG's tRNS in RGB and grey images."""
        colour = tuple(int(value) for value in self.VALUES[0, 0])
        assert (pixels(encoded(RGB, "PNG", transparency=colour))[0, 0] == 255).all()
        grey = Image.fromarray(self.GREY)
        assert (pixels(encoded(grey, "PNG", transparency=int(self.GREY[0, 0])))[0, 0] == 255).all()

    def test_sixteen_bits_are_scaled_and_not_clipped(self) -> None:
        """I;16 and I, both byte orders, as PIL image, PNG and TIFF."""
        high = self.GREY.astype(np.uint16) * 256 + 99
        sixteen = Image.fromarray(high)
        big = Image.frombytes("I;16B", (31, 17), high.astype(">u2").tobytes())
        sources = [sixteen, big, Image.fromarray(high.astype(np.int32)), encoded(sixteen), encoded(sixteen, "TIFF")]
        for source in sources:
            np.testing.assert_array_equal(pixels(source), self.grey_rgb(self.GREY))

    @pytest.mark.parametrize("colours", [1, 3])
    def test_alpha_does_not_tell_the_colours_range(self, colours: int) -> None:
        """12 bits in 16 with a full alpha channel, in a PNG of RGBA or LA and as an array; all 16 bits are scaled."""
        values = (self.GREY[:, :, None] if colours == 1 else self.VALUES).astype(np.uint16)
        full = np.full((17, 31), 65535)
        for scale in (16, 257):
            deep = np.dstack([values * scale, full]).astype(np.uint16)
            sources: list[object] = [
                png_file((31, 17, 16, 4 if colours == 1 else 6), deep.astype(">u2").reshape(17, -1))
            ]
            sources += [deep] if colours == 3 else []
            for source in sources:
                if scale == 16:
                    assert "is not known" in refusal(source)
                else:
                    np.testing.assert_array_equal(pixels(source), np.broadcast_to(values, (17, 31, 3)))

    @pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
    def test_tiffs_where_0_is_white(self, kind: str) -> None:
        """As the inverted values where 0 is black; Pillow inverts 8 bits alone."""
        white = {"u1": 255, "u2": 65_535, "f4": np.float32(1)}[kind]
        values = (self.GREY / 255 * white).astype(kind)
        for file in (tiff_file(values), tiff_file(white - values, (262, 3, 0))):
            np.testing.assert_array_equal(pixels(file), self.grey_rgb(self.GREY))

    def test_a_range_that_a_tiff_names_reaches_white(self) -> None:
        """Of any width, rounded; also from below 0."""
        for white in (1, 100, 1000, 4095, 65_535):
            ends = pixels(tiff_file(np.array([[0, white]], np.uint16), (341, 4, white)))
            assert ends[0, :, 0].tolist() == [0, 255], white
        values = np.array([[-100, -50, 0, 100]], np.int16)
        signed = pixels(tiff_file(values, (340, 12, -100.0), (341, 12, 100.0)))
        assert signed[0, :, 0].tolist() == [0, 64, 128, 255]

    @pytest.mark.parametrize("kind", ["i1", "i2"])
    def test_signed_tiffs_without_a_range_are_refused(self, kind: str) -> None:
        """White may be half of what they can hold, or all of it."""
        assert "signed integers" in refusal(tiff_file(np.full((4, 4), 99, kind)))

    @pytest.mark.parametrize("value", [4080, 65_535])
    def test_sixteen_bit_colours_of_jpeg_2000_are_refused(self, value: int) -> None:
        """Pillow makes white black; dark ones may be 12 bits."""
        cv2 = pytest.importorskip("cv2")
        for channels in (3, 4):
            file = cv2.imencode(".jp2", np.full((180, 200, channels), value, np.uint16))[1].tobytes()
            for source in (file, Image.open(BytesIO(file))):
                assert "over 8 bits per colour" in refusal(source)

    def test_thirty_two_bit_integers(self) -> None:
        """Values of 16 bits are taken as such; what does not fit is refused."""
        high = Image.fromarray(self.GREY.astype(np.int32) * 257)
        np.testing.assert_array_equal(pixels(high), self.grey_rgb(self.GREY))
        for value in (70_000, -1):
            assert "32-bit" in refusal(Image.fromarray(np.full((4, 4), value, np.int32)))

    def test_other_modes(self) -> None:
        """1, L, F (0 to 255), CMYK, YCbCr and HSV."""
        grey = Image.fromarray(self.GREY)
        binary = grey.point(lambda value: 255 * (value > 127)).convert("1")
        cmyk = Image.fromarray(np.dstack([255 - self.VALUES, np.zeros_like(self.GREY)]), "CMYK")
        np.testing.assert_array_equal(pixels(binary), self.grey_rgb(255 * (self.GREY > 127)))
        np.testing.assert_array_equal(pixels(encoded(binary)), self.grey_rgb(255 * (self.GREY > 127)))
        np.testing.assert_array_equal(pixels(grey), self.grey_rgb(self.GREY))
        np.testing.assert_array_equal(pixels(grey.convert("F")), self.grey_rgb(self.GREY))
        np.testing.assert_array_equal(pixels(cmyk), self.VALUES)
        np.testing.assert_array_equal(pixels(encoded(cmyk, "TIFF")), self.VALUES)
        assert np.abs(pixels(RGB.convert("YCbCr")).astype(int) - self.VALUES).max() <= 3
        assert np.abs(pixels(RGB.convert("HSV")).astype(int) - self.VALUES).max() <= 12

    def test_cmyk_jpeg(self) -> None:
        """As printers write them: near the colours, not their negative."""
        smooth = noise(64, 64, seed=2).resize((128, 128))
        cmyk = Image.fromarray(np.dstack([255 - np.asarray(smooth), np.zeros((128, 128), np.uint8)]), "CMYK")
        got = pixels(encoded(cmyk, "JPEG", quality=98, subsampling=0))
        assert np.abs(got.astype(int) - np.asarray(smooth)).mean() < 4

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_orientation_is_applied_once(self, orientation: int) -> None:
        """All eight, and the result carries no orientation that the engine could apply again."""
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        turns: dict[int, npt.NDArray[np.uint8]] = {
            1: self.VALUES,
            2: self.VALUES[:, ::-1],
            3: self.VALUES[::-1, ::-1],
            4: self.VALUES[::-1],
            5: self.VALUES.transpose(1, 0, 2),
            6: np.rot90(self.VALUES, -1),
            7: self.VALUES[::-1, ::-1].transpose(1, 0, 2),
            8: np.rot90(self.VALUES, 1),
        }
        for source in (encoded(RGB, exif=exif), Image.open(BytesIO(encoded(RGB, exif=exif)))):
            image = open_image(source, MediaPolicy())
            np.testing.assert_array_equal(np.asarray(image), turns[orientation])
            assert image.getexif().get(ORIENTATION, 1) == 1

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF", "MPO"])
    @pytest.mark.parametrize("first", [1, 6])
    def test_the_orientation_that_the_owner_of_a_lazy_image_set(self, kind: str, first: int) -> None:
        """Set, taken away, in the EXIF or in info: as Pillow turns it; and the image stays lazy."""
        exif, other = Image.Exif(), Image.Exif()
        exif[ORIENTATION], other[ORIENTATION] = first, 3
        data = encoded(RGB, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))

        def info(image: Image.Image) -> None:
            image.info["exif"] = other.tobytes()

        changes: list[Callable[[Image.Image], object]] = [
            lambda image: image.getexif().update({ORIENTATION: 8}),
            lambda image: image.getexif().pop(ORIENTATION, None),
            lambda image: (image.getexif(), image.info.pop("exif", None)),
            lambda image: image.info.pop("exif", None),
            info,
        ]
        for change in changes:
            mine, pillows = Image.open(BytesIO(data)), Image.open(BytesIO(data))
            change(mine)
            change(pillows)
            tiles = len(mine.tile)
            opened = pixels(mine)
            assert len(mine.tile) == tiles
            np.testing.assert_array_equal(opened, np.asarray(ImageOps.exif_transpose(pillows).convert("RGB")))

    def test_exif_with_alpha_and_sixteen_bits(self) -> None:
        """The turn and the conversion do not lose each other."""
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        rgba = Image.fromarray(np.dstack([self.VALUES, self.RAMP]))
        assert np.abs(pixels(encoded(rgba, exif=exif)) - np.rot90(self.on_white(self.VALUES, self.RAMP), -1)).max() <= 1
        sixteen = Image.fromarray(self.GREY.astype(np.uint16) * 256)
        np.testing.assert_array_equal(pixels(encoded(sixteen, exif=exif)), np.rot90(self.grey_rgb(self.GREY), -1))

    def test_an_animation_is_its_first_frame(self) -> None:
        """GIF, WebP, PNG, and TIFF with several pages."""
        frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
        for kind in ("GIF", "WEBP", "PNG", "TIFF"):
            options = {"WEBP": {"lossless": True}}.get(kind, {})
            data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
            assert (pixels(data) == (255, 0, 0)).all(), kind


class TestSideRatio:
    """The model's image processor takes side ratios up to 200."""

    def test_at_the_limit(self) -> None:
        """200 to 1 passes, wide and tall."""
        for size in ((MAX_SIDE_RATIO, 1), (1, MAX_SIDE_RATIO), (1400, 7)):
            assert open_image(Image.new("RGB", size), MediaPolicy()).size == size

    @pytest.mark.parametrize("size", [(201, 1), (1, 201), (1, 2000), (1401, 7)])
    def test_over_the_limit(self, size: tuple[int, int]) -> None:
        """Just over, in every form; the message names the size and the way out."""
        image = Image.new("RGB", size)
        for source in (image, encoded(image), np.asarray(image)):
            message = refusal(source)
            assert f"{size[0]} x {size[1]} pixels" in message
            assert "up to 200" in message

    def test_no_pixels_at_all(self) -> None:
        """An empty PIL image."""
        assert "0 x 5 pixels" in refusal(Image.new("RGB", (0, 5)))


class TestPolicy:
    """What MediaPolicy forbids is not read."""

    def test_no_local_files(self, tmp_path: Path) -> None:
        """Paths are refused whether they exist or not; bytes still work."""
        (tmp_path / "a.png").write_bytes(PNG)
        policy = MediaPolicy(allow_local_files=False)
        messages = {refusal(tmp_path / name, policy).replace(name, "?") for name in ("a.png", "b.png")}
        assert len(messages) == 1
        assert "allows no local files" in messages.pop()
        assert pixels(PNG, policy).shape == (17, 31, 3)

    def test_allowed_root(self, tmp_path: Path) -> None:
        """Files below it, also by a relative way through it; nothing beside it, linked or not, existing or not."""
        root = tmp_path / "root"
        (root / "deep").mkdir(parents=True)
        (root / "deep" / "a.png").write_bytes(PNG)
        (tmp_path / "secret.png").write_bytes(PNG)
        (tmp_path / "root-too").mkdir()
        (tmp_path / "root-too" / "a.png").write_bytes(PNG)
        (root / "link.png").symlink_to(tmp_path / "secret.png")
        (root / "folder").symlink_to(tmp_path)
        (root / "inside.png").symlink_to(root / "deep" / "a.png")
        (tmp_path / "into.png").symlink_to(root / "deep" / "a.png")
        policy = MediaPolicy(allowed_root=root)
        for good in (root / "deep/a.png", root / "deep/../deep/a.png", root / "inside.png", tmp_path / "into.png"):
            assert pixels(good, policy).shape == (17, 31, 3)
        outside = ["link.png", "folder/secret.png", "../secret.png", "../root-too/a.png", "../missing", "deep/../../x"]
        for bad in [*(str(root / name) for name in outside), "/etc/passwd", "/", "~/x.png", "/dev/zero"]:
            assert "outside the media policy's allowed_root" in refusal(bad, policy)

    def test_max_bytes(self, tmp_path: Path) -> None:
        """Exactly the limit passes; one byte more is refused in every form, and a file is not read whole."""
        path = tmp_path / "a.png"
        path.write_bytes(PNG)
        for source in (PNG, path, BytesIO(PNG), as_data_uri(PNG)):
            assert pixels(source, MediaPolicy(max_bytes=len(PNG))).shape == (17, 31, 3)
            assert f"max_bytes={len(PNG) - 1}" in refusal(source, MediaPolicy(max_bytes=len(PNG) - 1))
        with path.open("ab") as file:
            file.truncate(40 * 1024**3)  # sparse: 40 GB by its size
        assert "max_bytes=" in refusal(path)

    def test_max_pixels(self) -> None:
        """Files, PIL images and arrays alike."""
        policy = MediaPolicy(max_pixels=31 * 17 - 1)
        for source in (PNG, RGB, np.asarray(RGB)):
            assert str(policy.max_pixels) in refusal(source, policy)
            assert pixels(source, MediaPolicy(max_pixels=31 * 17)).shape == (17, 31, 3)


@pytest.mark.fire
class TestMemory:
    """What decoding would hold is known from the header, and refused before it is held."""

    @pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG2000", "AVIF", "GIF", "PPM", "BMP", "JPEG"])
    def test_max_memory(self, kind: str) -> None:
        """Of a policy that allows next to nothing; the message names the size, both figures and the way out."""
        data = encoded(Image.new("L" if kind == "PPM" else "RGB", (800, 600), 99), kind)
        message = refusal(data, MediaPolicy(max_memory=1))
        assert "800 x 600" in message
        assert "max_memory allows 1" in message
        assert "MediaPolicy(max_memory=...)" in message
        assert open_image(data, OPEN).size == (800, 600)

    def test_max_memory_grows_with_max_pixels(self) -> None:
        """Whoever allows more pixels means it; fewer pixels do not shut out other formats."""
        assert MediaPolicy().memory == 400 * 2**20
        assert MediaPolicy(max_pixels=1000).memory == 400 * 2**20
        assert MediaPolicy(max_pixels=1_000_000_000).memory == 4_100_000_000
        assert MediaPolicy(max_memory=5).memory == 5

    @pytest.mark.parametrize("turn", [1, 2, 6])
    def test_the_pixels_do_not_depend_on_the_bands(self, turn: int) -> None:
        """Every mode in bands of two rows, against the whole image at once."""
        rgba = Image.fromarray(np.dstack([np.asarray(RGB), np.linspace(0, 255, 31 * 17).reshape(17, 31).astype("u1")]))
        grey = RGB.convert("L")
        sixteen = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
        palette = RGB.quantize(16)
        palette.info["transparency"] = bytes(range(0, 256, 16))
        images = [RGB, rgba, grey, grey.convert("1"), sixteen, sixteen.convert("I"), grey.convert("F"), palette]
        images += [rgba.convert(mode) for mode in ("LA", "RGBa", "CMYK", "YCbCr", "HSV", "PA", "RGBX")]
        method = TURNS[turn]
        for image in images:
            for ours in (True, False):
                whole = rgb([image.copy()], method, ours=ours)
                parts = rgb([image.copy()], method, ours=ours, band=62)
                np.testing.assert_array_equal(np.asarray(parts), np.asarray(whole), err_msg=image.mode)
        for array in (np.asarray(rgba), np.asarray(RGB) / 255, np.asarray(sixteen)):
            np.testing.assert_array_equal(np.asarray(array_rgb(array, band=62)), np.asarray(array_rgb(array)))

    def test_a_jpeg_of_several_scans(self) -> None:
        """Progressive, or one component a scan: libjpeg holds all coefficients."""
        data = encoded(noise(64, 64), "JPEG", subsampling=0)
        assert peak(Image.open(BytesIO(data)), 0, turned=False) == 4 * 64 * 64 + SPARE
        at = data.rindex(b"\xff\xda")
        scans = data[: at + 2] + b"\0\x08\x01\x01\0\0\x3f\0" + data[at + 14 :]
        for more in (scans, encoded(noise(64, 64), "JPEG", subsampling=0, progressive=True)):
            assert peak(Image.open(BytesIO(more)), 0, turned=False) > 10 * 64 * 64 + SPARE

    def test_an_icon_is_bounded_before_it_is_opened(self) -> None:
        """Pillow decodes it on opening."""
        inside = png_claiming(9_000, 9_000)
        entry = struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(inside), 22)
        assert "81000000 pixels" in refusal(b"\0\0\1\0\1\0" + entry + inside)

    def test_a_small_tiff_of_a_giant_tile(self) -> None:
        """Its tile is decoded whole."""
        tags = [(259, 3, 8), (322, 4, 30_000), (323, 4, 30_000), (324, 4, 8), (325, 4, 4)]
        assert "about 908 MB" in refusal(tiff_file(np.zeros((100, 100), np.uint8), *tags))


@pytest.mark.fire
class TestPillowsLimit:
    """The policy stands in the place of Pillow's own limit, which nobody else sees changed."""

    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "GIF", "WEBP"])
    def test_more_than_pillow_allows(self, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        """Pillow refuses it before and after; a warning that is an error does not stop it either."""
        options = {"GIF": {"save_all": True, "append_images": [Image.new("L", (40, 30), 9)], "disposal": 2}}
        data = encoded(Image.new("L", (40, 30), 70), kind, **options.get(kind, {}))
        for limit, error in ((1000, Image.DecompressionBombWarning), (500, Image.DecompressionBombError)):
            monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                for _ in range(2):
                    with pytest.raises(error):
                        Image.open(BytesIO(data))
                    assert open_image(data, MediaPolicy()).size == (40, 30)

    def test_fewer_than_pillow_allows(self) -> None:
        """Header and frames are held to the policy."""
        for kind in ("PNG", "WEBP", "TIFF", "GIF"):
            assert "1199" in refusal(encoded(Image.new("RGB", (40, 30)), kind), MediaPolicy(max_pixels=1199))


@pytest.mark.fire
class TestHeic:
    """The format of iPhones needs another package."""

    DATA = b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(40)

    def test_the_message_names_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """And how to install it."""
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        assert "is a HEIC image" in refusal(self.DATA)
        assert "pip install pillow-heif" in refusal(self.DATA)

    def test_it_is_used_once_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a call of the user."""
        called: list[int] = []
        package = types.ModuleType("pillow_heif")
        package.register_heif_opener = lambda: called.append(1)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "pillow_heif", package)
        assert "not an image that can be read" in refusal(self.DATA)
        assert called == [1]


@pytest.mark.fire
class TestEncoded:
    """A file for browsers and chat models: the one that was given, where they show it."""

    def test_a_phones_jpeg_stays(self) -> None:
        """MPO is a JPEG with more behind it; AVIF is shown by browsers."""
        for kind, mimetype in (("MPO", "image/jpeg"), ("AVIF", "image/avif"), ("JPEG", "image/jpeg")):
            more = {"save_all": True, "append_images": [noise(20, 20)]} if kind == "MPO" else {}
            data = encoded(noise(64, 48, seed=1), kind, **more)
            assert Image.open(BytesIO(data)).format == kind
            assert load_image(data, OPEN).browser_file(OPEN.max_bytes) == (data, mimetype)

    def test_the_limit_is_for_what_was_given(self) -> None:
        """A TIFF whose PNG would be larger than max_bytes stays a TIFF; an array has no bytes to limit."""
        image = noise(200, 150, seed=1)
        data = encoded(image, "TIFF", compression="jpeg")
        policy = MediaPolicy(max_bytes=len(data))
        loaded = load_image(data, policy)
        assert loaded.browser_file(policy.max_bytes) == (data, "image/tiff")
        assert loaded.pixels.tobytes() == open_image(data, policy).tobytes()
        for source in (image, np.asarray(image)):
            loaded = load_image(source, policy)
            assert loaded.browser_file(policy.max_bytes)[1] == "image/png"
            assert loaded.pixels.tobytes() == image.tobytes()


def png_claiming(width: int, height: int) -> bytes:
    """Return a tiny PNG whose header claims a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")
    )


def jpeg_with_exif(exif: bytes) -> bytes:
    """Return a JPEG with ``exif`` as its first segment."""
    jpeg = encoded(RGB, "JPEG")
    segment = b"Exif\0\0" + exif
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


def truncated() -> Iterator[tuple[str, bytes]]:
    """Yield whole files of each format, cut at several places."""
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"):
        data = encoded(noise(90, 70, seed=5), kind)
        for share in (0.02, 0.3, 0.6, 0.9):
            yield f"{kind} cut at {share}", data[: int(len(data) * share)]


class TestHostile:
    """Broken and hostile input: an InputError that names the reason; no crash, no hang, no read outside the policy."""

    @pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in truncated()])
    def test_truncated_files(self, data: bytes) -> None:
        """Half an image is not an image: it would get a vector of its own."""
        message = refusal(data)
        assert "cannot be decoded" in message or "not an image that can be read" in message

    @pytest.mark.parametrize(
        ("width", "height"), [(50_000, 50_000), (12_000, 9_000), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1)]
    )
    def test_decompression_bombs(self, width: int, height: int) -> None:
        """Refused by the header alone."""
        message = refusal(png_claiming(width, height))
        assert "pixels" in message or "cannot be decoded" in message

    def test_a_png_that_ends_early_in_its_data(self) -> None:
        """The header is allowed, the rows are missing."""
        assert "cannot be decoded" in refusal(png_claiming(300, 300))

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "not an image that can be read"),
            (b"\0", "not an image that can be read"),
            (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "not an image that can be read"),
            (b"<!doctype html><html><img src='file:///etc/passwd'></html>", "not an image that can be read"),
            (b"%PDF-1.7\n1 0 obj", "got a PDF"),
            (b"PK\x03\x04" + bytes(60), "not an image that can be read"),
            (bytes(range(256)) * 40, "not an image that can be read"),
            (b"\x89PNG\r\n\x1a\n", "cannot be decoded|not an image that can be read"),
            (b"\xff\xd8\xff\xe0", "not an image that can be read|cannot be decoded"),
        ],
    )
    def test_what_is_no_image(self, data: bytes, reason: str, tmp_path: Path) -> None:
        """As bytes, in a file with an image's name, and in a data URI that claims to be one."""
        path = tmp_path / "a.png"
        path.write_bytes(data)
        for source in (data, path, as_data_uri(data), BytesIO(data)):
            assert any(part in refusal(source) for part in reason.split("|")), source

    def test_postscript_is_not_run(self) -> None:
        """Pillow's EPS reader would start Ghostscript."""
        assert "not an image that can be read" in refusal(encoded(RGB, "EPS"))

    @pytest.mark.filterwarnings("ignore:.*EXIF:UserWarning")
    @pytest.mark.parametrize(
        "exif",
        [
            b"garbage",
            b"II*\0\xff\xff\xff\xff",
            b"\xff" * 60_000,
            b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 0x010E, 2, 2**31, 8) * 5000,
            b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", ORIENTATION, 3, 1, 99, 0) + bytes(4),
        ],
    )
    def test_broken_or_huge_exif_leaves_the_image(self, exif: bytes) -> None:
        """The pixels are fine, so they are taken as they lie."""
        np.testing.assert_array_equal(pixels(jpeg_with_exif(exif)), pixels(encoded(RGB, "JPEG")))

    def test_huge_text_in_a_png(self) -> None:
        """A compressed comment that unfolds to 200 MB is not unfolded."""
        info = PngImagePlugin.PngInfo()
        info.add_text("comment", "a" * 200_000_000, zip=True)
        assert "cannot be decoded" in refusal(encoded(RGB, pnginfo=info))

    def test_files_that_are_no_files(self, tmp_path: Path) -> None:
        """Folders, pipes and devices are not opened: a pipe without a writer would block for ever."""
        os.mkfifo(tmp_path / "pipe.png")
        (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
        (tmp_path / "dangling.png").symlink_to(tmp_path / "nothing.png")
        for source in (tmp_path, tmp_path / "pipe.png", "/dev/zero", "/dev/stdin", "", ".", "/dev/fd/0"):
            assert "not a regular file" in refusal(source)
        for source in (tmp_path / "no.png", tmp_path / "dangling.png", "no/such.png"):
            assert "does not exist" in refusal(source)
        for source in (tmp_path / "loop.png", "a\0b.png", "\ud800.png", "a" * 5000, "~no-such-user/a.png"):
            assert "cannot be read" in refusal(source) or "does not exist" in refusal(source)

    def test_an_unreadable_file_names_the_cause(self) -> None:
        """The operating system's own words."""
        assert "cannot be read" in refusal("/proc/self/mem")

    @pytest.mark.parametrize("url", ["http://127.0.0.1/a.png", "https://a/b", "ftp://a/b", "s3://a/b"])
    def test_urls_are_not_fetched(self, url: str) -> None:
        """Of any scheme; the message says what to do instead."""
        assert "URLs are not fetched" in refusal(url)

    @pytest.mark.parametrize(
        "uri", ["data:", "data:image/png,AAAA", "data:text/html;base64,AAAA", "data:image/png;base64,A A"]
    )
    def test_other_data_uris_are_refused(self, uri: str) -> None:
        """A string that begins with data: is never a path."""
        assert "followed by base64 only" in refusal(uri)

    @pytest.mark.parametrize("payload", ["A", "AAA", "AAAAA"])
    def test_broken_base64_is_refused(self, payload: str) -> None:
        """Wrong padding."""
        assert "base64 is broken" in refusal("data:image/png;base64," + payload)

    def test_broken_file_objects(self, tmp_path: Path) -> None:
        """Closed, opened as text, and of another kind."""
        closed = BytesIO(PNG)
        closed.close()
        (tmp_path / "a.png").write_bytes(PNG)
        (tmp_path / "a.txt").write_text("some text")
        assert "cannot be read (ValueError" in refusal(closed)
        with (tmp_path / "a.png").open(encoding="utf-8") as text:
            assert "cannot be read (UnicodeDecodeError" in refusal(text)
        with (tmp_path / "a.txt").open(encoding="utf-8") as text:
            assert "binary mode" in refusal(text)

    def test_a_closed_pil_image_is_refused(self) -> None:
        """Its file is gone before it was decoded."""
        image = Image.open(BytesIO(PNG))
        image.close()
        assert "a PIL image cannot be decoded" in refusal(image)

    @pytest.mark.parametrize("name", ["read", "seek", "tell", "seekable", "__fspath__", "__class__"])
    def test_objects_whose_own_code_raises(self, name: str) -> None:
        """Whatever they raise, as a property or when it is called: the message names the type and the cause."""

        def fails(*_: object) -> object:
            raise ZeroDivisionError("mine")

        for member in (property(fails), fails):
            members = {"read": lambda self, count=-1: PNG, "seek": lambda self, to: to, "tell": lambda self: 0}
            if name != "__class__" or isinstance(member, property):
                source = type("Mine", (), members | {name: member})()
                message = refusal(source)
                assert "cannot be read (" in message
                assert "ZeroDivisionError: mine" in message or name == "__fspath__"  # os.fspath() has its own
                assert "Mine" in message or "the file object" in message

    @pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "WEBP", "JPEG"])
    def test_an_image_that_was_loaded_and_closed(self, kind: str) -> None:
        """Its pixels are gone; an image of no file as well."""
        for image in (Image.open(BytesIO(encoded(RGB, kind))), RGB.copy(), RGB.quantize(8)):
            image.load()
            image.close()
            assert "ValueError: Operation on closed image" in refusal(image)

    @pytest.mark.parametrize("name", ["size", "info", "mode", "load", "getexif"])
    def test_pil_images_whose_own_code_raises(self, name: str) -> None:
        """A subclass that somebody else wrote."""

        class Mine(Image.Image):
            def __getattribute__(self, attribute: str) -> Any:
                if attribute == name:
                    raise ZeroDivisionError("mine")
                return super().__getattribute__(attribute)

        image = Mine()
        image._im, image._mode, image._size = RGB.im, RGB.mode, RGB.size
        assert "ZeroDivisionError: mine" in refusal(image)

    @pytest.mark.parametrize("value", [None, 3, 1.5, object(), ["a"], {"url": "a"}])
    def test_other_types_are_refused(self, value: object) -> None:
        """The message names the type and what is taken."""
        assert f"got {type(value).__name__}; expected a path" in refusal(value)
