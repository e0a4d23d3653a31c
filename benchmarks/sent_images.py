"""What one page costs on its way to a server: CPU time of client and server, and bytes of the request.

    python -m benchmarks.sent_images [--width 1240] [--height 1754]

Rows: the file as it was given, which is what ``RemoteEngine`` sends where the server decodes it alike; PNG of the
pixels (compress level 1), which it sends else; and lossless encodings that were not chosen. Times are the least of some
runs, in milliseconds of one core (``time.process_time``); kilobytes are of the JSON body, base64 included.
"""

from __future__ import annotations

import argparse
import base64
import json
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vllm_jina_embed.inputs.decoder import decoder
from vllm_jina_embed.inputs.images import MediaPolicy, open_image

RUNS = 5
POLICY = MediaPolicy()
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "PNG level 1 of the pixels": ("PNG", {"compress_level": 1}),
    "PNG level 6": ("PNG", {"compress_level": 6}),
    "lossless WebP, method 0": ("WEBP", {"lossless": True, "method": 0, "quality": 0}),
    "TIFF, LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "TIFF, PackBits": ("TIFF", {"compression": "packbits"}),
    "BMP": ("BMP", {}),
}


def page(width: int, height: int) -> Image.Image:
    """Return a page of lines of letters around a photograph."""
    random = np.random.default_rng(0)
    image = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(22)
    for top in range(60, height - 60, 30):
        draw.text((60, top), "".join(map(chr, random.integers(97, 123, width // 14))), fill="black", font=font)
    coarse = Image.fromarray(random.integers(0, 256, (height // 24, width // 16, 3), dtype=np.uint8))
    photo = np.asarray(coarse.resize((width // 2, height // 3), Image.Resampling.BICUBIC)).astype(np.int64)
    photo += random.normal(0, 4, photo.shape).astype(np.int64)
    image.paste(Image.fromarray(photo.clip(0, 255).astype(np.uint8)), (width // 4, height // 3))
    return image


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the image as a file."""
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def least(work: Callable[[], Any]) -> float:
    """Return the CPU time of ``work`` in milliseconds."""
    found = []
    for _ in range(RUNS):
        begin = time.process_time()
        work()
        found.append(time.process_time() - begin)
    return 1000 * min(found)


def body(data: bytes) -> bytes:
    """Return a request's body as the client makes it."""
    return json.dumps({"url": f"data:image/png;base64,{base64.b64encode(data).decode()}"}).encode()


def server(request: bytes) -> Image.Image:
    """Return the RGB image that the server makes of a body."""
    return open_image(json.loads(request)["url"], POLICY)


def main() -> None:
    """Print one row per way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1240)
    parser.add_argument("--height", type=int, default=1754)
    chosen = parser.parse_args()
    image = page(chosen.width, chosen.height)
    print(f"{chosen.width} x {chosen.height}; {decoder()}\n{'':28}{'client ms':>10}{'server ms':>10}{'KB':>8}")
    for kind, options in (("JPEG", {"quality": 90}), ("PNG", {"compress_level": 6})):
        data = encoded(image, kind, **options)
        _row(f"the {kind} file", 0.0, data, open_image(data, POLICY))
    for name, (kind, options) in OTHERS.items():
        _row(name, least(lambda kind=kind, options=options: encoded(image, kind, **options)),  # type: ignore[misc]
             encoded(image, kind, **options), image)  # fmt: skip


def _row(name: str, encoding: float, data: bytes, expected: Image.Image) -> None:
    request = body(data)
    if server(request).tobytes() != expected.tobytes():
        raise SystemExit(f"{name}: the server's pixels are others")
    client = encoding + least(lambda: body(data))
    print(f"{name:28}{client:10.1f}{least(lambda: server(request)):10.1f}{len(request) / 1000:8.0f}")


if __name__ == "__main__":
    main()
