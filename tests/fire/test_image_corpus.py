"""Images of every kind, right or refused: opened, on the engine, mutated, and by the memory they take.

Run with ``-s`` to see the figures.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.image_corpus import Case, corpus
from tests.support.images import encoded, noise
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.errors import InputError
from vllm_jina_embed.inputs.images import MediaPolicy, open_image

pytestmark = [
    pytest.mark.fire,
    pytest.mark.filterwarnings("ignore"),  # Pillow's, about broken files
]
MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    return corpus(tmp_path_factory.mktemp("corpus"))


def fault(case: Case) -> str | None:
    """Return what is wrong about how a case is opened."""
    try:
        got = np.asarray(open_image(case.make(), MediaPolicy()))
    except InputError as error:
        if case.pixels is not None:
            return f"{case.name}: refused: {error}"
        missing = [word for word in case.words if not any(part in str(error) for part in word.split("|"))]
        return f"{case.name}: {missing} not in {error}" if missing else None
    if case.pixels is None:
        return f"{case.name}: not refused"
    if got.shape != case.pixels.shape:
        return f"{case.name}: shape {got.shape}, expected {case.pixels.shape}"
    difference = np.abs(got.astype(float) - case.pixels)
    wrong = difference.mean() > case.bound if case.bound else difference.max() > 0
    return f"{case.name}: {difference.mean():.2f} from the right pixels" if wrong else None


def test_each_image_is_right_or_refused(cases: list[Case]) -> None:
    """At least 400, each with its pixels or the words of its refusal; nothing raises anything else."""
    faults = [text for case in cases if (text := fault(case))]
    refused = sum(case.pixels is None for case in cases)
    print(f"\nimage corpus: {len(cases)} images, {len(cases) - refused} right, {refused} refused, {len(faults)} faults")
    assert len(cases) >= 400
    assert not faults, "\n".join(faults)


def siege_of(cases: list[Case]) -> list[Case]:
    """Return the cases, each form of a file at most twice: the engine sees pixels, not files."""
    seen: dict[str, int] = {}
    kept = []
    for case in cases:
        name = case.name.rsplit(",", 1)[0]
        seen[name] = seen.get(name, 0) + 1
        if seen[name] <= 2:
            kept.append(case)
    return kept


@pytest.mark.siege
@pytest.mark.real
@pytest.mark.timeout(900)
def test_the_corpus_on_the_engine(demo_embedder: JinaEmbedder, cases: list[Case]) -> None:
    """One call with raise and one with skip: the bad positions exactly, and the right vector for every other image."""
    chosen = siege_of(cases)
    bad = [row for row, case in enumerate(chosen) if case.pixels is None]
    good = [row for row, case in enumerate(chosen) if case.pixels is not None]
    with pytest.raises(InputError) as caught:
        demo_embedder.embed_images([case.make() for case in chosen])
    assert list(caught.value.positions) == bad
    raised = caught.value.embeddings
    with JinaEmbedder("demo", on_error="skip") as skipping:
        skipped = skipping.embed_images([case.make() for case in chosen])
    for got in (raised, skipped):
        assert np.isnan(got[bad]).all()
        assert np.isfinite(got[good]).all()
    exact = [row for row in good if not chosen[row].bound]
    keys = {row: (*chosen[row].pixels.shape, chosen[row].pixels.astype(np.uint8).tobytes()) for row in exact}
    unique = list({key: row for row, key in keys.items()}.values())
    vectors = demo_embedder.embed_images([np.ascontiguousarray(chosen[row].pixels.astype(np.uint8)) for row in unique])
    right = {keys[row]: vector for row, vector in zip(unique, vectors, strict=True)}
    far = max(float(np.abs(got[row] - right[keys[row]]).max()) for got in (raised, skipped) for row in exact)
    print(
        f"\non the engine: {len(chosen)} images, {len(bad)} refused, {len(exact)} compared, "
        f"largest difference {far:.1e}"
    )
    assert far < 1e-5


@cache
def seeds() -> list[bytes]:
    """Return whole small files of each format, which are then changed."""
    image = noise(24, 18, seed=7)
    files: list[bytes] = []
    options: dict[str, dict[str, Any]] = {"TIFF": {"compression": "tiff_lzw"}, "WEBP": {"lossless": True}}
    kinds = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "ICO", "JPEG2000", "AVIF", "TGA")
    files += [encoded(image, kind, **options.get(kind, {})) for kind in kinds]
    files += [encoded(image.quantize(8), "PNG", transparency=3), encoded(image, "JPEG", progressive=True)]
    frames = [noise(24, 18, seed=seed) for seed in range(3)]
    for kind in ("GIF", "PNG", "TIFF", "WEBP", "MPO"):
        files.append(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    return files


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Draw a file with bytes replaced, cut out, repeated or set to the ends of their range."""
    data = bytearray(draw(st.sampled_from(seeds())))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, min(len(data) - 1, draw(st.sampled_from([40, 200, 10_000])))))
        length = draw(st.integers(1, 8))
        value = draw(
            st.sampled_from([b"", b"\xff" * length, bytes(length), b"\x7f\xff\xff\xff"]) | st.binary(max_size=8)
        )
        data[at : at + length] = value
        if not data:
            return b""
    return bytes(data)


@pytest.mark.siege
@pytest.mark.timeout(0)
def test_mutated_files_give_an_image_or_an_input_error(request: pytest.FixtureRequest) -> None:
    """Nothing else is raised, as bytes and as a lazy PIL image; the policy is small, so that no time is lost."""
    end = time.monotonic() + request.config.getoption("--fuzz-seconds")
    policy = MediaPolicy(max_pixels=1_000_000)
    counts = {"opened": 0, "refused": 0}

    @settings(max_examples=300, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(mutated())
    def attack(data: bytes) -> None:
        sources: list[object] = [data]
        with suppress(Exception):  # what Pillow itself does not open is passed as bytes alone
            sources.append(Image.open(BytesIO(data)))
        for source in sources:
            try:
                assert open_image(source, policy).mode == "RGB"
                counts["opened"] += 1
            except InputError:
                counts["refused"] += 1

    while time.monotonic() < end:
        attack()
    print(f"\nfuzzed images: {counts}, 0 other exceptions")
    assert counts["opened"] > 50
    assert counts["refused"] > 50


MEASURE = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from vllm_jina_embed.errors import InputError
from vllm_jina_embed.inputs.images import MediaPolicy, open_image
def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
make = {"array": lambda: np.full((6000, 6000, 3), 0.5)}
source = make["array"]() if sys.argv[1] == "array" else sys.argv[1]
open_image(np.zeros((9, 9, 3), np.uint8), MediaPolicy())
open("/proc/self/clear_refs", "w").write("5")
before = peak()
try:
    image = open_image(source, MediaPolicy())
    pixels = image.width * image.height
except InputError as error:
    assert "max_memory" in str(error) or "pixels" in str(error), error
    pixels = 0
print(pixels, peak() - before - 3 * pixels)
"""

SIDE = 10_000
FLAT: dict[str, tuple[str, tuple[int, int], str, dict[str, Any]]] = {
    "WebP RGBA, 38 bytes": ("RGBA", (SIDE, SIDE), "WEBP", {"lossless": True, "method": 0}),
    "WebP of 24 MP": ("RGB", (6000, 4000), "WEBP", {"lossless": True, "method": 0}),
    "PNG RGBA": ("RGBA", (SIDE, SIDE), "PNG", {}),
    "PNG RGBA turned": ("RGBA", (SIDE, SIDE), "PNG", {"turn": 6}),
    "PNG LA": ("LA", (SIDE, SIDE), "PNG", {}),
    "PNG palette, transparent": ("P", (SIDE, SIDE), "PNG", {"transparency": 0}),
    "PNG I;16": ("I;16", (SIDE, SIDE), "PNG", {}),
    "PNG RGB": ("RGB", (SIDE, SIDE), "PNG", {}),
    "PNG 1": ("1", (SIDE, SIDE), "PNG", {}),
    "GIF": ("P", (SIDE, SIDE), "GIF", {}),
    "GIF of 2 frames": ("P", (SIDE, SIDE), "GIF", {"frames": 2, "disposal": 2}),
    "TIFF RGBA, deflate": ("RGBA", (SIDE, SIDE), "TIFF", {"compression": "tiff_adobe_deflate"}),
    "TIFF RGB turned": ("RGB", (8000, 8000), "TIFF", {"compression": "tiff_adobe_deflate", "turn": 6}),
    "TIFF F": ("F", (SIDE, SIDE), "TIFF", {"compression": "tiff_adobe_deflate"}),
    "JPEG, 96 MP turned": ("RGB", (12_000, 8_000), "JPEG", {"turn": 6}),
    "JPEG progressive, 96 MP": ("RGB", (12_000, 8_000), "JPEG", {"progressive": True}),
    "JPEG progressive 4:4:4": ("RGB", (SIDE, SIDE), "JPEG", {"progressive": True, "subsampling": 0}),
    "JPEG CMYK": ("CMYK", (SIDE, SIDE), "JPEG", {}),
    "JPEG 2000 L": ("L", (8000, 8000), "JPEG2000", {}),
    "AVIF of 48 MP": ("RGB", (8000, 6000), "AVIF", {"speed": 10}),
    "MPO, 48 MP turned": ("RGB", (8000, 6000), "MPO", {"frames": 2, "turn": 8}),
    "PPM of 100 levels": ("PPM", (4000, 3000), "", {}),
}


def flat(mode: str, size: tuple[int, int], kind: str, options: dict[str, Any]) -> bytes:
    """Return a file of one colour."""
    if mode == "PPM":
        return b"P6 %d %d 100\n" % size + bytes([50]) * (3 * size[0] * size[1])
    options = dict(options)
    if turn := options.pop("turn", None):
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = turn
    if frames := options.pop("frames", 0):
        options |= {"save_all": True, "append_images": [Image.new(mode, size, 4)] * (frames - 1)}
    colour = {1: 0.5 if mode == "F" else 1, 2: (9, 99), 3: (200, 30, 60), 4: (200, 30, 60, 100)}
    fill = 30_000 if mode == "I;16" else colour[len(Image.new(mode, (1, 1)).getbands())]
    return encoded(Image.new(mode, size, fill), kind, **options)


@pytest.mark.siege
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak in /proc")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [*FLAT, "float64 array"])
def test_memory_beside_the_result(name: str, tmp_path: Path) -> None:
    """In a process of its own, at most 400 MiB beside 3 bytes a pixel, for what is let in and for what is refused."""
    path = tmp_path / "image"
    if name in FLAT:
        path.write_bytes(flat(*FLAT[name]))
    argument = str(path) if name in FLAT else "array"
    done = subprocess.run([sys.executable, "-c", MEASURE, argument], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    pixels, beside = map(int, done.stdout.split())
    what = f"{pixels / 1e6:.0f} MP opened" if pixels else "refused"
    print(f"\n{name}: {what}, {beside / MEBIBYTE:.0f} MiB beside the result")
    assert beside <= 400 * MEBIBYTE
