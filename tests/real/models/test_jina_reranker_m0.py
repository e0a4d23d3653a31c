"""jina-reranker-m0: texts and images against its own code on transformers; planted mistakes fall outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.images import noise
from tests.support.jina_reranker_m0 import JinaRerankerReference, make_jina_reranker_m0
from tests.support.planted import tell_vllm
from tests.support.rerankers import DOCUMENTS, FLOAT32, GATE, LONG, QUERY, Judged, check_planted, gap
from vllm_jina_embed import JinaReranker, TokenId
from vllm_jina_embed.checkpoints.table.rerank import JINA_RERANKER_M0
from vllm_jina_embed.errors import EngineError, InputError

pytestmark = [pytest.mark.real, pytest.mark.models]

IMAGES = [noise(300, 200, 1), noise(40, 60, 2), noise(84, 84, 3)]
QUERIES: list[Any] = [QUERY, IMAGES[0]]
ITEMS: list[Any] = [*DOCUMENTS, *IMAGES]
HOSTILE = ["<|im_end|>", "<|vision_start|><|image_pad|><|vision_end|>"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_jina_reranker_m0(tmp_path_factory.mktemp("rerankers") / "jina-reranker-m0")


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> JinaRerankerReference:
    return JinaRerankerReference(checkpoint)


@pytest.fixture(scope="module")
def reranker(checkpoint: Path) -> Iterator[JinaReranker]:
    """The checkpoint on one engine in float32."""
    with JinaReranker(checkpoint, **FLOAT32) as reranker:
        yield reranker


@pytest.mark.parametrize("query", QUERIES, ids=["text", "image"])
def test_scores_and_order(reranker: JinaReranker, reference: JinaRerankerReference, query: Any, judged: Judged) -> None:
    """Texts and images on both sides, in one call."""
    right = np.array([reference.score(query, item) for item in ITEMS])
    assert np.ptp(right) > 0.1
    assert judged.scores(JINA_RERANKER_M0, query, ITEMS, reranker.score(query, ITEMS), right) <= GATE
    assert [one.position for one in reranker.rerank(query, ITEMS)] == np.argsort(-right, kind="stable").tolist()


def test_planted_mistakes_are_far_outside(
    reranker: JinaReranker, reference: JinaRerankerReference, judged: Judged
) -> None:
    pairs = []
    for document in DOCUMENTS[1:5]:
        (score,) = reranker.score(QUERY, [document])
        prompt = reference.prompt(QUERY, document)
        mistakes = {
            "swapped": reference.score(document, QUERY),
            "no token at the end": reference.of(prompt, last=None),
            "another token at the end": reference.of(prompt, last=101),
            "no bias": reference.of(prompt, bias=0.0),
            "query first": reference.of(f"**Query**:\n{QUERY}\n**Document**:\n{document}"),
            "no line": reference.of(prompt.replace("**Query**:\n", "**Query**:")),
            "the document alone": reference.of(f"**Document**:\n{document}"),
        }
        pairs.append((float(score), mistakes))
    judged.planted(JINA_RERANKER_M0, check_planted(pairs))


def test_images_that_change_places_have_other_scores(reranker: JinaReranker, reference: JinaRerankerReference) -> None:
    """vLLM's class turns the images of a prompt round: the wrong order would be seen."""
    query, document = IMAGES[:2]
    (score,) = reranker.score(query, [document])
    prompt = reference.prompt(query, document)
    mistakes = {
        "swapped": reference.score(document, query),
        "the same image twice": reference.of(prompt, [document, document]),
        "a text for the image": reference.score(query, "an image"),
    }
    check_planted([(float(score), mistakes)])
    row = replace(JINA_RERANKER_M0, name="planted", images_reversed=False)
    with JinaReranker(reranker.model, row=row, **FLOAT32) as planted:
        try:
            (wrong,) = planted.score(query, [document])
        except InputError:  # vLLM counts the tokens of one in the place of the other
            return
    assert abs(wrong - score) > 100 * GATE


@pytest.mark.parametrize("last", [(), (TokenId(101),)], ids=["no token", "another token"])
def test_a_row_with_a_mistake_gives_other_scores(checkpoint: Path, reference: JinaRerankerReference, last: Any) -> None:
    row = replace(JINA_RERANKER_M0, name="planted", template=(*JINA_RERANKER_M0.template[:-1], *last))
    with JinaReranker(checkpoint, row=row, **FLOAT32) as planted:
        got = planted.score(QUERY, DOCUMENTS)
    assert np.abs(got - [reference.score(QUERY, document) for document in DOCUMENTS]).max() > 100 * GATE


def test_special_tokens_in_texts_stay_text(reranker: JinaReranker, reference: JinaRerankerReference) -> None:
    for text in HOSTILE:
        for query, document in ((QUERY, text), (text, "fox")):
            (got,) = reranker.score(query, [document])
            prompt = reference.prompt(query, document)
            assert gap([got], [reference.of(reference.plain(prompt))]) <= GATE


def test_of_a_pair_too_long_the_document_is_cut(checkpoint: Path, reference: JinaRerankerReference) -> None:
    """The query behind it is whole, and tokenised apart."""
    head, tail = reference.ids("**Document**:\n" + LONG), reference.ids(f"\n**Query**:\n{QUERY}")
    kept = [*head[: 99 - len(tail)], *tail]
    with (
        JinaReranker(checkpoint, max_length=100, **FLOAT32) as cut,
        pytest.warns(UserWarning, match=r"1 of 1 texts were longer"),
    ):
        assert gap(cut.score(QUERY, [LONG]), [reference.of(kept)]) <= GATE


def test_an_engine_that_forgets_the_bias_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so no release of vLLM that leaves it out."""
    tell_vllm(monkeypatch, {}, pooler={"logit_mean": 0.0})
    folder = make_jina_reranker_m0(tmp_path / "jina-reranker-m0")
    with JinaReranker(folder, **FLOAT32) as reranker, pytest.raises(EngineError, match="does not judge pairs"):
        reranker.score("a", ["b"])


def test_what_this_checkpoint_cannot_honour_is_refused(reranker: JinaReranker) -> None:
    with pytest.raises(InputError, match=r"items\[0\]: got a text and an image together; this reranker was not"):
        reranker.score("a", [{"text": "a", "image": IMAGES[0]}])
