"""What a chat model reads and sees of a search: numbered texts, and images within bounds.

LangChain's tool, LlamaIndex's tool and the MCP server translate what they found into ``Match``es, and the texts and
JPEG files that ``View.blocks`` gives into their own blocks. The chat model never names a file: it asks for an image's
like by a name that an answer gave, or brings an image along as a data URI. No answer names a folder of this machine.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from typing import Any, TypeAlias

from PIL import Image

from ..errors import ConfigError, InputError
from ..inputs.encoding import jpeg
from ..inputs.file_names import shown_name, valid_unicode
from ..inputs.images import MediaPolicy, open_image
from ..inputs.metadata import PATH_KEY
from ..inputs.references import image_string, is_data_uri
from ..inputs.sources import UNAVAILABLE
from .shown_text import visible, without_paths

_log = logging.getLogger(__name__)
NAME = "search_texts_and_images"
DESCRIPTION = (
    "Searches a collection of texts and images by meaning, in any language. Returns the best matches, numbered, with "
    "their sources; images can be seen. Cite matches by their number, like [1]."
)
ABOUT_QUERY = "What to look for: a question or a description, in words of any language."
ABOUT_IMAGE = (
    "To look for what resembles an image, instead of query: the name of an image in an earlier result (image-...), or "
    "a data:image/...;base64, URI."
)
NOTHING = "Nothing was found."
NO_MORE = "this answer shows no more images"
SOURCE_KEYS = ("source", PATH_KEY, "file_path", "path", "url", "title", "file_name")
PAGE_KEYS = ("page_label", "page")
REMEMBERED = 256
"""Images that one tool knows by name, the last ones found."""
_SOURCE_CHARACTERS = 300
_LEAST = {"max_images": 0, "max_side": 1, "max_bytes": 1000, "max_characters": 1}
"""Smallest bounds; a JPEG of 16 pixels always fits into 1000 bytes."""

Block: TypeAlias = "str | bytes"
"""A text, or an image as a JPEG file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one answer may cost a chat model.

    Attributes:
        max_images: Images shown per answer; further ones are named only.
        max_side: Longest side of a shown image in pixels; larger ones are reduced.
        max_bytes: Most bytes of a shown image, which is a JPEG.
        max_characters: Characters given of a text or caption.
    """

    max_images: int = 4
    max_side: int = 768
    max_bytes: int = 200_000
    max_characters: int = 2000

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises:
            ConfigError: Names one that is not a whole number or too small.
        """
        for name in (item.name for item in fields(self)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < _LEAST[name]:
                raise ConfigError(f"{name}={value!r}; expected a whole number from {_LEAST[name]} on.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One result of a search.

    Attributes:
        source: Where it comes from, as a citation names it; see ``citation``.
        text: Its text, or the caption of its image.
        image: What ``open_image`` takes, or the error because of which there is none; None for a text.
        thumbnail: A data URI to show where the image cannot be opened.
        key: What decides the image's name: equal keys have equal names.
        id: By which the place can be opened, where that can be done.
        score: Its score, where there is one.
    """

    source: str
    text: str = ""
    image: Any = None
    thumbnail: object = None
    key: str = ""
    id: str = ""
    score: float | None = None

    @property
    def name(self) -> str:
        """By which the model can ask for this image's like."""
        return f"image-{hashlib.sha256(self.key.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the model asks by: words, or an image.

    Attributes:
        text: The words, or empty.
        image: A ``Match`` of an earlier answer, a data URI, or an image that the application named.
        name: How the model named the image.
    """

    text: str = ""
    image: Any = None
    name: str = ""


@dataclass(slots=True, kw_only=True)
class View:
    """What a chat model sees of one collection; it remembers the images that it named, ``REMEMBERED`` at most.

    Attributes:
        bounds: What one answer may cost.
        media: Limits for the images that are opened.
        no_more: What is said of an image over ``max_images``.
        keeps_images: Whether what opens an image is remembered too, or its key alone.
    """

    bounds: Bounds
    media: MediaPolicy
    no_more: str = NO_MORE
    keeps_images: bool = True
    _named: dict[str, Match] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def blocks(self, matches: Iterable[Match]) -> list[Block]:
        """Return a text for each match, in order, followed by its image where there is one and room for it."""
        blocks: list[Block] = []
        shown = 0
        for number, match in enumerate(matches, 1):
            note, image = "", None
            if match.image is not None:
                self._remember(match)
                note, image = (
                    self.shown(match) if shown < self.bounds.max_images else (f"not shown: {self.no_more}", None)
                )
            text = cut(match.text, self.bounds.max_characters)
            blocks.append(f"[{number}] {_head(match, note)}\n{text}".rstrip("\n"))
            if image is not None:
                blocks.append(image)
                shown += 1
        return blocks or [NOTHING]

    def shown(self, match: Match) -> tuple[str, bytes | None]:
        """Return a note, empty where all is well, and a match's image as JPEG; why there is none is logged."""
        try:
            image, note = self.opened(match)
        except InputError as error:
            _log.warning("the image %r that was found cannot be shown: %s", match.key[:200], error)
            return f"cannot be shown: {UNAVAILABLE}, or it is not an image", None
        return note, jpeg(image, max_side=self.bounds.max_side, max_bytes=self.bounds.max_bytes)

    def opened(self, match: Match) -> tuple[Image.Image, str]:
        """Return a match's image, or its thumbnail with a note where the image is gone.

        Raises:
            InputError: Neither can be opened.
        """
        try:
            if isinstance(match.image, InputError):
                raise match.image
            return open_image(match.image, self.media), ""
        except InputError:
            if not isinstance(match.thumbnail, str) or not is_data_uri(match.thumbnail):
                raise
            return open_image(match.thumbnail, self.media), "a thumbnail: the image itself cannot be opened"

    def question(self, query: object, image: object, others: Mapping[str, Any] | None = None) -> Question:
        """Return what the model asks by; an image's name is understood as ``query`` too.

        Args:
            query: What the model passed as such, and as ``image``.
            image: The name of an image, or its data URI.
            others: Images that the application named; they come before those of earlier answers.

        Raises:
            InputError: Neither or both were given, or there is no such image; in words for the model.
        """
        text, name = one_of(query, image)
        others = {} if others is None else others
        if name and name in others:
            return Question(image=others[name], name=name)
        match = self._find(name or text)
        if match is not None:
            return Question(image=match, name=name or text)
        if text:
            return Question(text=text)
        uri = image_string(name)
        if uri is not None and is_data_uri(uri):
            return Question(image=uri, name=name)
        raise InputError(
            f"there is no image {name[:80]!r}; known ones: {self._known(others)}. Give the name of one, or a "
            "data:image/...;base64, URI."
        )

    def _remember(self, match: Match) -> None:
        with self._lock:
            self._named.pop(match.name, None)
            self._named[match.name] = match if self.keeps_images else replace(match, image=None)
            while len(self._named) > REMEMBERED:
                del self._named[next(iter(self._named))]

    def _find(self, name: str) -> Match | None:
        with self._lock:
            return self._named.get(name)

    def _known(self, others: Collection[str]) -> str:
        with self._lock:
            names = [*islice(others, 20), *islice(reversed(self._named), 20)]
        return ", ".join(names[:20]) or "none yet"


def own_media(media: MediaPolicy | None, *sources: object) -> MediaPolicy:
    """Return ``media``, or where it is None the policy of the first source that has one: an embedder, a retriever.

    Raises:
        ConfigError: ``media`` is something else.
    """
    if media is not None and not isinstance(media, MediaPolicy):
        raise ConfigError(f"media: got {type(media).__name__}; expected a MediaPolicy.")
    policies = (media, *(getattr(source, "media", None) for source in sources))
    return next((policy for policy in policies if isinstance(policy, MediaPolicy)), MediaPolicy())


def one_of(query: object, image: object) -> tuple[str, str]:
    """Return both without the white space around them, one of them empty.

    Raises:
        InputError: Neither or both were given, or one that is not a string: a model's JSON may hold anything.
    """
    for name, value in (("query", query), ("image", image)):
        if value is not None and not isinstance(value, str):
            raise InputError(f"{name}: got {type(value).__name__}; expected a string.")
    text, name = str(query or "").strip(), str(image or "").strip()
    if bool(text) == bool(name):
        raise InputError(f"give a query, or an image{', not both' if text else ''}.")
    return text, name


@contextmanager
def errors_for(question: Question) -> Iterator[None]:
    """Make an ``InputError`` one that the model may read: without paths, and telling nothing of other files."""
    try:
        yield
    except InputError as error:
        if question.image is None or is_data_uri(question.name):
            raise InputError(without_paths(str(error))) from error
        _log.warning("the image %r cannot be searched by: %s", question.name, error)
        raise InputError(f"the image {question.name[:80]!r} cannot be opened: {UNAVAILABLE}.") from None


def citation(metadata: Mapping[str, Any]) -> str:
    """Return where a match comes from: its source or path, and its page; of an absolute path its name alone."""
    source = next((shown_name(metadata[key]) for key in SOURCE_KEYS if metadata.get(key)), "no source")
    page = next((metadata[key] for key in PAGE_KEYS if metadata.get(key) is not None), None)
    return cut(source if page is None else f"{source}, page {page}", _SOURCE_CHARACTERS)


def cut(text: str, characters: int) -> str:
    """Return ``text`` as valid Unicode, with a mark where its end is left out."""
    text = valid_unicode(text)
    return text if len(text) <= characters else f"{text[:characters]} [...]"


def _head(match: Match, note: str) -> str:
    """Return a match's citation, id, score, image name and note on one line, which no name of a file can break."""
    parts = [
        f"id {match.id}" if match.id else "",
        "" if match.score is None else f"score {match.score:.3f}",
        match.name if match.image is not None else "",
        note,
    ]
    details = ", ".join(filter(None, parts))
    return visible(valid_unicode(f"{match.source} ({details})" if details else match.source))
