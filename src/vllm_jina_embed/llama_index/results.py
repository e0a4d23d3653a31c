"""What a search found, as a chat model reads and sees it, within bounds.

Enters: nodes with scores. Leaves: text and JPEG bytes. This file refuses to search.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from typing import TypeAlias

from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore
from PIL import Image

from ..errors import InputError
from ..inputs.encoding import jpeg
from ..inputs.file_names import is_path_key, shown_name, valid_metadata, valid_unicode
from ..inputs.images import MediaPolicy, open_image
from ..inputs.metadata import THUMBNAIL_KEY
from ..inputs.references import is_data_uri
from ..inputs.sources import UNAVAILABLE
from .nodes import picture_of

_log = logging.getLogger(__name__)
Rendered: TypeAlias = "tuple[str, bytes | None]"
_REMEMBERED = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one answer may cost a chat model.

    Attributes:
        pictures: Most pictures shown; further ones are named only.
        side: Longest side of a shown picture, in pixels.
        picture_bytes: Most bytes of a shown picture.
        characters: Most characters of a result's text.
    """

    pictures: int = 4
    side: int = 768
    picture_bytes: int = 200_000
    characters: int = 2000


def rendered(number: int, hit: NodeWithScore, bounds: Bounds, media: MediaPolicy, *, show: bool) -> Rendered:
    """Return what stands for a result: a head with its number, its text, and its picture where it is to be shown.

    Of the host's files a chat model sees their names alone; why one cannot be shown is logged.
    """
    text = _text(hit.node)
    if len(text) > bounds.characters:
        text = text[: bounds.characters] + " [...]"
    score = "" if hit.score is None else f", score {hit.score:.3f}"
    if not has_picture(hit.node):
        return f"[{number}] text{score}\n{text}", None
    note, image = "not shown: this answer shows no more pictures", None
    if show:
        try:
            picture, note = opened(hit.node, media)
            image = jpeg(picture, max_side=bounds.side, max_bytes=bounds.picture_bytes)
        except InputError as error:
            _log.warning("the picture of node %r cannot be shown: %s", hit.node.node_id, error)
            note = f"cannot be shown: {UNAVAILABLE}, or it is not a picture"
    return f"[{number}] picture, id {hit.node.node_id}{score}{f' ({note})' if note else ''}\n{text}", image


def _text(node: BaseNode) -> str:
    """Return a node's text with its metadata, of whose paths the last part alone."""
    shown = node.model_copy()
    metadata = valid_metadata(node.metadata)
    paths = {key: shown_name(value) for key, value in metadata.items() if is_path_key(key) and isinstance(value, str)}
    shown.metadata = {**metadata, **paths}
    return valid_unicode(shown.get_content(metadata_mode=MetadataMode.LLM))


@dataclass(slots=True)
class Seen:
    """The pictures that were found last, by their node's id."""

    _nodes: dict[str, BaseNode] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, node: BaseNode) -> None:
        """Remember ``node`` as the last one; the oldest beyond the bound is forgotten."""
        with self._lock:
            self._nodes.pop(node.node_id, None)
            self._nodes[node.node_id] = node
            while len(self._nodes) > _REMEMBERED:
                del self._nodes[next(iter(self._nodes))]

    def get(self, name: str) -> BaseNode | None:
        """Return the node of that id, or None."""
        with self._lock:
            return self._nodes.get(name)

    def ids(self) -> list[str]:
        """Return what is remembered, the last one first."""
        with self._lock:
            return list(reversed(self._nodes))


def has_picture(node: BaseNode) -> bool:
    """Tell whether a node is one of a picture, be it there or not."""
    try:
        return picture_of(node) is not None
    except InputError:  # it has one that is gone or elsewhere
        return True


def opened(node: BaseNode, media: MediaPolicy) -> tuple[Image.Image, str]:
    """Return a node's picture, or its thumbnail with a note where the picture is gone."""
    try:
        source = picture_of(node)
        return open_image(source, media), ""
    except InputError:
        thumbnail = node.metadata.get(THUMBNAIL_KEY)
        if not isinstance(thumbnail, str) or not is_data_uri(thumbnail):
            raise
        return open_image(thumbnail, media), "a thumbnail: the picture itself cannot be opened"
