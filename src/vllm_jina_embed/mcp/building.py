"""Build an index on disk; each place is embedded whole, or left out with its reason."""

from __future__ import annotations

import json
import os
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .._arrays import Floats
from ..corpus.chunking import chunks
from ..errors import ConfigError, InputError, WriteError
from ..frameworks.shown_text import visible
from .answers import Answer, Content, answers
from .computed import Computed, UnwrittenError, writing
from .layout import EMBEDDINGS, FACTS, FORMAT, IMAGES, PLACES, Entry
from .reading import Place

SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif"}


def build(places: Iterable[Place], folder: Path, embedder: Any, left_out: dict[str, str] | None = None) -> int:
    """Write an index and return its number of places; an existing one is replaced once the new one is complete.

    A run that fails keeps its embeddings in a file beside ``folder``, and the next run for that folder uses them.

    Args:
        places: The places to index.
        folder: The folder of the index; missing parents are created.
        embedder: A ``JinaEmbedder``.
        left_out: Filled with the id and the reason of each place that cannot be embedded.

    Raises:
        ConfigError: ``folder`` cannot become an index; nothing was computed.
        InputError: There is nothing to index.
        WriteError: The disk is full, for example; says what was kept.
    """
    folder = _checked(folder)
    facts = _facts(embedder)
    computed = Computed(folder.parent / f".{folder.name}-computed", embedder.fingerprint, facts["dimensions"])
    with _write_errors(folder, computed), _temporary(folder) as temporary:
        new = temporary / "new"
        with writing():
            (new / IMAGES).mkdir(parents=True)
        writer = _Writer(new, {} if left_out is None else left_out)
        writer.write(places, embedder, computed)
        if not writer.count:
            computed.delete()
            raise InputError("there is no image, text or PDF to index.")
        with writing():
            writer.finish(facts)
            _swap(new, folder, temporary / "old")
            computed.delete()
    return writer.count


class _Writer:
    """Writes each place once all its embeddings are there."""

    def __init__(self, folder: Path, left_out: dict[str, str]) -> None:
        self.count = 0
        self._folder, self._left_out = folder, left_out
        self._pending: deque[_Pending] = deque()
        self._lines: list[bytes] = []
        self._rows: list[Floats] = []

    def write(self, places: Iterable[Place], embedder: Any, computed: Computed) -> None:
        """Embed the places and record them; images are written at once."""
        for answer in answers(self._contents(places), embedder, computed):
            self._pending[0].answers.append(answer)
            if len(self._pending[0].answers) == self._pending[0].size:
                self._note(self._pending.popleft())

    def finish(self, facts: dict[str, Any]) -> None:
        """Write the embeddings, the places and the settings, and flush them to disk."""
        with _new(self._folder / EMBEDDINGS) as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(self._rows), facts["dimensions"])}
            np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
            for row in self._rows:
                file.write(np.asarray(row, dtype="<f4").tobytes())
        with _new(self._folder / PLACES) as file:
            file.writelines(self._lines)
        with _new(self._folder / FACTS) as file:
            file.write(json.dumps(facts, indent=2).encode())

    def _contents(self, places: Iterable[Place]) -> Iterator[Content]:
        """Yield the items to embed of each place, its image before its text."""
        number = 0
        for place in places:
            texts = [text for _, _, text in chunks(place.text)]
            if not texts and place.image is None:
                continue
            pending = _Pending(place=replace(place, image=None), size=len(texts) + (place.image is not None))
            if place.image is not None:
                pending.image = f"{IMAGES}/{number:06d}{SUFFIXES.get(place.image[1], '')}"
                with writing():
                    (self._folder / pending.image).write_bytes(place.image[0])
            number += 1
            self._pending.append(pending)
            if place.image is not None:
                yield place.image[0]
            yield from texts

    def _note(self, pending: _Pending) -> None:
        reason = next((answer for answer in pending.answers if isinstance(answer, str)), None)
        if reason is not None:
            self._left_out[pending.place.id] = reason
            if pending.image is not None:
                (self._folder / pending.image).unlink()
            return
        first = len(self._rows)
        self._rows += [answer for answer in pending.answers if not isinstance(answer, str)]
        place, rows = pending.place, (first, len(self._rows))
        entry = Entry(
            id=place.id, source=place.source, page=place.page, text=place.text, image=pending.image, rows=rows
        )
        self._lines.append(json.dumps(asdict(entry), ensure_ascii=False).encode() + b"\n")
        self.count += 1


@dataclass(slots=True, kw_only=True)
class _Pending:
    """A place whose embeddings are being computed.

    Attributes:
        place: The place, without its image's bytes.
        size: Number of its embeddings.
        image: Path of its image in the index.
        answers: The embeddings so far, and reasons in place of failed ones.
    """

    place: Place
    size: int
    image: str | None = None
    answers: list[Answer] = field(default_factory=list)


def _facts(embedder: Any) -> dict[str, Any]:
    """Return the content of index.json.

    Raises:
        ConfigError: The checkpoint's name is not valid Unicode on one line, or its vectors are not normalised.
    """
    engine, checkpoint = embedder.settings.engine, embedder.settings.checkpoint
    has_pixels = checkpoint.has_pixel_bounds  # elsewhere the settings have bounds that nobody may pass
    if visible(embedder.model) != embedder.model:
        raise ConfigError(f"the checkpoint's path {embedder.model!r} is not valid Unicode on one line; rename it.")
    if not embedder.settings.normalize:
        raise ConfigError("normalize=False: an index holds vectors of L2 norm 1. Pass an embedder without it.")
    return {
        "format": FORMAT,
        "model": embedder.model,
        "revision": engine.revision,
        "task": embedder.task,
        "dimensions": embedder.settings.dimensions,
        "min_pixels": engine.min_pixels if has_pixels else None,
        "max_pixels": engine.max_pixels if has_pixels else None,
        "vectors": checkpoint.row.vectors,
    }


def _checked(folder: Path) -> Path:
    """Return the folder's full path, after every check that is possible before hours of computing.

    Raises:
        ConfigError: An index cannot be written there.
    """
    try:
        full = folder.resolve()
        if full.exists() and not (full / FACTS).is_file() and (not full.is_dir() or any(full.iterdir())):
            raise ConfigError(f"{str(folder)!r} exists and is not an index; give the path of a new folder.")
        if full.is_mount():
            raise ConfigError(f"{str(folder)!r} is a mount point; give the path of a folder below it.")
        full.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=full.parent, prefix=".index-") as temporary:
            (Path(temporary) / f".{full.name}-computed").touch()
    except (OSError, ValueError, RuntimeError) as error:  # no right to write, a path with NUL, a link to itself
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"an index cannot be written to {str(folder)!r} ({error}).") from error
    return full


@contextmanager
def _write_errors(folder: Path, computed: Computed) -> Iterator[None]:
    """Turn a failed write into an error that says where, why, and what was kept."""
    try:
        yield
    except UnwrittenError as error:
        message = f"the index {str(folder)!r} cannot be written ({error})."
        if computed.count:
            message += (
                f" {computed.count} embeddings are kept in {str(computed.path)!r}: make room and run the same "
                "command again; they are not computed again."
            )
        raise WriteError(message) from error.__cause__


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    with writing():
        temporary = tempfile.TemporaryDirectory(dir=folder.parent, prefix=".index-", ignore_cleanup_errors=True)
    with temporary as path:
        yield Path(path)


@contextmanager
def _new(path: Path) -> Iterator[BinaryIO]:
    """Open a new file for writing, and flush it to disk at the end."""
    with path.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _swap(new: Path, folder: Path, old: Path) -> None:
    """Replace ``folder`` by ``new``; restore it if that fails."""
    if not folder.exists():
        new.rename(folder)
        return
    folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        old.rename(folder)
        raise
