"""Files of images, one of each kind that programs open in their own ways."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tests.support.images import encoded, noise


def with_exif(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image, "JPEG", exif=exif)


def sixteen_bit(kind: str) -> bytes:
    return encoded(Image.fromarray((np.arange(90 * 120).reshape(90, 120) * 6).astype(np.uint16)), kind)


def grey(first: float, last: float) -> Image.Image:
    return Image.fromarray(np.linspace(first, last, 90 * 120, dtype=np.float32).reshape(90, 120))


def image_files() -> dict[str, bytes]:
    """Return a file of each kind that vLLM and the embedder would open in their own ways."""
    image = noise(120, 90)
    alpha = image.convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize(image.size))
    return {
        "16-bit PNG": sixteen_bit("PNG"),
        "16-bit TIFF": sixteen_bit("TIFF"),
        "32-bit TIFF": encoded(Image.fromarray(np.full((40, 50), 40000, dtype=np.int32)), "TIFF"),
        "float TIFF to 1": encoded(grey(0.0, 1.0), "TIFF"),
        "float TIFF to 255": encoded(grey(0.0, 255.0), "TIFF"),
        "float TIFF to 65535": encoded(grey(0.0, 65535.0), "TIFF"),
        "float TIFF of NaN": encoded(grey(float("nan"), float("nan")), "TIFF"),
        "RGBA": encoded(alpha),
        "LA": encoded(alpha.convert("LA")),
        "palette": encoded(image.quantize(64)),
        "palette with tRNS": encoded(image.quantize(64), transparency=3),
        "RGB with tRNS": encoded(image, transparency=image.getpixel((0, 0))),
        "grey with tRNS": encoded(image.convert("L"), transparency=image.convert("L").getpixel((0, 0))),
        "one bit": encoded(image.convert("1")),
        "CMYK": encoded(image.convert("CMYK"), "JPEG"),
        "EXIF orientation": with_exif(image),
        "GIF": encoded(image.quantize(32), "GIF", transparency=2),
        "WebP": encoded(alpha, "WEBP", lossless=True),
        "BMP": encoded(image, "BMP"),
    }
