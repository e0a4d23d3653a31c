"""The demo's questions stage by stage: each ranking by hand, and how the report shows them."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import demo
from tests.support.in_memory import in_memory, write_folder
from tests.unit.scoring.test_maxsim import by_definition
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.demo.corpus import DemoCorpus
from vllm_jina_embed.demo.looks import CANDIDATES, SHORT, SHOWN, looks
from vllm_jina_embed.demo.report import report
from vllm_jina_embed.demo.result import DemoResult, Matched
from vllm_jina_embed.late_interaction.maxsim_map import MaxSimMap, TokenMatch

ASKED = (("en", "blue star"), ("ja", "forest"), ("fr", "forest"))


@pytest.fixture
def embedder(tmp_path: Path) -> Iterator[JinaEmbedder]:
    with in_memory([])(write_folder(tmp_path / "checkpoint")) as embedder:
        yield embedder


@pytest.fixture
def corpus() -> DemoCorpus:
    items, queries = demo.corpus()
    more = [demo.text(f"more-{n}", "red circle", "en", "fox " * (n + 1)) for n in range(30)]
    return DemoCorpus(items=(*items, *more), queries=tuple(queries))


def vectors_of(embedder: JinaEmbedder, corpus: DemoCorpus) -> dict[str, list[float]]:
    rows = embedder.embed([item.content for item in corpus.items])
    return {item.name: row.tolist() for item, row in zip(corpus.items, rows, strict=True)}


def test_each_stage_is_its_ranking_by_hand(embedder: JinaEmbedder, corpus: DemoCorpus) -> None:
    """The third ranks what the second passes on; a question that nobody asks is left out."""
    vectors = vectors_of(embedder, corpus)
    found = looks(embedder, corpus, vectors, ASKED)
    assert [(look.query.language, look.query.concept) for look in found] == [*ASKED[:2]]
    rows, items = np.array([vectors[item.name] for item in corpus.items]), corpus.items
    for look in found:
        asked = embedder.embed_queries([look.query.content])[0]
        short, whole, third = look.stages.values()
        order = np.argsort(-(rows[:, :SHORT] @ asked[:SHORT]))
        assert [hit.item.name for hit in short] == [items[place].name for place in order[:SHOWN]]
        order = np.argsort(-(rows @ asked))
        assert [hit.item.name for hit in whole] == [items[place].name for place in order[:SHOWN]]
        candidates = [items[place] for place in order[:CANDIDATES]]
        scores = by_definition(
            embedder.embed_multi_vector([look.query.content], prompt_name="query"),
            embedder.embed_multi_vector([item.content for item in candidates]),
        )[0]
        by_name = {item.name: score for item, score in zip(candidates, scores, strict=True)}  # several may be equal
        assert len({hit.item.name for hit in third}) == SHOWN
        assert [hit.score for hit in third] == pytest.approx([by_name[hit.item.name] for hit in third], abs=1e-4)
        assert [hit.score for hit in third] == pytest.approx(sorted(scores, reverse=True)[:SHOWN], abs=1e-4)


def test_the_word_that_is_shown_is_one_of_the_question(
    embedder: JinaEmbedder, corpus: DemoCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one of the prompt, such as "Query:", though its match be better."""

    def found(embedder: JinaEmbedder, question: str, image: Image.Image) -> MaxSimMap:
        tokens = [("Query", 0.9), ("Query:", 0.8), (question, 0.7), (" ", 0.95)]
        matches = tuple(TokenMatch(token=token, row=0, patch=(0, 0), value=value) for token, value in tokens)
        values = np.zeros((4, 2, 2), np.float32)
        values[:, 0, 0], values[2] = 1, [[0, 1], [0, 0]]  # the prompt matches another patch than the question
        return MaxSimMap(matches=matches, values=values, image=image)

    monkeypatch.setattr("vllm_jina_embed.demo.looks.maxsim_map", found)
    shown = [look.matched for look in looks(embedder, corpus, vectors_of(embedder, corpus), ASKED)]
    assert [one.value for one in shown if one is not None] == [0.7, 0.7]
    assert all(np.array_equal(one.all_words, one.one_word) for one in shown if one is not None)


def test_a_model_without_multi_vectors_has_no_looks(corpus: DemoCorpus) -> None:
    with JinaEmbedder("google/siglip-base-patch16-224") as embedder:
        assert looks(embedder, corpus, {}, ASKED) == []


@pytest.fixture
def shown(embedder: JinaEmbedder, corpus: DemoCorpus) -> DemoResult:
    """With maps of one colour each, to be found again on the page."""
    found = looks(embedder, corpus, vectors_of(embedder, corpus), ASKED)
    matched = Matched(
        all_words=Image.new("RGB", (40, 30), (250, 0, 0)),
        word=" <star>",
        one_word=Image.new("RGB", (40, 30), (0, 0, 250)),
        value=0.75,
        grid=(3, 4),
    )
    items = {item.name for item in demo.result().items}
    small = [
        replace(
            look,
            stages={title: tuple(hit for hit in hits if hit.item.name in items) for title, hits in look.stages.items()},
        )
        for look in found
    ]
    return replace(demo.result(), looks=[replace(small[0], matched=matched), replace(small[1], matched=None)])


def test_the_report_shows_every_stage_and_map(shown: DemoResult) -> None:
    """Without a map where the model has none; escaped, and each map is its own image."""
    page = report(shown)
    chapter = page[page.index("<h2>Three looks</h2>") : page.index("<h2>All questions</h2>")]
    first, second = chapter.split('<article class="question">')[1:]
    for card, look in zip((first, second), shown.looks, strict=True):
        assert re.findall(r'<p class="of">(.*?)</p>', card) == [escape(title) for title in look.stages]
        scores = [f"{hit.score:.3f}" for hits in look.stages.values() for hit in hits]
        assert re.findall(r'class="score">(-?[\d.]+)<', card) == scores
    assert "<figure>" not in second
    assert "3 x 4 patches" in first
    assert "“&lt;star&gt;” matches, 0.75 at most" in first
    for name, colour in (("m0a", (250, 0, 0)), ("m0b", (0, 0, 250))):
        assert f'class="pic {name}"' in first
        (data,) = re.findall(rf"\.{name}\{{background-image:url\(data:image/webp;base64,([^)]+)\)\}}", page)
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), float)
        assert np.abs(pixels - colour).max() < 20


def test_the_page_without_looks_has_no_such_chapter() -> None:
    assert "Three looks" not in report(demo.result())
