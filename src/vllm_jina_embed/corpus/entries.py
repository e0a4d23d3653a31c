"""Define an entry: an item of a corpus that is named, and not loaded yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError, InputError
from ..frameworks.shown_text import visible
from ..inputs.images import LoadedImage
from ..inputs.policy import MediaPolicy
from .kinds import ItemError

PAGES = ("image", "text", "both", "pieces")
"""What may be embedded of a page of a PDF; ``pieces`` is its image, and its text cut as that of a text file."""
OWN = ("id", "source", "page", "kind", "embedding", "embedding_bits", "multi_vector")
"""Columns that every corpus has for itself, which a kept column cannot be called."""
DPI = 144.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is embedded of an entry: a text, an image, or both as one item.

    Attributes:
        text: Of a page that is an image: its text, which is not embedded.
        image: The opened image.
        file: The image as a file, where a column keeps it.
        kept: Values of the kept columns.
        embeds_text: Whether ``text`` is embedded.
    """

    text: str = ""
    image: LoadedImage | None = None
    file: bytes | None = None
    kept: Mapping[str, Any] = field(default_factory=dict)
    embeds_text: bool = True

    @property
    def held_bytes(self) -> int:
        """About how many bytes its text, its image as a file and its kept columns have."""
        return _held(self.text) + _held(self.file) + _held(self.kept)

    @property
    def kind(self) -> str:
        """``text``, ``image`` or ``both``."""
        if self.image is None:
            return "text"
        return "both" if self.text and self.embeds_text else "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An item in the order of its corpus.

    Attributes:
        id: The same in every run: ``notes.md#L3-18``, ``photo.png``, ``report.pdf#page=2``, or what the row says.
        source: The file, as ``names.escape`` writes its path.
        page: Number of the page, from 1.
        signature: Cheap to have, and another one where the content is another.
        size: About how many bytes of its file it is.
        load: Reads and decodes it, in any thread; None for a page that has nothing of the kind.
        prepare: Called before ``load``, in the order of the entries and in one thread.
        quick: Whether ``load`` takes no time.
        error: Why it cannot be embedded, where that is known already.
    """

    id: str
    source: str
    page: int | None = None
    signature: bytes = b""
    size: int = 0
    load: Callable[[], Content | None] | None = None
    prepare: Callable[[], None] | None = None
    quick: bool = False
    error: ItemError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns of a table mean what, and what is embedded of a PDF.

    Attributes:
        id: Column with the ids; None takes ``id`` where a row has it, and the row's number elsewhere.
        text: Column with the texts.
        image: Column with the images: bytes, data URIs, or paths in ``image_root``.
        image_root: Folder of the images that a table names; None takes the table's own.
        keep: Columns to keep; ``text`` and ``image`` are those of every item.
        pages: One of ``PAGES``.
        dpi: Pixels per inch of a rendered page.
        media: Limits for images.
    """

    id: str | None = None
    text: str = "text"
    image: str = "image"
    image_root: str | None = None
    keep: tuple[str, ...] = ("text",)
    pages: str = "image"
    dpi: float = DPI
    media: MediaPolicy = field(default_factory=MediaPolicy)

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            ConfigError: Names the setting, what was got and what is allowed.
        """
        if self.pages not in PAGES:
            raise ConfigError(f"pages={self.pages!r} is unknown; choose one of {', '.join(PAGES)}.")
        if not 10 <= self.dpi <= 1200:
            raise ConfigError(f"dpi={self.dpi!r} must be between 10 and 1200.")
        for name in self.keep:
            if name in OWN:
                raise ConfigError(
                    f"keep={name!r}: every corpus has a column of that name ({', '.join(OWN)}). Rename it in the table."
                )
        if len(set(self.keep)) < len(self.keep):
            raise ConfigError(f"keep={self.keep!r} names a column twice.")

    @property
    def kept(self) -> tuple[str, ...]:
        """The columns of tables to keep, without ``text`` and ``image``, which are of every item."""
        return tuple(name for name in self.keep if name not in ("text", "image"))


def _held(value: Any) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Mapping):
        return _held(list(value.values()))
    return sum(map(_held, value)) if isinstance(value, list | tuple) else 0


def image_parts(loaded: LoadedImage, columns: Columns) -> dict[str, Any]:
    """Return the fields ``image`` and ``file`` of a content; the file's bytes are let go of unless they are kept."""
    pixels = LoadedImage(pixels=loaded.pixels)
    keeps = "image" in columns.keep
    return {"image": pixels, "file": loaded.browser_file(columns.media.max_bytes)[0] if keeps else None}


def bad(id_: str, source: str, error: ItemError, *, size: int = 0) -> Entry:
    """Return an entry that cannot be embedded."""
    return Entry(id=id_, source=source, signature=error.kind.encode(), size=size, error=error)


def item_error(error: Exception, kind: str) -> ItemError:
    """Return an error as one of an item, of ``kind`` unless it says its own."""
    if isinstance(error, ItemError):
        return error
    if isinstance(error, UnicodeError):
        return ItemError(f"it is not valid UTF-8 ({visible(str(error))}).", kind="encoding")
    if isinstance(error, OSError):
        return ItemError(f"it cannot be read ({error.strerror or type(error).__name__}).", kind="unreadable")
    if isinstance(error, InputError):
        return ItemError(str(error), kind=kind)
    return ItemError(f"it cannot be read ({type(error).__name__}: {visible(str(error))[:300]}).", kind=kind)
