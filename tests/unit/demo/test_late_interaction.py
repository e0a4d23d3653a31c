"""The tables of docs/late-interaction.md: their arithmetic, and that the page holds what the command prints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import demo_corpus, late_interaction
from vllm_jina_embed.demo.concepts import CONCEPTS

PAGE = Path(__file__).parents[3] / "docs" / "late-interaction.md"


def test_the_page_holds_the_sizes_that_the_command_prints() -> None:
    assert "\n".join(late_interaction.size_table()) in PAGE.read_text(encoding="utf-8")


def test_recall_counts_what_scores_as_the_last_as_right() -> None:
    """Of the two best, by hand."""
    scores = np.array([[5, 4, 4, 1], [1, 2, 3, 4]], dtype=np.float32)
    assert late_interaction.recall(np.array([[0, 2], [3, 2]]), scores, k=2) == 1.0
    assert late_interaction.recall(np.array([[0, 3], [3, 1]]), scores, k=2) == 0.5


@pytest.mark.parametrize("candidates", [1, 5, 40])
def test_two_stages_are_the_best_of_the_selected(candidates: int) -> None:
    rng = np.random.default_rng(3)
    cosines, scores = rng.normal(size=(2, 6, 40)).astype(np.float32)
    found = late_interaction.two_stages(cosines, scores, candidates)
    for row in range(6):
        selected = sorted(range(40), key=lambda item: -cosines[row, item])[:candidates]
        assert found[row].tolist() == sorted(selected, key=lambda item: -scores[row, item])[:10]


def test_the_corpus_is_large_and_mixed_and_without_doubles() -> None:
    few = CONCEPTS[:10]
    items, queries = demo_corpus.items(concepts=few), demo_corpus.queries(concepts=few)
    texts = [item.content for item in items if isinstance(item.content, str)]
    images = [item.content for item in items if not isinstance(item.content, str)]
    assert len(items) * len(CONCEPTS) >= 2000 * len(few)
    assert len(set(texts)) == len(texts) == 14 * len(few)
    assert len({image.tobytes() for image in images}) == len(images) == 13 * len(few)
    assert {item.concept for item in items} == {query.concept for query in queries} == set(few)
    assert not {query.content for query in queries if isinstance(query.content, str)} & set(texts)
