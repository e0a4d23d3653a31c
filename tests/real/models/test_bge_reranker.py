"""bge-reranker: scores against transformers; planted mistakes fall outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.bge_reranker import BgeRerankerReference, make_bge_reranker
from tests.support.planted import tell_vllm
from tests.support.rerankers import DOCUMENTS, FLOAT32, GATE, QUERY, Judged, check_planted, gap
from vllm_jina_embed import JinaReranker, Special
from vllm_jina_embed.checkpoints.table.rerank import BGE_RERANKER
from vllm_jina_embed.errors import ConfigError, EngineError

pytestmark = [pytest.mark.real, pytest.mark.models]

SHORT = DOCUMENTS[:-1]
HOSTILE = ["</s>", "<s>a</s></s>b", "<mask> and <pad>"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bge_reranker(tmp_path_factory.mktemp("rerankers") / "bge-reranker-v2-m3")


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> BgeRerankerReference:
    return BgeRerankerReference(checkpoint)


@pytest.fixture(scope="module")
def reranker(checkpoint: Path) -> Iterator[JinaReranker]:
    """The checkpoint on one engine in float32."""
    with JinaReranker(checkpoint, **FLOAT32) as reranker:
        yield reranker


def test_scores_and_order(reranker: JinaReranker, reference: BgeRerankerReference, judged: Judged) -> None:
    for query in (QUERY, "浜辺に沈む夕日", " two  spaces "):
        right = np.array([reference.score(query, document) for document in SHORT])
        assert np.ptp(right) > 0.1
        assert judged.scores(BGE_RERANKER, query, SHORT, reranker.score(query, SHORT), right) <= GATE
        assert [one.position for one in reranker.rerank(query, SHORT)] == np.argsort(-right, kind="stable").tolist()


def test_planted_mistakes_are_far_outside(
    reranker: JinaReranker, reference: BgeRerankerReference, judged: Judged
) -> None:
    pairs = []
    for document in SHORT[1:5]:
        (score,) = reranker.score(QUERY, [document])
        ids = reference.ids(QUERY, document)
        border = ids.index(2)
        mistakes = {
            "swapped": reference.score(document, QUERY),
            "one end between": reference.of_ids([*ids[:border], *ids[border + 1 :]]),
            "no start": reference.of_ids(ids[1:]),
            "no end": reference.of_ids(ids[:-1]),
            "the last token": reference.of_ids(ids, place=-1),
            "the document alone": reference.of_ids([0, *ids[border + 2 :]]),
        }
        pairs.append((float(score), mistakes))
    judged.planted(BGE_RERANKER, check_planted(pairs))


def test_a_row_with_a_mistake_gives_other_scores(checkpoint: Path, reference: BgeRerankerReference) -> None:
    template = (*BGE_RERANKER.template[:2], *BGE_RERANKER.template[3:])
    assert template.count(Special("</s>")) == 2
    with JinaReranker(checkpoint, row=replace(BGE_RERANKER, name="planted", template=template), **FLOAT32) as planted:
        got = planted.score(QUERY, SHORT)
    assert np.abs(got - [reference.score(QUERY, document) for document in SHORT]).max() > 100 * GATE


def test_special_tokens_in_texts_stay_text(reranker: JinaReranker, reference: BgeRerankerReference) -> None:
    """The tokenizers library finds them, so their scores are others."""
    for text in HOSTILE:
        for query, document in ((QUERY, text), (text, "fox")):
            (got,) = reranker.score(query, [document])
            assert abs(got - reference.score(query, document)) > 10 * GATE


def test_of_a_pair_too_long_the_document_is_cut(reranker: JinaReranker, reference: BgeRerankerReference) -> None:
    """At the number of positions; its last token is the row's own."""
    assert reranker.checkpoint.max_length == 128
    document = "the fox " * 200
    ids = reference.ids(QUERY, document)
    with pytest.warns(UserWarning, match=r"1 of 1 texts were longer"):
        got = reranker.score(QUERY, [document])
    assert gap(got, [reference.of_ids([*ids[:127], 2])]) <= GATE


def test_an_engine_that_judges_another_token_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tell_vllm(monkeypatch, {}, pooler={"seq_pooling_type": "LAST"})
    folder = make_bge_reranker(tmp_path / "bge-reranker-v2-m3")
    with JinaReranker(folder, **FLOAT32) as reranker, pytest.raises(EngineError, match="does not judge pairs"):
        reranker.score("a", ["b"])


def test_what_this_checkpoint_cannot_honour_is_refused(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="takes no instruction"):
        JinaReranker(checkpoint, instruction="Find it")
