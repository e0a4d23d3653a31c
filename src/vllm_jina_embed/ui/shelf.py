"""The items that one page was given: checked, within bounds, and gone with the page."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from uuid import uuid4

from .._arrays import Floats
from ..corpus.walking import TEXTS
from ..errors import InputError
from ..frameworks.shown_text import visible
from ..inputs.encoding import jpeg
from ..inputs.images import open_image
from ..inputs.policy import MediaPolicy

MEDIA = MediaPolicy(allow_local_files=False, max_bytes=32 * 1024 * 1024)
"""Limits for images that are dropped."""
SIDE = 480
"""Longest side of an image in a list, in pixels."""
NAME_CHARACTERS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much one page may be given.

    Attributes:
        items: Texts and images.
        bytes: Of all their files and texts together.
        characters: Of one text.
    """

    items: int = 100
    bytes: int = 64 * 1024 * 1024
    characters: int = 20_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Item:
    """A text or an image that was dropped.

    Attributes:
        key: Of this item alone.
        name: Its file's name, as a page may show it.
        text: Empty for an image.
        file: The image as it came; None for a text.
        thumbnail: The image as a small JPEG.
    """

    key: str
    name: str
    text: str = ""
    file: bytes | None = None
    thumbnail: bytes | None = None

    @property
    def kind(self) -> str:
        """``text`` or ``image``."""
        return "text" if self.file is None else "image"

    @property
    def content(self) -> dict[str, object]:
        """What an embedder takes."""
        return {"text": self.text} if self.file is None else {"image": self.file}

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return len(self.text.encode("utf-8", "replace")) if self.file is None else len(self.file)


@dataclass(slots=True, eq=False)
class Shelf:
    """Items in the order in which they came, with their embeddings.

    Attributes:
        bounds: How much there may be.
        items: What is there.
        embeddings: float32 ``(dimensions,)`` by the items' keys.
        is_open: Whether its page is connected; else nothing is taken.
    """

    bounds: Bounds = field(default_factory=Bounds)
    items: dict[str, Item] = field(default_factory=dict)
    embeddings: dict[str, Floats] = field(default_factory=dict)
    is_open: bool = False

    def put(self, item: Item, embedding: Floats | None) -> None:
        """Add an item.

        Raises:
            InputError: As ``check_room``.
        """
        self.check_room(item.size)
        self.items[item.key] = item
        if embedding is not None:
            self.embeddings[item.key] = embedding

    def check_room(self, size: int) -> None:
        """Check that there is room for one more item.

        Raises:
            InputError: There is not, or the page is not open; says how much there may be.
        """
        if not self.is_open:
            raise InputError("the page is not open any more. Load it again.")
        if len(self.items) >= self.bounds.items:
            raise InputError(f"there are {len(self.items)} items; at most {self.bounds.items} are kept. Remove some.")
        held = sum(item.size for item in self.items.values())
        if held + size > self.bounds.bytes:
            most = f"{self.bounds.bytes // 2**20} MiB"
            raise InputError(f"the items would hold {held + size} bytes; at most {most} are kept. Remove some.")

    def remove(self, key: str) -> None:
        """Remove an item, if it is there."""
        self.items.pop(key, None)
        self.embeddings.pop(key, None)

    def close(self) -> None:
        """Let go of everything; nothing can be added any more."""
        self.is_open = False
        self.items.clear()
        self.embeddings.clear()


async def item_of(name: str, data: bytes, bounds: Bounds) -> Item:
    """Return what was dropped: a text if its name says so, else an image.

    Args:
        name: The file's name, which may hold anything.
        data: The file.
        bounds: How long a text may be.

    Raises:
        InputError: It is neither, or too large.
    """
    if PurePosixPath(name.replace("\\", "/")).suffix.lower() in TEXTS:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise InputError("the file is not a text in UTF-8.") from None
        return text_item(text, bounds, name=name)
    thumbnail = await asyncio.to_thread(_thumbnail, data)
    return Item(key=uuid4().hex, name=shown_name(name), file=data, thumbnail=thumbnail)


def text_item(text: str, bounds: Bounds, *, name: str = "") -> Item:
    """Return a text that was dropped or typed in.

    Raises:
        InputError: It is empty or too long.
    """
    text = text.strip()
    if not text or len(text) > bounds.characters:
        raise InputError(f"got a text of {len(text)} characters; expected 1 to {bounds.characters}.")
    if "\0" in text:
        raise InputError("got a text with NUL characters, which is not a text.")
    shown = shown_name(name) if name else f"Text: {' '.join(text.split())[:40]}"
    return Item(key=uuid4().hex, name=visible(shown), text=text)


def shown_name(name: str) -> str:
    """Return a file's name for a page: its last part, on one line, not too long."""
    last = visible(PurePosixPath(name.replace("\\", "/")).name) or "unnamed"
    return last if len(last) <= NAME_CHARACTERS else f"{last[: NAME_CHARACTERS - 3]}..."


def _thumbnail(data: bytes) -> bytes:
    return jpeg(open_image(data, MEDIA), max_side=SIDE)


@dataclass(slots=True, eq=False)
class Shelves:
    """The shelves of all pages that are connected; a page that was only loaded does not count.

    Attributes:
        most: How many there may be.
        bounds: Of each.
        open: Those that are open.
    """

    most: int = 32
    bounds: Bounds = field(default_factory=Bounds)
    open: set[Shelf] = field(default_factory=set)

    def new(self) -> Shelf:
        """Return an empty shelf for a page that is loaded."""
        return Shelf(self.bounds)

    def enter(self, shelf: Shelf) -> bool:
        """Open the shelf of a page that is connected, and tell whether there was room for it."""
        if shelf not in self.open and len(self.open) >= self.most:
            return False
        self.open.add(shelf)
        shelf.is_open = True
        return True

    def leave(self, shelf: Shelf) -> None:
        """Let go of a page's items."""
        shelf.close()
        self.open.discard(shelf)
