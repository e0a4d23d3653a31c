"""Some questions of the demo stage by stage, and which part of an image answers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from PIL import Image

from vllm_jina_embed.demo.corpus import DemoCorpus, DemoItem
from vllm_jina_embed.demo.result import Hit, Look, Matched
from vllm_jina_embed.embedding.calls import Calls
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.late_interaction import MaxSimReranker, maxsim_map

SHORT: Final = 4
"""Numbers of an embedding that the first look has."""
CANDIDATES: Final = 20
"""Items that the second look passes on to the third."""
SHOWN: Final = 5


def looks(
    embedder: Calls, corpus: DemoCorpus, vectors: Mapping[str, Sequence[float]], asked: Sequence[tuple[str, str]]
) -> list[Look]:
    """Return three rankings of each question: by the start of the embeddings, by all of them, and by MaxSim.

    Args:
        embedder: Of the model that computed ``vectors``.
        corpus: The indexed items and the questions.
        vectors: Name of an item -> its embedding.
        asked: Language and concept of each question.

    Returns:
        One for each question that the corpus has; none for a model without multi-vectors.
    """
    try:
        reranker = MaxSimReranker(embedder)
    except ConfigError:
        return []
    rows = np.array([vectors[item.name] for item in corpus.items], dtype=np.float32)
    return [
        _look(embedder, reranker, corpus.items, rows, query)
        for asker, concept in asked
        for query in corpus.queries
        if (query.language, query.concept) == (asker, concept)
    ]


def _look(embedder: Calls, reranker: MaxSimReranker, items: Sequence[DemoItem], rows: Any, query: DemoItem) -> Look:
    (row,) = embedder.embed([query.content], prompt_name="query")
    stages = {f"The first {SHORT} numbers of each embedding": _best(items, rows[:, :SHORT] @ row[:SHORT])}
    cosines = rows @ row
    stages["The whole embedding"] = _best(items, cosines)
    candidates = [items[place] for place in np.argsort(-cosines, kind="stable")[:CANDIDATES]]
    best = reranker.rerank(query.content, [item.content for item in candidates], SHOWN)
    stages[f"MaxSim over the first {CANDIDATES} of those"] = tuple(
        Hit(item=candidates[one.position], score=one.score) for one in best
    )
    return Look(query=query, stages=stages, matched=_matched(embedder, items, query))


def _best(items: Sequence[DemoItem], scores: Any) -> tuple[Hit, ...]:
    places = np.argsort(-scores, kind="stable")[:SHOWN]
    return tuple(Hit(item=items[place], score=float(scores[place])) for place in places)


def _matched(embedder: Calls, items: Sequence[DemoItem], query: DemoItem) -> Matched | None:
    """Return what the question matches in the right image; None where the model has no grid of patches."""
    (image,) = (item.content for item in items if item.is_image and item.concept == query.concept)
    assert isinstance(image, Image.Image)
    assert isinstance(query.content, str)
    try:
        found = maxsim_map(embedder, query.content, image)
    except ConfigError:
        return None
    inside = [
        number
        for number, match in enumerate(found.matches)  # of them the prompt's own, such as "Query:", are no words
        if match.patch is not None and match.token.strip() and match.token.strip() in query.content
    ]
    if not inside:
        return None
    word = max(inside, key=lambda number: found.matches[number].value)
    return Matched(
        all_words=found.picture(inside),
        word=found.matches[word].token,
        one_word=found.picture([word]),
        value=found.matches[word].value,
        grid=found.grid,
    )
