"""Objects that belong to the caller: many threads pass one, its owner uses it meanwhile, and it stays as it was."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.images import encoded, noise
from vllm_jina_embed.errors import InputError
from vllm_jina_embed.inputs.budget import Budget
from vllm_jina_embed.inputs.images import MediaPolicy, open_image

pytestmark = [pytest.mark.timeout(120), pytest.mark.fire, pytest.mark.wide]

POLICY = MediaPolicy()
THREADS, CALLS = 8, 48
LARGE = noise(450, 350, seed=1)
FRAMES = [noise(150, 100, seed=seed) for seed in range(4)]


def lazy(kind: str, **options: Any) -> Callable[[Path], Image.Image]:
    """Return what opens an image lazily from memory."""
    return lambda folder: Image.open(BytesIO(encoded(LARGE, kind, **options)))


def lazy_path(kind: str, **options: Any) -> Callable[[Path], Image.Image]:
    """Return what opens an image lazily from a file."""

    def make(folder: Path) -> Image.Image:
        path = folder / f"image.{kind}"
        path.write_bytes(encoded(LARGE, kind, **options))
        return Image.open(path)

    return make


def frame(kind: str, number: int) -> Callable[[Path], Image.Image]:
    """Return what opens an image of four frames at one of them."""

    def make(folder: Path) -> Image.Image:
        frames = [image.quantize(64) for image in FRAMES] if kind == "GIF" else FRAMES
        options = {"lossless": True} if kind == "WEBP" else {}
        image = Image.open(BytesIO(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)))
        image.seek(number)
        return image

    return make


def drafted(folder: Path) -> Image.Image:
    """Return a JPEG that its owner has asked to be decoded at half its size."""
    image = Image.open(BytesIO(encoded(LARGE, "JPEG")))
    image.draft("RGB", (225, 175))
    return image


def spooled(folder: Path) -> Any:
    """Return a file object that is neither BytesIO nor a file on disk."""
    file = SpooledTemporaryFile(max_size=2**30)  # noqa: SIM115
    file.write(encoded(LARGE))
    return file


def on_disk(folder: Path) -> Any:
    """Return an open file."""
    (folder / "file.png").write_bytes(encoded(LARGE))
    return (folder / "file.png").open("rb")


IMAGES: dict[str, Callable[[Path], Image.Image]] = {
    "JPEG": lazy("JPEG"),
    "JPEG of a path": lazy_path("JPEG"),
    "JPEG, drafted": drafted,
    "PNG": lazy("PNG"),
    "PNG of a path": lazy_path("PNG"),
    "WEBP": lazy("WEBP", lossless=True),
    "AVIF": lazy("AVIF", speed=10),
    "TIFF of a path": lazy_path("TIFF", compression="tiff_lzw"),
    "BMP of a path": lazy_path("BMP"),
    "GIF at frame 2": frame("GIF", 2),
    "TIFF at frame 3": frame("TIFF", 3),
    "WEBP at frame 1": frame("WEBP", 1),
    "PNG at frame 2": frame("PNG", 2),
    "decoded palette": lambda folder: LARGE.quantize(64),
}


def right(make: Callable[[Path], Image.Image], folder: Path) -> np.ndarray[Any, Any]:
    """Return what Pillow makes of an image of its own."""
    return np.asarray(make(folder).convert("RGB"))


@pytest.mark.parametrize("name", IMAGES)
def test_one_image_in_many_threads(name: str, tmp_path: Path) -> None:
    """48 calls of 8 threads get the right pixels; the image then loads as if nothing had been."""
    image, expected = IMAGES[name](tmp_path), right(IMAGES[name], tmp_path)
    place, lazily = image.tell(), bool(getattr(image, "tile", []))
    with ThreadPoolExecutor(THREADS) as threads:
        opened = list(threads.map(lambda _: np.asarray(open_image(image, POLICY)), range(CALLS)))
    wrong = sum(not np.array_equal(got, expected) for got in opened)
    print(f"{name}: {wrong} of {CALLS} wrong")
    assert wrong == 0
    assert image.tell() == place
    assert bool(getattr(image, "tile", [])) == lazily  # still as lazy as it was
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), expected)


@pytest.mark.parametrize(
    "name", ["JPEG", "JPEG of a path", "PNG of a path", "TIFF of a path", "GIF at frame 2", "WEBP"]
)
def test_while_its_owner_loads_it(name: str, tmp_path: Path) -> None:
    """Right, or refused with what to do; never other pixels."""
    expected = right(IMAGES[name], tmp_path)
    for _ in range(3):
        image = IMAGES[name](tmp_path)
        owner = threading.Thread(target=image.load)
        with ThreadPoolExecutor(THREADS) as threads:
            calls = [threads.submit(open_image, image, POLICY) for _ in range(CALLS)]
            owner.start()
            for call in calls:
                error = call.exception()
                if name == "WEBP" and isinstance(error, InputError):
                    assert "load()" in str(error) or "closed" in str(error)
                else:
                    np.testing.assert_array_equal(np.asarray(call.result()), expected)
        owner.join()
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), expected)


def mapped(folder: Path) -> Any:
    """Return a file's memory, which can seek and does not say so before Python 3.13."""
    with on_disk(folder) as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


@pytest.mark.parametrize("make", [lambda folder: BytesIO(encoded(LARGE)), on_disk, spooled, mapped])
def test_one_file_object_in_many_threads(make: Callable[[Path], Any], tmp_path: Path) -> None:
    """Right, and its position is where its owner left it."""
    with make(tmp_path) as file:
        file.seek(123)
        with ThreadPoolExecutor(THREADS) as threads:
            opened = list(threads.map(lambda _: np.asarray(open_image(file, POLICY)), range(CALLS)))
        assert file.tell() == 123
    for got in opened:
        np.testing.assert_array_equal(got, np.asarray(LARGE))


def test_what_its_owner_drew_is_kept() -> None:
    """A file of several frames keeps its file open; what was drawn on the decoded one counts, not the file."""
    for name in ("GIF", "TIFF", "PNG"):
        image = frame(name, 0)(Path())
        image.load()
        image.paste(7, (0, 0, 10, 10))
        expected = np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(np.asarray(open_image(image, POLICY)), expected)


def test_an_image_whose_file_is_closed() -> None:
    """Its owner is told to load it before."""
    file = BytesIO(encoded(LARGE))
    image = Image.open(file)
    file.close()
    with pytest.raises(InputError, match=r"cannot be decoded"):
        open_image(image, POLICY)


def test_a_stream_of_short_reads() -> None:
    """An unbuffered pipe gives what it has; it is read until it ends, and no further than the limit."""
    data = encoded(LARGE, "PNG")
    reader, writer = os.pipe()
    thread = threading.Thread(target=lambda: [os.write(writer, data[at : at + 999]) for at in range(0, len(data), 999)])
    with os.fdopen(reader, "rb", buffering=0) as stream:
        thread.start()
        threading.Thread(target=lambda: (thread.join(), os.close(writer))).start()
        np.testing.assert_array_equal(np.asarray(open_image(stream, POLICY)), np.asarray(LARGE))


def test_buffers_that_cannot_be_read() -> None:
    """A released view, and a path that fails, are errors of the item."""
    view = memoryview(encoded(LARGE))
    view.release()
    with pytest.raises(InputError, match="cannot be read"):
        open_image(view, POLICY)


def test_the_budget_lets_in_what_fits_in_order() -> None:
    """Never more than the limit is held, one over it is held alone, and nobody is overtaken for ever."""
    budget, most, held = Budget(10), [0], threading.Lock()
    costs = [3, 4, 9, 2, 25, 1, 5, 5, 10, 7] * 5

    def work(cost: int) -> None:
        with budget.hold(cost), held:
            most[0] = max(most[0], budget.held)
            assert budget.held <= 10 or budget.held == cost

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(work, costs))
    assert budget.held == 0
    assert most[0] > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_while_an_image_is_decoded() -> None:
    """The child has locks and a budget of its own, although a thread of the parent holds them."""
    from vllm_jina_embed.inputs.file_objects import lock_of
    from vllm_jina_embed.inputs.image_files import BUDGET

    image = LARGE.quantize(8)
    with BUDGET.hold(BUDGET.limit), lock_of(image):
        child = os.fork()
        if child == 0:
            thread = threading.Thread(target=open_image, args=(image, POLICY), daemon=True)
            thread.start()
            thread.join(20)
            os._exit(int(thread.is_alive()))
        assert os.waitpid(child, 0)[1] == 0
