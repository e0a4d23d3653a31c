"""Define the files of an index, and read them with every check.

    index.json      what the embeddings were computed with
    places.jsonl    one place per line: id, source, page, text, image (a path below), rows (of the embeddings)
    embeddings.npy  float32 (rows, dimension): a place's image and the pieces of its text, a row each
    images/       the images, encoded as in their files; pages of PDFs as JPEG

An index may come from an untrusted place: no more memory is allocated than the sizes of its files justify, and every
fault is a ConfigError that names the file and the line or row.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .._arrays import Floats
from ..corpus.chunking import chunks
from ..errors import ConfigError
from ..frameworks.shown_text import visible
from ..pooling.single_vector import NORM_LIMIT

FORMAT = 2
FACTS, PLACES, EMBEDDINGS, IMAGES = "index.json", "places.jsonl", "embeddings.npy", "images"
WORDS: Mapping[int, tuple[str, str]] = {1: ("picture", "pictures"), FORMAT: ("image", IMAGES)}
"""By format, how a line of places.jsonl calls the path of an image, and the folder of the images."""
SETTINGS: Mapping[str, tuple[type, ...]] = {
    "model": (str,),
    "revision": (str, type(None)),
    "task": (str,),
    "dimensions": (int,),
    "min_pixels": (int, type(None)),
    "max_pixels": (int, type(None)),
    "vectors": (str,),
}
"""Settings that decide an embedding beside the weights; stored so that questions are embedded in the same way."""
VECTORS = "vllm-jina-embed/1"
"""``vectors`` of an index that version 0.1 wrote, which had no word for the row."""
FACTS_BYTES = 1024 * 1024
LINE_BYTES = 16 * 1024 * 1024
"""Longest line of places.jsonl; a page has at most 1,000,000 characters."""
IMAGE_BYTES = 512 * 1024 * 1024
"""Largest image of an index; it may be larger than its file was, since a TIFF becomes a PNG."""
HEADER_BYTES = 4096
AGAIN = "Index it anew: vllm-jina-embed index FOLDER INDEX"
_IMAGE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9]+)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A place of an index.

    Attributes:
        id: As in ``Place``; so are ``source``, ``page`` and ``text``.
        image: Path of its image in the index.
        rows: First row of its embeddings, and one past the last.
    """

    id: str
    source: str
    page: int | None
    text: str
    image: str | None
    rows: tuple[int, int]

    @property
    def citation(self) -> str:
        """The source and the page on one line, for people."""
        source = visible(self.source)
        return source if self.page is None else f"{source}, page {self.page}"


def read_index(folder: Path) -> tuple[dict[str, Any], Path, list[Entry], Floats]:
    """Return the settings, the folder of the images, the places and the embeddings ``(rows, dimension)`` of an index.

    Raises:
        ConfigError: The index is missing or of another version, or one of its files is broken.
    """
    try:
        if not folder.is_dir():
            raise ConfigError(f"{str(folder)!r} is not a folder. {AGAIN}")
        number, settings = _read_settings(folder / FACTS)
        images = folder / WORDS[number][1]
        if images.is_symlink() or not images.is_dir():
            raise _broken(images, "is not a folder of the index")
        with _open(folder / EMBEDDINGS) as file:
            count = _rows(file, folder / EMBEDDINGS, settings["dimensions"])
            entries = _read_places(folder / PLACES, count, WORDS[number])
            return settings, images, entries, _read_rows(file, folder / EMBEDDINGS, (count, settings["dimensions"]))
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{str(folder)!r} cannot be read as an index ({error}). {AGAIN}") from None


def _read_settings(path: Path) -> tuple[int, dict[str, Any]]:
    """Return the format and the settings."""
    with _open(path) as file:
        facts = _object(path, None, file.read(FACTS_BYTES + 1), FACTS_BYTES)
    facts.setdefault("vectors", VECTORS)
    number = facts.get("format")
    if type(number) is not int or number not in WORDS:
        raise _broken(path, f"has format {_short(number)} and was written by another version; expected {FORMAT}")
    for name, types in SETTINGS.items():
        value = facts.get(name)
        if name not in facts or isinstance(value, bool) or not isinstance(value, types):
            raise _broken(path, f"has {name}={_short(value)}; expected {_named(types)}")
        if isinstance(value, int) and not 0 < value < 2**31:
            raise _broken(path, f"has {name}={_short(value)}; expected a positive number")
        if isinstance(value, str) and visible(value) != value:
            raise _broken(path, f"has {name}={_short(value)} with control characters or invalid Unicode")
    return number, {name: facts[name] for name in SETTINGS}


def _read_places(path: Path, count: int, words: tuple[str, str]) -> list[Entry]:
    """Return the places; their rows must run from 0 to ``count``, one for each image and each piece of text."""
    entries: list[Entry] = []
    row = 0
    with _open(path) as file:
        for number, line in _lines(file):
            entry = _entry(path, number, _object(path, number, line, LINE_BYTES), words)
            first, last = entry.rows
            own = (entry.image is not None) + sum(1 for _ in chunks(entry.text))
            if first != row or last - first != own or last > count:
                raise _broken(
                    path, f"line {number}: has rows {first} to {last}; expected {row} to {row + own} of {count}"
                )
            entries.append(entry)
            row = last
    if row != count:
        raise _broken(path, f"was not written to its end: its places have {row} rows, {EMBEDDINGS} has {count}")
    return entries


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the numbered lines that are not empty; a line over the limit is cut one byte after it."""
    number = 0
    while line := file.readline(LINE_BYTES + 1):
        number += 1
        if line != b"\n":
            yield number, line


def _entry(path: Path, number: int, fields: dict[str, Any], words: tuple[str, str]) -> Entry:
    word, folder = words
    names = [word if name == "image" else name for name in Entry.__dataclass_fields__]
    if set(fields) != set(names):
        raise _broken(path, f"line {number}: expected exactly {', '.join(names)}")
    rows, page, image = fields["rows"], fields["page"], fields.pop(word)
    for name in ("id", "source", "text"):
        if not isinstance(fields[name], str) or not _is_unicode(fields[name]):
            raise _broken(path, f"line {number}: {name} is {_short(fields[name])}; expected text of valid Unicode")
    if not fields["id"] or not fields["source"]:
        raise _broken(path, f"line {number}: id or source is empty")
    if page is not None and not (type(page) is int and 0 < page < 2**31):
        raise _broken(path, f"line {number}: page is {_short(page)}; expected a number from 1, or null")
    if image is not None and not _is_image(image, folder):
        raise _broken(path, f"line {number}: {word} is {_short(image)}; expected {folder}/000000.png or null")
    if not (isinstance(rows, list) and len(rows) == 2 and all(type(row) is int for row in rows)):
        raise _broken(path, f"line {number}: rows is {_short(rows)}; expected two numbers")
    return Entry(**{**fields, "image": image, "rows": (rows[0], rows[1])})


def _is_image(path: object, folder: str) -> bool:
    return isinstance(path, str) and path.startswith(f"{folder}/") and bool(_IMAGE.fullmatch(path, len(folder) + 1))


def _rows(file: BinaryIO, path: Path, dimension: int) -> int:
    """Read the header of an array and return its number of rows, checked against the file's size."""
    try:
        if np.lib.format.read_magic(file) != (1, 0):  # type: ignore[no-untyped-call]
            raise ValueError("of another version")
        reader: Any = np.lib.format.read_array_header_1_0
        shape, fortran, dtype = reader(file, max_header_size=HEADER_BYTES)
    except Exception as error:  # the errors of numpy's parser on hostile bytes are not documented
        raise _broken(path, f"is not an array ({type(error).__name__})") from None
    if dtype != np.dtype(np.float32) or fortran or len(shape) != 2 or shape[1] != dimension or shape[0] < 1:
        order = " in Fortran order" if fortran else ""
        raise _broken(path, f"has {_short(shape)} of {dtype}{order}; expected float32 (1 or more, {dimension})")
    size, expected = os.fstat(file.fileno()).st_size - file.tell(), shape[0] * dimension * 4
    if size != expected:
        raise _broken(path, f"was not written to its end: {size} bytes of numbers; expected {expected}")
    return int(shape[0])


def _read_rows(file: BinaryIO, path: Path, shape: tuple[int, int]) -> Floats:
    try:
        rows: Floats = np.fromfile(file, dtype=np.float32, count=shape[0] * shape[1]).reshape(shape)
        with np.errstate(all="ignore"):
            norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    except MemoryError:
        raise ConfigError(f"{str(path)!r} does not fit into memory: {shape[0]} rows of {shape[1]} numbers.") from None
    good = np.abs(norms - 1) <= NORM_LIMIT  # False for NaN
    if not good.all():
        row = int(np.argmin(good))
        raise _broken(path, f"row {row} has L2 norm {norms[row]:.3g}; expected 1")
    return rows


def _open(path: Path) -> BinaryIO:
    """Open a file of the index for reading, without waiting for a pipe."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _broken(path, "is not a regular file")
    return os.fdopen(handle, "rb")


def _object(path: Path, number: int | None, data: bytes, most: int) -> dict[str, Any]:
    where = "" if number is None else f"line {number}: "
    if len(data) > most:
        raise _broken(path, f"{where}is longer than {most} bytes")
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # the text of a JSONDecodeError holds nothing of the file
        raise _broken(path, f"{where}is not JSON in UTF-8 ({_kind(error)})") from None
    if not isinstance(value, dict):
        raise _broken(path, f"{where}is {_short(value)}; expected an object")
    return value


def _kind(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else visible(str(error))[:200]


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _short(value: object) -> str:
    """Return a short form for errors of a value of any size."""
    if isinstance(value, str):
        return ascii(value[:60])
    if isinstance(value, int | float | tuple | None) and len(shown := repr(value)) <= 60:
        return shown
    return f"a {type(value).__name__}"


def _named(types: tuple[type, ...]) -> str:
    return " or ".join({"str": "text", "int": "a number", "NoneType": "null"}[kind.__name__] for kind in types)


def _broken(path: Path, what: str) -> ConfigError:
    return ConfigError(f"{str(path)!r} {what}. {AGAIN}")
