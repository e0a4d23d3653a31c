"""Documents as their chunks: where each ends, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from vllm_jina_embed.errors import InputError
from vllm_jina_embed.inputs.documents import chunked
from vllm_jina_embed.inputs.items import BadItem, TextItem


def test_chunks_follow_each_other_as_they_are() -> None:
    """White space included; ends count characters, not bytes."""
    items, ends = chunked([["One. ", "Two.\n"], ("浜辺🙂",)])
    assert items == [
        TextItem(position=0, where="documents[0]", text="One. Two.\n"),
        TextItem(position=1, where="documents[1]", text="浜辺🙂"),
    ]
    assert ends == {0: (5, 10), 1: (3,)}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("One. Two.", "got str; expected the chunks of a document, a list of texts"),
        ([], "got an empty list; expected the chunks"),
        (5, "got int; expected the chunks"),
        (["a", ""], r"chunk 1: got an empty text \(''\)"),
        (["a", "  "], "chunk 1: got an empty text"),
        (["a", None], "chunk 1: got NoneType; expected a string"),
        (["\ud800"], "chunk 0: got a text that is not valid Unicode"),
    ],
)
def test_what_is_none_is_a_bad_item_in_its_place(value: Any, message: str) -> None:
    """The others stay."""
    items, ends = chunked([["a"], value, ["b"]])
    assert [type(item) for item in items] == [TextItem, BadItem, TextItem]
    bad = items[1]
    assert isinstance(bad, BadItem)
    assert bad.error.positions == (1,)
    with pytest.raises(InputError, match=rf"^documents\[1\]: {message}"):
        raise bad.error
    assert set(ends) == {0, 2}


def test_one_document_is_not_a_list_of_them() -> None:
    with pytest.raises(InputError, match="documents: got one str; expected a list"):
        chunked("One. Two.")
    items, _ = chunked(["One.", "Two."])
    assert all(isinstance(item, BadItem) for item in items)
