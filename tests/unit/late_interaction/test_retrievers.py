"""The retrievers of both frameworks over both stores: stages, a third one, and the scores of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.images import encoded, noise
from tests.support.in_memory_rerankers import in_memory_reranker, write_qwen3, write_qwen3_vl
from tests.unit.late_interaction.conftest import MakeIndex
from tests.unit.late_interaction.test_index import store
from tests.unit.scoring.test_maxsim import by_definition
from vllm_jina_embed import InputError, JinaEmbedder
from vllm_jina_embed.late_interaction import LateInteractionIndex, MaxSimReranker
from vllm_jina_embed.scoring.ranking import Ranked

pytest.importorskip("langchain_core")
pytest.importorskip("llama_index.core")

__all__ = ["store"]

from langchain_core.documents import Document
from llama_index.core.schema import MetadataMode, NodeRelationship, RelatedNodeInfo, TextNode

from vllm_jina_embed import langchain, llama_index

IMAGE = noise(30, 40, seed=1)
TEXTS = ["where the fox is", "a lazy dog", "the quick brown fox jumps", "over a small dog"]
QUESTION = "where is the fox"
BOTH = ["langchain", "llama_index"]


class Lengths:
    """A third stage that likes images, and long texts; it keeps what it was handed."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    def rerank(self, query: Any, items: Any, top_n: int | None = None) -> list[Ranked]:
        self.items = list(items)
        lengths = [len(item) if isinstance(item, str | bytes) else 10**6 for item in self.items]
        order = np.argsort(-np.array(lengths), kind="stable")
        return [Ranked(position=int(place), score=float(lengths[place])) for place in order][:top_n]

    async def arerank(self, query: Any, items: Any, top_n: int | None = None) -> list[Ranked]:
        return self.rerank(query, items, top_n)


def retriever_of(kind: str, index: LateInteractionIndex, **options: Any) -> Any:
    if kind == "langchain":
        made: Any = langchain.LateInteractionRetriever(index=index, k=5, **options)
        made.add_documents([*(Document(text) for text in TEXTS), langchain.image_document(IMAGE)])
        return made
    found: Any = llama_index.LateInteractionRetriever(index, similarity_top_k=5, **options)
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="it's one")}
    found.insert_nodes(
        [
            *(TextNode(text=text, id_=text, relationships=source if "dog" in text else {}) for text in TEXTS),
            llama_index.image_node(encoded(IMAGE), id_="image"),
        ]
    )
    return found


async def ask(retriever: Any, **options: Any) -> list[tuple[str, Any, Any]]:
    """Return what was found: its text or ``image``, its score and the scores of its stages; the same when awaited."""
    if isinstance(retriever, langchain.LateInteractionRetriever):
        found = retriever.invoke(QUESTION, **options)
        assert [one.id for one in await retriever.ainvoke(QUESTION, **options)] == [one.id for one in found]
        return [
            (
                one.page_content if one.page_content in TEXTS else "image",
                one.metadata.get("relevance_score"),
                one.metadata.get("stage_scores"),
            )
            for one in found
        ]
    nodes = retriever.retrieve(QUESTION)
    assert [one.node_id for one in await retriever.aretrieve(QUESTION)] == [one.node_id for one in nodes]
    for one in nodes:
        assert "stage_scores" not in one.node.get_content(metadata_mode=MetadataMode.LLM)
        assert "stage_scores" not in one.node.get_content(metadata_mode=MetadataMode.EMBED)
    return [(one.node_id, one.score, one.node.metadata.get("stage_scores")) for one in nodes]


def scores_of(embedder: JinaEmbedder) -> dict[str, float]:
    asked = embedder.embed_multi_vector([QUESTION], prompt_name="query")
    scores = by_definition(asked, embedder.embed_multi_vector([*TEXTS, IMAGE]))[0]
    return dict(zip([*TEXTS, "image"], scores.tolist(), strict=True))


@pytest.mark.parametrize("kind", BOTH)
async def test_each_hit_has_the_score_of_every_stage(make: MakeIndex, embedder: JinaEmbedder, kind: str) -> None:
    scores = scores_of(embedder)
    found = await ask(retriever_of(kind, make(), with_scores=True))
    assert sorted(name for name, _, _ in found) == sorted(scores)
    for name, score, stages in found:
        assert score == stages["maxsim"] == pytest.approx(scores[name], abs=1e-4)
        assert -1.001 <= stages["embedding"] <= 1.001
    plain = await ask(retriever_of(kind, make()))
    assert [name for name, _, _ in plain] == [name for name, _, _ in found]
    assert all(stages is None for _, _, stages in plain)


@pytest.mark.parametrize("kind", BOTH)
async def test_stages_are_left_out(make: MakeIndex, kind: str) -> None:
    for stage in ("embedding", "maxsim"):
        found = await ask(retriever_of(kind, make(), with_scores=True, stages=[stage]))
        assert [*found[0][2]] == [stage]


@pytest.mark.parametrize("kind", BOTH)
async def test_a_reranker_is_handed_texts_and_images(make: MakeIndex, kind: str) -> None:
    """An image as an image, whatever stands for it in the store; all of its stages are told."""
    core = Lengths()
    found = await ask(retriever_of(kind, make(), with_scores=True, reranker=core))
    assert [name for name, _, _ in found] == ["image", *sorted(TEXTS, key=len, reverse=True)]
    assert all([*stages] == ["embedding", "maxsim", "rerank"] for _, _, stages in found)
    assert all(score == stages["rerank"] for _, score, stages in found)
    others = [item for item in core.items if item not in TEXTS]
    assert len(others) == 1
    assert embed_is_image(others[0])


def embed_is_image(item: Any) -> bool:
    from vllm_jina_embed.inputs.items import ImageItem, mixed

    return isinstance(mixed([item])[0], ImageItem)


@pytest.mark.parametrize("kind", BOTH)
async def test_few_are_reranked(make: MakeIndex, kind: str) -> None:
    core = Lengths()
    retriever = retriever_of(kind, make(), reranker=core, rerank_candidates=2)
    setattr(retriever, "k" if kind == "langchain" else "similarity_top_k", 1)
    assert len(await ask(retriever)) == 1
    assert len(core.items) == 2


@pytest.mark.parametrize("kind", BOTH)
async def test_the_second_look_is_a_third_stage(make: MakeIndex, embedder: JinaEmbedder, kind: str) -> None:
    """Embeddings and MaxSim over what they found, with no multi-vectors from the store."""
    scores = scores_of(embedder)
    options = {"stages": ["embedding", "rerank"], "reranker": MaxSimReranker(embedder), "with_scores": True}
    found = await ask(retriever_of(kind, make(), **options))
    assert [name for name, _, _ in found] == sorted(scores, key=lambda name: -scores[name])
    assert [score for _, score, _ in found] == pytest.approx(sorted(scores.values(), reverse=True), abs=1e-4)


async def test_the_reranker_says_whether_a_text_belongs_to_its_image(make: MakeIndex, tmp_path: Path) -> None:
    """The embedder takes the image alone: as a postprocessor, so as the third stage, the reranker reads both."""
    engines: list[FakeEngine] = []
    found: Any = llama_index.LateInteractionRetriever(make())
    found.insert_nodes([llama_index.image_node(encoded(IMAGE), text="the circle")])
    for write in (write_qwen3_vl, write_qwen3):
        with in_memory_reranker(engines)(write(tmp_path)) as reranker:
            look = llama_index.LateInteractionRetriever(found.index, reranker=reranker)
            if write is write_qwen3:
                with pytest.raises(InputError, match="takes texts only"):
                    look.retrieve(QUESTION)
                continue
            (right,) = reranker.score(QUESTION, [{"text": "the circle", "image": IMAGE}])
            (hit,) = look.retrieve(QUESTION)
            assert hit.score == right
            assert hit.score == (await look.aretrieve(QUESTION))[0].score
            (other,) = llama_index.VllmJinaReranker(reranker=reranker).postprocess_nodes([hit], query_str=QUESTION)
            assert other.score == right


async def test_a_document_is_deleted_from_either_store(make: MakeIndex) -> None:
    """By the store's own filter, whatever its name holds."""
    retriever = retriever_of("llama_index", make())
    retriever.delete_ref_doc("it's one")
    assert {name for name, _, _ in await ask(retriever)} == {TEXTS[0], TEXTS[2], "image"}
