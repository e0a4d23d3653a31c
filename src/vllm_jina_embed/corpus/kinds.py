"""The kinds of errors of a corpus's items, which its table of errors counts."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..errors import InputError

KINDS = {
    "unreadable": "a file or folder cannot be read, is not a regular file, or is a link out of its folder",
    "empty": "there is neither a text nor an image",
    "encoding": "a text is not UTF-8 or not valid Unicode",
    "row": "a row or a table cannot be read",
    "column": "a column is missing, or holds a value of another type",
    "id": "there is no id, or it is not a text or a whole number",
    "duplicate": "an item before it has the same id",
    "image": "an image cannot be opened, or breaks the media policy",
    "pdf": "a PDF cannot be read",
    "locked": "a PDF has a password",
    "page": "a page of a PDF cannot be read",
    "long": "a text is over max_length, or a row, page or file over its limit",
    "embedding": "the model has no vector for it",
}
"""Each kind, and what it means."""


class ItemError(InputError):
    """An item that cannot be embedded.

    Attributes:
        kind: One of ``KINDS``.
    """

    def __init__(self, reason: str, *, kind: str) -> None:
        super().__init__(reason)
        assert kind in KINDS, kind
        self.kind = kind

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the call that makes an equal error, so that it can cross processes."""
        return partial(ItemError, kind=self.kind), (self.reason,)
