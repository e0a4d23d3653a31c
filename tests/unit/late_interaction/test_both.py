"""Texts with their images in a late interaction index: with a row's own prompt, and never by a mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory
from vllm_jina_embed.checkpoints.prompt_pieces import Slot, Special
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.errors import InputError
from vllm_jina_embed.late_interaction import LateInteractionIndex

TOGETHER = replace(
    JINA_V4,
    name="own-both",
    templates={**JINA_V4.templates, ("any", "both"): (Slot.TEXT, Special("<|im_end|>"), Slot.IMAGES)},
    vectors_before={},
)
IMAGE = noise(30, 40)
BOTH = {"text": "a fox", "image": IMAGE}
ITEMS: list[Any] = ["a fox", IMAGE, BOTH, {**BOTH, "text": "a hen"}, {**BOTH, "image": noise(31, 40)}]

MakeIndex = Callable[..., LateInteractionIndex]


def test_each_is_found_by_itself(folder: Path, make: MakeIndex) -> None:
    """None has the id of another, and an equal one replaces it, whatever its file."""
    with in_memory([])(folder, row=TOGETHER) as embedder:
        index = make(of=embedder)
        ids = index.add(ITEMS)
        assert len({*ids}) == len(ITEMS)
        assert index.add([{**BOTH, "image": encoded(IMAGE)}]) == [ids[2]]
        for item, name in zip(ITEMS[2:], ids[2:], strict=True):
            assert index.search(item, 1)[0].id == name


def test_a_mean_is_refused_by_name(folder: Path, make: MakeIndex) -> None:
    """It has no multi-vector; with ``skip`` the others are in the index."""
    with in_memory([])(folder, fusion="mean", on_error="skip") as embedder:
        index = make(of=embedder)
        with pytest.warns(UserWarning, match=r"items\[2\]: .*fusion='mean', which joins two vectors"):
            assert len(index.add(ITEMS[:3])) == 2
        with pytest.raises(InputError, match=r"queries\[0\]: .*fusion='mean'"):
            index.search(BOTH)


def test_the_retrievers_of_both_frameworks_take_them(folder: Path, make: MakeIndex, tmp_path: Path) -> None:
    """As documents and nodes that ``image_document`` and ``image_node`` make, with the text as a query too."""
    langchain = pytest.importorskip("vllm_jina_embed.langchain")
    llama_index = pytest.importorskip("vllm_jina_embed.llama_index")
    with in_memory([])(folder, row=TOGETHER) as embedder:
        index = make(of=embedder)
        retriever = langchain.LateInteractionRetriever(index=index, k=1)
        documents = [langchain.image_document(IMAGE, text=text) for text in ("a fox", "a hen")]
        retriever.add_documents(documents)
        for document in documents:
            (found,) = retriever.invoke(document.page_content)
            assert (found.page_content, found.metadata) == (document.page_content, document.metadata)
        nodes = llama_index.LateInteractionRetriever(make(of=embedder, name="nodes"), similarity_top_k=1)
        nodes.insert_nodes([llama_index.image_node(IMAGE, text=text, id_=text) for text in ("a fox", "a hen")])
        for document, name in zip(documents, ("a fox", "a hen"), strict=True):
            assert nodes.retrieve(document.page_content)[0].node.node_id == name


def test_a_mean_of_nodes_leaves_their_multi_vectors_alone(folder: Path, make: MakeIndex) -> None:
    """An index has none of a mean: a node's image alone is indexed, as without ``fusion``."""
    llama_index = pytest.importorskip("vllm_jina_embed.llama_index")
    with in_memory([])(folder, fusion="mean") as embedder:
        nodes = llama_index.LateInteractionRetriever(make(of=embedder), similarity_top_k=2)
        assert nodes.insert_nodes([llama_index.image_node(IMAGE, text="invoice 7", id_="a")]) == ["a"]
