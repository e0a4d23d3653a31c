"""Check documents that come as their chunks, for late chunking."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

from ..errors import InputError
from .items import Checked, TextItem, _each, checked_text


def chunked(values: Iterable[object]) -> tuple[list[Checked], dict[int, tuple[int, ...]]]:
    """Return the text of each document, and by its position where its chunks end in it, in characters.

    Args:
        values: For each document its chunks: texts that follow each other as they are, white space included.

    Raises:
        InputError: ``values`` is not a list.
    """
    ends: dict[int, tuple[int, ...]] = {}

    def read(value: object, position: int, where: str) -> TextItem:
        if not isinstance(value, list | tuple) or not value:
            got = "an empty list" if isinstance(value, list | tuple) else type(value).__name__
            raise InputError(f"got {got}; expected the chunks of a document, a list of texts that follow each other.")
        chunks = []
        for number, chunk in enumerate(value):
            try:
                chunks.append(checked_text(chunk))
            except InputError as error:
                raise InputError(f"chunk {number}: {error.reason}") from None
        ends[position] = tuple(accumulate(map(len, chunks)))
        return TextItem(position=position, where=where, text="".join(chunks))

    return _each(values, "documents", read), ends
