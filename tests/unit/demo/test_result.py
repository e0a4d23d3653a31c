"""Recall@1 of the demo: what counts as right in one ranking of images and passages."""

import json

import pytest

from tests.support import demo
from vllm_jina_embed.demo.result import Answer, Hit, recall_at_1


def _ranking(*names: str) -> tuple[Hit, ...]:
    items = {item.name: item for item in demo.corpus()[0]}
    return tuple(Hit(item=items[name], score=1 - rank / 10) for rank, name in enumerate(names))


def test_only_the_best_image_counts_for_images_and_only_the_best_passage_for_passages() -> None:
    query = demo.text("query", "forest", "en", "trees")
    hits = _ranking("passage-blue star", "image-forest", "passage-forest", "image-blue star")
    answer = Answer(query=query, hits=hits)
    assert recall_at_1([answer]) == {"en": {"text_to_image": 1.0, "text_to_text": 0.0}}
    assert (answer.rank_of_right(image=True), answer.rank_of_right(image=False)) == (2, 3)


def test_a_question_by_image_is_measured_on_images_alone() -> None:
    query = demo.image("query", "forest")
    found = recall_at_1([Answer(query=query, hits=_ranking("passage-forest", "image-blue star", "image-forest"))])
    assert found == {"image": {"image_to_image": 0.0}}


def test_a_ranking_without_any_passage_is_wrong() -> None:
    answer = Answer(query=demo.text("query", "forest", "en", "trees"), hits=_ranking("image-forest"))
    assert recall_at_1([answer]) == {"en": {"text_to_image": 1.0, "text_to_text": 0.0}}
    assert answer.rank_of_right(image=False) is None


def test_every_shortfall_is_named() -> None:
    assert demo.result().shortfalls == []
    assert demo.result(wrong="query-ja-forest").shortfalls == [
        ("llama_index", "ja", "text_to_image", 0.75),
        ("llama_index", "ja", "text_to_text", 0.75),
    ]


@pytest.mark.fire
def test_a_recall_that_is_no_number_is_a_shortfall(monkeypatch: pytest.MonkeyPatch) -> None:
    result = demo.result()
    nan = float("nan")
    monkeypatch.setattr(type(result), "recall", {"langchain": {"en": {"text_to_text": nan, "text_to_image": 1.0}}})
    assert [found[:3] for found in result.shortfalls] == [("langchain", "en", "text_to_text")]


@pytest.mark.parametrize(("wrong", "passed", "same"), [("", True, 12), ("query-en-forest", False, 11)])
def test_the_numbers_are_plain_json(wrong: str, passed: bool, same: int) -> None:
    found = json.loads(json.dumps(demo.result(wrong=wrong).to_json()))
    assert found["passed"] is passed
    assert found["same_first_hit"] == same
    assert found["recall_at_1"]["langchain"]["en"] == {"text_to_image": 1.0, "text_to_text": 1.0}
    assert found["index"] == {"images": 4, "passages": 4}
    assert (found["questions"], found["engines"]) == (12, 1)
