"""The commands index and mcp under attack: bad files beside good ones, and mutated bytes for every reader of theirs."""

from __future__ import annotations

import os
import shutil
import time
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.images import encoded, noise
from tests.support.indexes import indexed, read, rows_of
from vllm_jina_embed import JinaEmbedder, MediaPolicy
from vllm_jina_embed.cli import main
from vllm_jina_embed.demo.drawing import UNSEEN_SEED, draw
from vllm_jina_embed.errors import VllmJinaError
from vllm_jina_embed.frameworks.shown_text import visible
from vllm_jina_embed.inputs.encoding import data_uri
from vllm_jina_embed.inputs.sources import reference
from vllm_jina_embed.mcp.opening import opened
from vllm_jina_embed.mcp.places import Places
from vllm_jina_embed.mcp.proof import check_vectors

pytestmark = [pytest.mark.fire, pytest.mark.siege, pytest.mark.timeout(900)]

CONCEPTS = ("red circle", "blue star", "forest", "desert", "pink cross")
TEXTS = {
    b"notes.md": "Ein Sonnenuntergang am Strand",
    b"na\xff\xfeme.txt": "The bill for the new roof",
    b"a\n[2] fake.md": "A recipe for apple cake",
    b"uri.txt": "data:image/png;base64,AAAA",
    b"blank.txt.md": "x" * 30_000 + " the end of a long line",
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a folder with good files of every kind between bad ones."""
    folder = tmp_path_factory.mktemp("library")
    for number, concept in enumerate(CONCEPTS):
        name = b"caf\xe9.png" if concept == "forest" else f"{concept}.png".encode()
        image = draw(concept, seed=UNSEEN_SEED + number, size=(300, 240))
        (folder / os.fsdecode(name)).write_bytes(encoded(image))
    for name, text in TEXTS.items():
        (folder / os.fsdecode(name)).write_text(text)
    good_uri = data_uri(encoded(noise(60, 60)), "image/png")
    (folder / "whole-uri.md").write_text(f"Before.\n\n{good_uri}\n\nAfter.")
    (folder / "reference.txt").write_text(reference(folder / "desert.png", MediaPolicy(allowed_root=folder)))
    (folder / "report.pdf").write_bytes(pdf((200, 200), (14000, 20), (240, 240), (5, 3000), (300, 300)))
    return folder


def bad_files(folder: Path) -> dict[str, str]:
    """Write 26 bad files; return a part of the reason of each."""
    data = encoded(noise(200, 100))
    four = pdf(*[(100, 100)] * 4)
    contents: dict[str, tuple[bytes, str]] = {
        "empty.png": (b"", "not an image that can be read"),
        "text.png": (b"no image", "not an image that can be read"),
        "cut.png": (data[: len(data) // 2], "cannot be decoded"),
        "cut.jpg": (encoded(noise(200, 100), "JPEG")[:900], "cannot be decoded"),
        "page.jpg": (b"%PDF-1.7 no", "got a PDF"),
        "zeros.webp": (bytes(100), "not an image that can be read"),
        "thin.png": (encoded(noise(3000, 10)), "side ratios"),
        "bomb.png": (encoded(Image.new("1", (20_000, 20_000))), "pixels"),
        "script.gif": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image that can be read"),
        "broken.tiff": (b"II*\0" + b"\xff" * 50, "broken.tiff"),
        "latin.txt": ("Grüße".encode("latin-1"), "'utf-8' codec can't decode"),
        "utf16.md": ("Grüße".encode("utf-16"), "'utf-8' codec can't decode"),
        "binary.rst": (bytes(range(256)), "'utf-8' codec can't decode"),
        "empty.pdf": (b"", "cannot be read as a PDF"),
        "header.pdf": (b"%PDF-1.7 broken", "cannot be read as a PDF"),
        "cut.pdf": (four[: len(four) // 2], "cannot be read as a PDF"),
        "bad\n[3] b.png": (b"no", "not an image that can be read"),
        "\x1b[2Jterminal.png": (b"no", "not an image that can be read"),
        os.fsdecode(b"bad\xff.png"): (b"no", "not an image that can be read"),
    }
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    os.mkfifo(folder / "pipe.txt")
    with (folder / "giant.txt").open("wb") as file:
        file.truncate(300_000_000)
    for name, target in {"loop.md": "loop.md", "nothing.png": "gone.png", "passwd.txt": "/etc/passwd"}.items():
        (folder / name).symlink_to(target)
    reasons = {name: reason for name, (_, reason) in contents.items()} | {
        "pipe.txt": "not a regular file",
        "giant.txt": "300000000 bytes",
        "loop.md": "cannot be read",
        "nothing.png": "cannot be read",
        "passwd.txt": "leads out of the folder",
        "report.pdf#page=2": "side ratios",
        "report.pdf#page=4": "side ratios",
    }
    shown = {"bad\n[3] b.png": r"bad\u000a[3] b.png", "\x1b[2Jterminal.png": r"\u001b[2Jterminal.png"}
    shown[os.fsdecode(b"bad\xff.png")] = r"bad\xff.png"
    return {shown.get(name, name): reason for name, reason in reasons.items()}


def pdf(*sizes: tuple[float, float]) -> bytes:
    with pypdfium2.PdfDocument.new() as document:
        for size in sizes:
            document.new_page(*size)
        file = BytesIO()
        document.save(file)
    return file.getvalue()


def test_every_good_file_is_found_and_every_bad_one_is_named(
    library: Path, demo_embedder: JinaEmbedder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One run of the command; its exit code is 0, since something was indexed."""
    reasons = bad_files(library)
    assert len(reasons) >= 25
    assert main(["index", str(library), str(tmp_path / "index")]) == 0
    said = capsys.readouterr()
    told = dict(
        line.removeprefix("left out: ").split(": ", 1) for line in said.err.splitlines() if "left out: " in line
    )
    assert set(told) == set(reasons)
    for name, reason in reasons.items():
        assert reason in f"{name}: {told[name]}", name
    assert f"{len(reasons)} left out" in said.out
    check_found(tmp_path / "index", demo_embedder)
    assert list(tmp_path.iterdir()) == [tmp_path / "index"]


def check_found(index: Path, embedder: JinaEmbedder) -> None:
    """Each place is found by its own content, and what was drawn by its name."""
    rows = rows_of(index)
    with opened(index) as corpus:
        places = Places(corpus)
        for number, concept in enumerate(CONCEPTS):
            source = r"caf\xe9.png" if concept == "forest" else f"{concept}.png"
            image = draw(concept, seed=UNSEEN_SEED + number, size=(300, 240))
            (found, *_) = places.search(embedder.embed_images([image])[0], None, 1)
            assert (found.source, found.score is not None and found.score > 0.999) == (source, True)
            words = places.search(embedder.embed_queries([f"a {concept}"])[0], None, 3)
            assert source in [place.source for place in words]
        texts = [row for row in rows.values() if row.kind == "text" and row.page is None]
        for row, vector in zip(texts, embedder.embed_passages([row.text for row in texts]), strict=True):
            assert places.search(vector, None, 1)[0].text == row.text
    sources = {row.source for row in texts}
    assert {r"na\xff\xfeme.txt", r"a\u000a[2] fake.md", "uri.txt", "whole-uri.md", "reference.txt"} <= sources
    assert all(row.kind == "text" for row in rows.values() if row.source.endswith((".txt", ".md")))
    assert [row.page for row in rows.values() if row.source == "report.pdf"] == [1, 3, 5]


def test_nothing_but_bad_files_is_one_error(
    demo_embedder: JinaEmbedder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "broken.png").write_bytes(b"no")
    assert main(["index", str(tmp_path / "bad"), str(tmp_path / "index")]) == 1
    said = capsys.readouterr()
    assert "left out: broken.png: " in said.err
    assert "no image, text or PDF to index" in said.err
    assert said.out == ""


# --- fuzzing ---------------------------------------------------------------------------------------------------------


def fuzz(seconds: float, strategy: st.SearchStrategy[bytes], check: Callable[[bytes], None]) -> int:
    """Run ``check`` on examples for some seconds and return their number."""
    count = 0
    end = time.monotonic() + seconds

    @settings(database=None, deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def run(data: bytes) -> None:
        nonlocal count
        count += 1
        check(data)

    while time.monotonic() < end:
        run()
    return count


def mutated(seed: bytes) -> st.SearchStrategy[bytes]:
    """Bytes of a good file of which some are cut out, overwritten or put in."""
    edit = st.tuples(st.integers(0, len(seed)), st.integers(0, 8), st.one_of(st.binary(max_size=12), ODD))

    def apply(edits: list[tuple[int, int, bytes]]) -> bytes:
        data = seed
        for at, gone, new in edits:
            data = data[:at] + new + data[at + gone :]
        return data

    return st.lists(edit, min_size=1, max_size=6).map(apply)


ODD = st.sampled_from(
    [
        b"-1",
        b"1e999",
        b"NaN",
        b"null",
        b"true",
        b'"',
        b"[" * 3000,
        b"{}",
        b"\n",
        b"\0",
        b"\xff",
        b"\\ud800",
        b"9" * 5000,
    ]
)


@pytest.fixture(scope="module")
def small_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an index of three rows by an engine in memory."""
    return indexed(tmp_path_factory.mktemp("fuzz"), {"a.md": "one", "b.md": "two", "c.png": encoded(noise(20, 10))})


@pytest.mark.parametrize("name", ["manifest.json", "done", "data", "_versions"])
def test_mutated_files_of_an_index_raise_nothing_foreign(
    small_index: Path,
    name: str,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    record_property: Callable[[str, object], None],
) -> None:
    """Of the journal and of the table."""
    folder = tmp_path / "index"
    shutil.copytree(small_index, folder)
    (file,) = [path for path in folder.rglob("*") if path.is_file() and name in (path.name, path.parent.name)][:1]
    good = file.read_bytes()

    def check(data: bytes) -> None:
        file.write_bytes(data)
        try:
            with opened(folder) as corpus:
                check_vectors(corpus)
                rows = list(corpus)
                if corpus.settings["dimensions"] == 32:
                    found = Places(corpus).search(np.eye(32, dtype=np.float32)[0], None, 10)
                    assert all(np.isfinite(place.score or 0) for place in found)
                    assert all(visible(place.citation) == place.citation for place in found)
                assert all(isinstance(row.text, str) for row in rows)
        except VllmJinaError:
            return

    count = fuzz(pytestconfig.getoption("--fuzz-seconds"), mutated(good), check)
    record_property("examples", count)
    assert count > 0


@pytest.mark.parametrize("kind", ["txt", "pdf", "png", "tiff"])
def test_mutated_files_of_a_folder_raise_nothing(
    kind: str, tmp_path: Path, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> None:
    """Each gives places or is left out with a reason, and the good file beside it is always read."""
    seeds = {
        "txt": "Grüße\n\n安 data:image/png;base64,AAAA\r\n\x85 word".encode() * 20,
        "pdf": pdf((100, 100), (60, 50)),
        "png": encoded(noise(20, 10)),
        "tiff": encoded(noise(20, 10), "TIFF"),
    }
    (tmp_path / "zz.txt").write_text("good")

    def check(data: bytes) -> None:
        (tmp_path / f"file.{kind}").write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found, left_out = read(tmp_path)
        assert list(found.values())[-1].text == "good"
        assert all(reason and len(reason) < 2000 for reason in left_out.values())
        for content in found.values():
            content.text.encode()

    count = fuzz(pytestconfig.getoption("--fuzz-seconds"), mutated(seeds[kind]), check)
    record_property("examples", count)
    assert count > 0
