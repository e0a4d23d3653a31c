"""The demo's corpus: complete, mixed, the same for the same seed, and new to the checkpoint."""

from collections import Counter
from itertools import pairwise

import pytest

from vllm_jina_embed.demo.concepts import CONCEPTS
from vllm_jina_embed.demo.corpus import DemoItem, demo_corpus
from vllm_jina_embed.demo.phrases import LANGUAGES, new_passages, new_queries


def _key(item: DemoItem) -> tuple[str, str | bytes]:
    return item.name, item.content if isinstance(item.content, str) else item.content.tobytes()


def test_every_concept_has_one_image_and_passages_in_two_languages() -> None:
    items = demo_corpus(3).items
    assert Counter(item.concept for item in items if item.is_image) == dict.fromkeys(CONCEPTS, 1)
    texts = {(item.concept, item.language) for item in items if not item.is_image}
    assert Counter(concept for concept, _ in texts) == dict.fromkeys(CONCEPTS, 2)
    assert {language for _, language in texts} == set(LANGUAGES)


def test_images_and_passages_are_mixed() -> None:
    kinds = [item.is_image for item in demo_corpus(0).items]
    assert sum(a != b for a, b in pairwise(kinds)) > 50


def test_every_concept_is_asked_for_in_every_language_and_by_image() -> None:
    queries = demo_corpus(0).queries
    assert Counter(query.language for query in queries) == dict.fromkeys((*LANGUAGES, None), len(CONCEPTS))
    assert len({(query.language, query.concept) for query in queries}) == len(queries)


def test_names_are_unique() -> None:
    corpus = demo_corpus(0)
    for entries in (corpus.items, corpus.queries):
        assert len({entry.name for entry in entries}) == len(entries)


@pytest.mark.wide
def test_the_same_seed_gives_the_same_corpus_and_another_seed_another() -> None:
    first, again, other = (demo_corpus(seed) for seed in (1, 1, 2))
    assert [_key(item) for item in first.items + first.queries] == [_key(item) for item in again.items + again.queries]
    assert {_key(item) for item in first.items if item.is_image}.isdisjoint(_key(item) for item in other.items)


def test_every_text_of_the_corpus_is_one_that_training_never_sees() -> None:
    """That those are never trained on, test_phrases.py shows."""
    new = {
        text
        for concept in CONCEPTS
        for code in LANGUAGES
        for texts in (new_queries, new_passages)
        for text in texts(concept, code)
    }
    corpus = demo_corpus(0)
    assert new.issuperset(item.content for item in corpus.items + corpus.queries if isinstance(item.content, str))


def test_the_two_sentences_of_the_example_are_asked() -> None:
    texts = [query.content for query in demo_corpus(7).queries]
    assert "Ein wunderschöner Sonnenuntergang am Strand" in texts
    assert "浜辺に沈む美しい夕日" in texts


def test_a_question_by_image_is_not_the_image_in_the_index() -> None:
    corpus = demo_corpus(0)
    indexed = {_key(item)[1] for item in corpus.items if item.is_image}
    assert all(_key(query)[1] not in indexed for query in corpus.queries if query.is_image)
