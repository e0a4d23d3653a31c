"""An index may come from anybody: each fault is one error with the file and the line, and costs nothing."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.images import encoded, noise
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.mcp.index import Index

pytestmark = pytest.mark.fire

DIMENSION = 4
FACTS = {
    "format": 2,
    "model": "demo",
    "revision": None,
    "task": "retrieval",
    "dimensions": DIMENSION,
    "min_pixels": None,
    "max_pixels": 602112,
}
PLACES: list[dict[str, Any]] = [
    {"id": "a.md#L1-1", "source": "a.md", "page": None, "text": "one", "image": None, "rows": [0, 1]},
    {
        "id": "r.pdf#page=1",
        "source": "r.pdf",
        "page": 1,
        "text": "two",
        "image": "images/000001.jpg",
        "rows": [1, 3],
    },
    {"id": "b.png", "source": "b.png", "page": None, "text": "", "image": "images/000002.png", "rows": [3, 4]},
]


def write(folder: Path) -> Path:
    """Write an index of three places by hand."""
    (folder / "images").mkdir(parents=True)
    for name in ("000001.jpg", "000002.png"):
        (folder / "images" / name).write_bytes(encoded(noise(30, 20)))
    (folder / "index.json").write_text(json.dumps(FACTS))
    (folder / "places.jsonl").write_text("".join(json.dumps(place) + "\n" for place in PLACES))
    np.save(folder / "embeddings.npy", np.eye(4, DIMENSION, dtype=np.float32))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "index")


def test_the_index_itself_is_read(folder: Path) -> None:
    index = Index(folder)
    assert [entry.id for entry in index.entries] == [place["id"] for place in PLACES]
    assert [entry.id for entry, _ in index.search(np.eye(4, dtype=np.float32)[2], 1)] == ["r.pdf#page=1"]


def test_an_index_of_the_first_format_is_read_as_it_was_written(tmp_path: Path) -> None:
    """It calls images pictures; each format has its own words alone."""
    folder = write(tmp_path / "index")
    (folder / "images").rename(folder / "pictures")
    old = (folder / "places.jsonl").read_text().replace('"image":', '"picture":').replace("images/", "pictures/")
    (folder / "places.jsonl").write_text(old)
    with pytest.raises(ConfigError, match="images' is not a folder of the index"):
        Index(folder)
    (folder / "index.json").write_text(json.dumps({**FACTS, "format": 1}))
    index = Index(folder)
    assert [entry.image for entry in index.entries] == [None, "pictures/000001.jpg", "pictures/000002.png"]
    assert index.images == folder / "pictures"
    (folder / "places.jsonl").write_text(old.replace("pictures/", "images/"))
    with pytest.raises(ConfigError, match=r"line 2: picture is 'images/000001\.jpg'; expected pictures/000000\.png"):
        Index(folder)


def place(line: int, **changes: object) -> Callable[[Path], object]:
    """Return what changes one line of places.jsonl."""

    def change(folder: Path) -> None:
        places = [dict(place) for place in PLACES]
        places[line - 1].update(changes)
        (folder / "places.jsonl").write_text("".join(json.dumps(place) + "\n" for place in places))

    return change


def fact(**changes: object) -> Callable[[Path], object]:
    return lambda folder: (folder / "index.json").write_text(json.dumps({**FACTS, **changes}))


def text(name: str, content: str | bytes) -> Callable[[Path], object]:
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(data)


def line(number: int, content: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        lines = (folder / "places.jsonl").read_text().splitlines()
        lines[number - 1] = content
        (folder / "places.jsonl").write_text("\n".join(lines) + "\n")

    return change


def array(values: object, **options: Any) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / "embeddings.npy", np.asarray(values), **options)


def header(shape: str, *, descr: str = "<f4") -> bytes:
    head = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode()


def rows(row: int, value: object) -> Callable[[Path], object]:
    values = np.eye(4, DIMENSION, dtype=np.float32)
    values[row] = value
    return array(values)


def replaced_by(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return change


def sparse(name: str, size: int, head: bytes = b"") -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        with (folder / name).open("wb") as file:
            file.write(head)
            file.truncate(size)

    return change


def images_elsewhere(folder: Path) -> None:
    (folder / "images").rename(folder.parent / "secret")
    (folder / "images").symlink_to(folder.parent / "secret")


def pickled() -> bytes:
    file = BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return file.getvalue()


EYE = np.eye(4, DIMENSION)
HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no places": (text("places.jsonl", ""), "places.jsonl"),
    "only empty lines": (text("places.jsonl", "\n\n\n"), "places.jsonl"),
    "a number": (line(2, "5"), "places.jsonl' line 2"),
    "a list": (line(2, "[]"), "places.jsonl' line 2"),
    "null": (line(1, "null"), "places.jsonl' line 1"),
    "no JSON": (line(3, "{"), "places.jsonl' line 3"),
    "deep JSON": (line(3, "[" * 200_000), "places.jsonl' line 3: is not JSON in UTF-8 \\(nested too deeply"),
    "deep objects": (line(1, '{"a":' * 200_000), "places.jsonl' line 1"),
    "no UTF-8": (text("places.jsonl", b"\xff\xfe\n"), "places.jsonl' line 1"),
    "a giant number": (line(1, '{"page": 1' + "0" * 10_000 + "}"), "places.jsonl' line 1"),
    "a giant line": (sparse("places.jsonl", 1 << 35), "places.jsonl' line 1: is longer than"),
    "a key is missing": (line(1, '{"id": "a"}'), "places.jsonl' line 1"),
    "a key too many": (place(1, more=1), "places.jsonl' line 1"),
    "negative rows": (place(1, rows=[-1, 1]), "places.jsonl' line 1"),
    "a gap": (place(2, rows=[2, 4]), "places.jsonl' line 2"),
    "an overlap": (place(2, rows=[0, 2]), "places.jsonl' line 2"),
    "no rows": (place(2, rows=[1, 1]), "places.jsonl' line 2"),
    "rows backwards": (place(2, rows=[3, 1]), "places.jsonl' line 2"),
    "rows for more than it has": (place(1, rows=[0, 2]), "places.jsonl' line 1"),
    "rows of floats": (place(1, rows=[0.0, 1.0]), "places.jsonl' line 1"),
    "rows of booleans": (place(1, rows=[False, True]), "places.jsonl' line 1"),
    "three rows": (place(1, rows=[0, 1, 2]), "places.jsonl' line 1"),
    "rows as text": (place(1, rows="01"), "places.jsonl' line 1"),
    "infinite rows": (line(1, json.dumps({**PLACES[0], "rows": [0, float("inf")]})), "places.jsonl' line 1"),
    "a place too many": (text("places.jsonl", "".join(json.dumps(p) + "\n" for p in [*PLACES, PLACES[0]])), "line 4"),
    "a place too few": (text("places.jsonl", "".join(json.dumps(p) + "\n" for p in PLACES[:2])), "written to its end"),
    "an id that is no text": (place(1, id=5), "line 1: id"),
    "an empty id": (place(1, id=""), "line 1: id"),
    "a lone surrogate": (line(1, json.dumps({**PLACES[0], "source": "a\udcff"})), "line 1: source"),
    "a surrogate in the text": (line(1, json.dumps({**PLACES[0], "text": "\ud800"})), "line 1: text"),
    "page 0": (place(2, page=0), "line 2: page"),
    "page true": (place(2, page=True), "line 2: page"),
    "page as text": (place(2, page="1\n[2]"), "line 2: page"),
    "an image outside": (place(3, image="images/../../secret.png"), "line 3: image"),
    "an absolute image": (place(3, image="/etc/passwd"), "line 3: image"),
    "an image with NUL": (place(3, image="images/a\0b.png"), "line 3: image"),
    "an image with a line break": (place(3, image="images/a.png\n"), "line 3: image"),
    "an image of a number": (place(3, image=3), "line 3: image"),
    "an index of a list": (text("index.json", "[]"), "index.json"),
    "a deep index": (text("index.json", "[" * 200_000), "index.json"),
    "a giant index": (sparse("index.json", 1 << 35), "index.json"),
    "another version": (fact(format=99), "index.json' has format 99"),
    "dimensions as text": (fact(dimensions="4"), "index.json' has dimensions='4'"),
    "dimensions 0": (fact(dimensions=0), "index.json' has dimensions=0"),
    "dimensions true": (fact(dimensions=True), "index.json' has dimensions=True"),
    "a model of a list": (fact(model=["demo"]), "index.json' has model"),
    "a model with NUL": (fact(model="de\0mo"), "index.json' has model"),
    "a model with a line break": (fact(model="demo\nx"), "index.json' has model"),
    "no task": (fact(task=None), "index.json' has task"),
    "pixels of a float": (fact(max_pixels=1e9), "index.json' has max_pixels"),
    "466 TiB": (text("embeddings.npy", header("(32000000000000, 4)")), "embeddings.npy' was not written to its end"),
    "466 TiB, sparse": (sparse("embeddings.npy", 1 << 40, header(f"({(1 << 36) - 8}, 4)")), "places.jsonl"),
    "a negative shape": (text("embeddings.npy", header("(-4, 4)")), "embeddings.npy"),
    "a giant shape": (text("embeddings.npy", header("(" + "9" * 60 + ", 4)")), "embeddings.npy"),
    "nested parentheses": (text("embeddings.npy", header("(" * 3000)), "embeddings.npy' is not an array"),
    "a header of code": (text("embeddings.npy", header("__import__('os')")), "embeddings.npy' is not an array"),
    "no array": (text("embeddings.npy", "no"), "embeddings.npy' is not an array"),
    "nothing": (text("embeddings.npy", ""), "embeddings.npy' is not an array"),
    "version 2 of 4 GiB": (text("embeddings.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff"), "embeddings.npy"),
    "a zip": (lambda folder: np.savez(folder / "embeddings.npy", EYE), "written|array"),
    "pickled objects": (text("embeddings.npy", pickled()), "embeddings.npy' has .* of object"),
    "float64": (array(EYE), "embeddings.npy' has .* of float64"),
    "float16": (array(EYE.astype(np.float16)), "embeddings.npy' has .* of float16"),
    "big-endian": (array(EYE.astype(">f4")), "embeddings.npy' has .* of >f4"),
    "Fortran order": (array(np.asfortranarray(np.ones((4, 4), np.float32) / 2)), "Fortran"),
    "one dimension": (array(np.ones(16, np.float32)), "embeddings.npy"),
    "three dimensions": (array(np.ones((4, 4, 1), np.float32)), "embeddings.npy"),
    "another dimension": (array(np.eye(4, 8, dtype=np.float32)), "embeddings.npy"),
    "no row": (array(np.ones((0, 4), np.float32)), "embeddings.npy"),
    "a row too few": (array(np.eye(4, dtype=np.float32)[:3]), "places.jsonl"),
    "a row too many": (array(np.eye(5, 4, dtype=np.float32)), "places.jsonl"),
    "a NaN": (rows(2, [np.nan, 0, 0, 1]), "embeddings.npy' row 2 has L2 norm nan"),
    "infinity": (rows(1, np.inf), "embeddings.npy' row 1 has L2 norm inf"),
    "an overflow": (rows(1, 1e38), "embeddings.npy' row 1 has L2 norm inf"),
    "norm 37": (rows(3, [37, 0, 0, 0]), "embeddings.npy' row 3 has L2 norm 37"),
    "norm 0": (rows(0, 0), "embeddings.npy' row 0 has L2 norm 0"),
    "a pipe": (replaced_by("places.jsonl", os.mkfifo), "places.jsonl' is not a regular file"),
    "a device": (replaced_by("embeddings.npy", lambda path: path.symlink_to("/dev/zero")), "is not a regular file"),
    "a folder": (replaced_by("index.json", Path.mkdir), "index.json"),
    "a link to itself": (replaced_by("index.json", lambda path: path.symlink_to(path)), "index.json"),
    "another file": (replaced_by("places.jsonl", lambda path: path.symlink_to("/etc/passwd")), "places.jsonl' line 1"),
    "images elsewhere": (images_elsewhere, "images' is not a folder of the index"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.timeout(30)
def test_a_hostile_index_is_one_error_with_its_place(folder: Path, name: str) -> None:
    """And takes less than 64 MB to refuse, whatever it claims."""
    change, message = HOSTILE[name]
    change(folder)
    for file in folder.glob("*.npz"):
        file.rename(folder / "embeddings.npy")
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError, match=message) as error:
            Index(folder)
        assert tracemalloc.get_traced_memory()[1] < 64_000_000
    finally:
        tracemalloc.stop()
    assert "vllm-jina-embed index FOLDER INDEX" in str(error.value)
    assert "root:" not in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("path", ["nowhere", "a\0b", "x" * 5000])
def test_a_path_that_is_no_index_is_told(path: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="FOLDER INDEX"):
        Index(tmp_path / path)


def test_what_is_not_finite_is_never_a_hit(folder: Path) -> None:
    index = Index(folder)
    index._embeddings = index._embeddings.copy()
    index._embeddings[0] = np.nan
    index._embeddings[1] = np.nan  # of two rows of this place, one is good
    found = index.search(np.eye(4, dtype=np.float32)[2], 10)
    assert [(entry.id, score) for entry, score in found] == [("r.pdf#page=1", 1.0), ("b.png", 0.0)]
    with pytest.raises(ValueError, match="not a finite vector"):
        index.search(np.full(4, np.nan, dtype=np.float32), 10)


def test_ids_of_older_indexes_may_be_equal(folder: Path) -> None:
    """Pieces of one long line had the same id: the first is given, and neighbours are those of the place itself."""
    change = [{**place, "id": "same", "source": "same"} for place in PLACES]
    (folder / "places.jsonl").write_text("".join(json.dumps(place) + "\n" for place in change))
    index = Index(folder)
    assert index.get("same") is index.entries[0]
    assert index.neighbours(index.entries[1]) == (index.entries[0], index.entries[2])
