"""The demo's report: complete, self-contained, and honest about misses and about the model."""

import base64
import io
import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support import demo
from vllm_jina_embed.demo.report import report
from vllm_jina_embed.demo.summary import shortfalls, summary

_VOID = {"meta", "br", "img", "link"}


class _Checker(HTMLParser):
    """Collects open tags and every attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_needs_nothing_from_outside() -> None:
    page = report(demo.result())
    checker = _Checker()
    checker.feed(page)
    assert checker.open == []
    assert checker.tags.isdisjoint({"script", "link", "iframe", "img", "object"})
    assert checker.attributes.isdisjoint({"src", "href", "style", "onclick"})
    assert set(re.findall(r"url\((.{0,21})", page)) == {"data:image/webp;base64"[:21]}
    assert "http" not in page
    assert "$" not in page


def test_every_question_and_every_text_is_there_escaped() -> None:
    page = report(demo.result())
    items, queries = demo.corpus()
    texts = [item.content for item in items + queries if isinstance(item.content, str)]
    assert all(escape(text) in page for text in texts)
    assert "<b>?" not in page
    assert "&lt;fast&gt;" in page


def test_every_image_is_there_once_and_as_it_was() -> None:
    page = report(demo.result())
    stored = re.findall(r"\.p(\d+)\{background-image:url\(data:image/webp;base64,([^)]+)\)\}", page)
    items, queries = demo.corpus()
    images = [item.content for item in items + queries if isinstance(item.content, Image.Image)]
    assert [int(number) for number, _ in stored] == list(range(len(images)))
    originals = np.stack([np.asarray(image, float) for image in images])
    for number, data in stored:
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), float)
        assert np.abs(originals - shown).mean(axis=(1, 2, 3)).argmin() == int(number)
        assert f'class="pic p{number}"' in page


def test_a_ranking_shows_rank_score_and_a_mark_that_is_not_colour_alone() -> None:
    page = report(demo.result())
    first = page[page.index("<details>") :]
    card = first[first.index('<ol class="hits">') : first.index("</ol>")]
    assert re.findall(r'class="rank">(\d)<', card) == ["1", "2", "3", "4", "5"]
    assert re.findall(r'class="score">([\d.]+)<', card) == ["0.950", "0.890", "0.830", "0.770", "0.710"]
    assert re.findall(r'aria-label="(right|wrong)">(.)<', card) == [("right", "✓")] * 2 + [("wrong", "✗")] * 3


def test_where_the_frameworks_differ_both_rankings_are_shown_and_the_miss_stands_first() -> None:
    page = report(demo.result(wrong="query-en-green table"))
    group = page[page.index("English<small>") :].split("</details>")[0]
    assert "4 questions, 1 with a miss" in group
    first = group.split("</article>")[0]
    assert "en: where is the green table" in first
    assert first.count('<ol class="hits">') == 2
    assert "✗ LlamaIndex: best image is wrong (right one at rank 8)" in first
    assert '<span class="mark no" role="img" aria-label="wrong">✗</span> 0.750' in page


def test_the_page_says_that_the_demo_checkpoint_is_a_toy_and_says_it_of_no_other() -> None:
    assert "is a toy" in report(demo.result())
    assert "is a toy" not in report(demo.result(model="jinaai/jina-embeddings-v4-vllm-retrieval"))


def test_the_summary_names_recall_engines_and_seconds(tmp_path: Path) -> None:
    text = summary(demo.result(wrong="query-ja-forest"), tmp_path)
    assert re.search(r"Japanese +text to image +1\.000 +0\.750", text)
    assert re.search(r"vLLM engines +1 for both", text)
    assert re.search(r"seconds in all +11\.0", text)
    assert str(tmp_path / "report.html") in text


def test_what_falls_short_is_named_in_words() -> None:
    assert shortfalls(demo.result()) == ""
    assert "LlamaIndex, Japanese, text to image: 0.750" in shortfalls(demo.result(wrong="query-ja-forest"))
