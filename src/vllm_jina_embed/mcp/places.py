"""Find the places of a corpus: a text, an image, or a page of a PDF with its image and the pieces of its text."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._arrays import Floats
from ..corpus import Corpus, Row
from ..corpus.lookup import lookup_of
from ..corpus.names import unescape
from ..errors import InputError
from ..frameworks.shown_text import visible
from ..inputs.policy import MediaPolicy

REMEMBERED = 4096
"""Ids that are known by the form that answers show, where it differs from the id itself."""
MOST_CHARACTERS = 4096
"""Longest id that is looked for."""
_PIECE = re.compile(r"/text(?:\.([0-9]{1,9}))?\Z", re.ASCII)
_LINES = re.compile(r"#L([0-9]{1,12})-[0-9]{1,12}(?:\.([0-9]{1,9}))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a search finds and a citation names.

    Attributes:
        id: Of its image, or of a text that has none; a page's is ``report.pdf#page=2``.
        source: Its file.
        page: Number of the page, from 1.
        text: Its text, or that of its pieces, as far as the corpus keeps it.
        rows: Its rows, that of the image first.
        score: The best of its rows.
    """

    id: str
    source: str
    page: int | None
    text: str
    rows: tuple[Row, ...]
    score: float | None = None

    @property
    def citation(self) -> str:
        """The source and the page on one line, for people."""
        source = visible(self.source)
        return source if self.page is None else f"{source}, page {self.page}"

    @property
    def image(self) -> Row | None:
        """The row with its image."""
        return self.rows[0] if self.rows[0].kind != "text" else None


class Places:
    """The places of a corpus."""

    def __init__(self, corpus: Corpus, *, read_files: bool = False) -> None:
        """Open nothing but what a call needs.

        Args:
            corpus: The corpus.
            read_files: Whether images that it does not keep are read from the files that it was made of, below the
                folders that its manifest names.
        """
        self.corpus, self._read_files = corpus, read_files
        self._lookup = lookup_of(corpus)
        self._shown: OrderedDict[str, str] = OrderedDict()

    def search(self, embedding: Floats | None, tokens: Floats | None, count: int) -> list[Place]:
        """Return the places nearest to a question with their scores, best first; each is there once.

        Args:
            embedding: float32 ``(dimensions,)``.
            tokens: float32 ``(n_tokens, token_dimensions)``.
            count: How many.

        Raises:
            InputError: A vector is not finite.
        """
        if any(rows is not None and not np.isfinite(rows).all() for rows in (embedding, tokens)):
            raise InputError("the question has no embedding: it is not a finite vector.")
        most = 2 * count
        while True:
            rows = self.corpus.search(embedding, multi_vector=tokens, count=most)
            best: dict[str, Row] = {}
            for row in rows:
                if row.score is not None and np.isfinite(row.score):
                    best.setdefault(place_id(row), row)
            if len(best) >= count or len(rows) < most:
                break
            most *= 4  # the pieces of a few pages stand before all others
        return self._whole(dict(list(best.items())[:count]))

    def get(self, name: str) -> Place | None:
        """Return the place of an id, as stored or as answers show it, or None."""
        name = self._shown.get(name, name)
        if not name or len(name) > MOST_CHARACTERS or "\0" in name or not _is_unicode(name):
            return None
        found = self._lookup.rows("id", [name, f"{name}/text"])
        rows = [row for row in found if name in (row.id, place_id(row))]
        if not rows:
            return None
        return self._place((rows[0].page is not None and self._light(rows[0].source, place_id(rows[0]))) or rows[:1])

    def neighbours(self, place: Place) -> tuple[str | None, str | None]:
        """Return the ids of the places before and after one in the same file, or None."""
        if place.page is None and not _LINES.search(place.id):
            return None, None
        rows = sorted(self._lookup.rows("source", [place.source], light=True), key=_order)
        names = list(dict.fromkeys(map(place_id, rows)))
        at = names.index(place.id)
        before, after = names[at - 1 : at], names[at + 1 : at + 2]
        self._remember([*before, *after])
        return (before[0] if before else None), (after[0] if after else None)

    def vectors(self, place: Place) -> tuple[Floats | None, Floats | None]:
        """Return what is stored of a place's image, or of its text if it has none; None where the store tells none."""
        return self._lookup.vectors(place.rows[0].id)

    def image(self, row: Row, media: MediaPolicy) -> Any:
        """Return what ``open_image`` takes of a row with an image, or why there is none.

        A file is opened only below a folder that the manifest names, whatever the row says.
        """
        if row.image is not None:
            return row.image
        if not self._read_files:
            return InputError("the corpus keeps no image of it. Start the server with --read-files.")
        try:
            self._check_inside(row)
            loaded = self.corpus.image(row, media=media)
        except Exception as error:  # of a file that is gone or broken; errors of pdfium
            return InputError(f"{type(error).__name__}: {error}")  # is logged, and no client reads it
        return InputError("there is none.") if loaded is None else loaded

    # --- inside -----------------------------------------------------------------------------------------------------

    def _whole(self, best: Mapping[str, Row]) -> list[Place]:
        """Return the places of the rows that were found; a page that was found by a piece has its image too."""
        missing = [name for name, row in best.items() if row.page is not None and row.id != name]
        images = {row.id: row for row in self._lookup.rows("id", missing)} if missing else {}
        places = []
        for name, row in best.items():
            other = images.get(name)
            places.append(self._place([row] if other is None else [other], score=row.score))
        return places

    def _light(self, source: str, name: str) -> list[Row]:
        """Return all rows of a place, the pieces of its text in order."""
        found = self._lookup.rows("source", [source], light=True)
        ids = [row.id for row in sorted(found, key=_order) if place_id(row) == name]
        rows = {row.id: row for row in self._lookup.rows("id", ids)} if len(ids) > 1 else {}
        return [rows[id_] for id_ in ids if id_ in rows]

    def _place(self, rows: Iterable[Row], *, score: float | None = None) -> Place:
        ordered = tuple(sorted(rows, key=lambda row: row.kind == "text"))
        first = ordered[0]
        name = place_id(first)
        self._remember([name])
        is_whole = first.kind != "text" and bool(first.text)
        text = first.text if is_whole else "\n\n".join(row.text for row in ordered if row.text)
        return Place(id=name, source=first.source, page=first.page, text=text, rows=ordered, score=score)

    def _remember(self, names: Iterable[str]) -> None:
        for name in names:
            if visible(name) != name:
                self._shown[visible(name)] = name
                while len(self._shown) > REMEMBERED:
                    self._shown.popitem(last=False)

    def _check_inside(self, row: Row) -> None:
        """Check that no file of a row lies outside the folders that the corpus was made of.

        Raises:
            InputError: One does.
        """
        for source in self.corpus.manifest["items"]["sources"]:
            root = Path(unescape(source["root"])).resolve()
            path = Path(root, unescape(row.source.removeprefix(source["prefix"])))
            if row.source.startswith(source["prefix"]) and not path.resolve().is_relative_to(root):
                raise InputError("its file lies outside the folders of the corpus.")


def place_id(row: Row) -> str:
    """Return the id of a row's place: that of the page for a piece of its text, its own elsewhere."""
    return row.id if row.page is None else page_id(row.id)


def page_id(name: str) -> str:
    """Return the id of a page of a PDF by that of its image or of a piece of its text."""
    return _PIECE.sub("", name)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _order(row: Row) -> tuple[int, int, int]:
    """Return where a row stands in its file."""
    if row.page is not None:
        piece = _PIECE.search(row.id)
        return row.page, 0 if piece is None else int(piece[1] or 1), 0
    lines = _LINES.search(row.id)
    return (0, 0, 0) if lines is None else (0, int(lines[1]), int(lines[2] or 1))
