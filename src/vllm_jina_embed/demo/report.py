"""The demo's result as one HTML file that opens from disk, without scripts or downloads.

The layout is in ``report.html.tmpl``; each image is stored once, as a CSS class.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Final

from PIL import Image

from vllm_jina_embed.checkpoints.description import DEMO
from vllm_jina_embed.checkpoints.table.jina_v4 import CHECKPOINTS
from vllm_jina_embed.demo.corpus import DemoItem
from vllm_jina_embed.demo.result import IMAGE, REQUIRED_RECALL, Answer, DemoResult, Look, directions
from vllm_jina_embed.demo.summary import DIRECTIONS, EXAMPLES, LABELS, asker_name, example

TOP: Final = 5
_TEMPLATE = Path(__file__).with_name("report.html.tmpl")
_THUMBNAIL = (232, 232)
_NOTE = (
    '<p class="note"><b>The demo checkpoint is a toy.</b> It is there to see and test the whole path with, not a model '
    "to search with: it was trained on drawings like these, in five languages, and knows nothing else. "
    f"For real work, give the same code <code>{CHECKPOINTS[1].name}</code>.</p>"
)
_LOOKS = (
    "<h2>Three looks</h2><p>The same index by a few numbers of each embedding, by all of them, and by MaxSim, which "
    "compares every token of the question with every token of the candidates and adds up the best (so its scores are "
    "larger). Below, in red, the patches of the right image that the question matches.</p>"
)
_STAGES: Final = {
    "corpus": "Drawing and writing",
    "imports": "Loading the frameworks",
    "engine_start": "Starting vLLM",
    "looks": "Looking twice",
    "engine_stop": "Stopping vLLM",
    **{f"{key}_index": f"{label}: indexing" for key, label in LABELS.items()},
    **{f"{key}_ask": f"{label}: asking" for key, label in LABELS.items()},
}


def report(result: DemoResult) -> str:
    """Return the page."""
    questions = result.by_question()
    images = _number_images(result)
    items, machine = result.items, result.machine
    indexed = [item for item in items if item.is_image]
    texts = [len(items) - len(indexed), len(indexed), len(questions)]
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        image_rules="\n".join(
            [
                *(_rule(item.content, f"p{number}") for item, number in images.values()),
                *(_rule(image, name) for look, place in _numbered(result) for name, image, _ in _maps(look, place)),
            ]
        ),
        lead=escape(
            f"{texts[1]} images and {texts[0]} passages in one index, asked in five languages and by image, in "
            f"LangChain and in LlamaIndex. Model: {result.model}."
        ),
        note=_NOTE if result.model == DEMO else "",
        facts=_facts(result),
        required=REQUIRED_RECALL,
        recall=_recall_table(result),
        examples="".join(
            _question(answers, images) for asker, concept in EXAMPLES if (answers := example(result, asker, concept))
        ),
        looks=_looks(result, images),
        agreement=escape(
            f"{texts[2]} questions to each framework. Both put the same item first in {result.same_first} of them. "
            "Those that miss something stand first."
        ),
        questions="".join(_group(asker, questions, images) for asker in next(iter(result.recall.values()))),
        holds=escape(f"These {texts[1]} images, and {texts[0]} sentences about the same concepts."),
        wall="".join(_image(item, images) for item in indexed),
        ran=escape(
            f"{machine.get('processor')}, {machine.get('cores')} cores, {machine.get('memory_gib')} GiB, "
            f"{machine.get('system')}. vLLM computes on: {machine.get('device')}."
        ),
        seconds=_rows(("Stage", "Seconds"), ((_STAGES.get(k, k), f"{v:.1f}") for k, v in result.seconds.items())),
        versions=_rows(("Package", "Version"), result.versions.items()),
        finished=escape(result.finished),
    )


# --- parts ----------------------------------------------------------------------------------------------------------


def _facts(result: DemoResult) -> str:
    lowest = min(value for askers in result.recall.values() for ways in askers.values() for value in ways.values())
    engines = "vLLM engine for both frameworks" if result.engines == 1 else "vLLM engines"
    facts = (
        (str(result.engines), engines),
        (f"{lowest:.3f}", "lowest recall@1"),
        (str(len(result.by_question())), "questions to each framework"),
        (f"{sum(result.seconds.values()):.0f} s", "in all, the start of vLLM included"),
    )
    return "".join(f"<li><b>{escape(number)}</b><span>{escape(label)}</span></li>" for number, label in facts)


def _recall_table(result: DemoResult) -> str:
    head = "".join(f'<th class="number">{LABELS[name]}</th>' for name in result.recall)
    rows = []
    for asker, ways in next(iter(result.recall.values())).items():
        for way in ways:
            cells = "".join(_recall_cell(recall[asker][way]) for recall in result.recall.values())
            rows.append(
                f'<tr><th><span class="asker">{asker_name(asker)}</span> '
                f'<span class="way">{DIRECTIONS[way]}</span></th>{cells}</tr>'
            )
    return f"<thead><tr><th>Asked in</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"


def _recall_cell(value: float) -> str:
    return f'<td class="number">{_mark(value >= REQUIRED_RECALL)} {value:.3f}</td>'


def _group(asker: str, questions: Sequence[tuple[Answer, ...]], images: _Images) -> str:
    mine = [answers for answers in questions if (answers[0].query.language or IMAGE) == asker]
    mine.sort(key=_all_right)
    missed = sum(not _all_right(answers) for answers in mine)
    count = f"{len(mine)} questions, {f'{missed} with a miss' if missed else 'all right'}"
    cards = "".join(_question(answers, images) for answers in mine)
    return f"<details><summary>{asker_name(asker)}<small>{count}</small></summary><div>{cards}</div></details>"


def _question(answers: Sequence[Answer], images: _Images) -> str:
    query = answers[0].query
    by = "An image" if query.is_image else asker_name(query.language or "")
    tops = [[hit.item.name for hit in answer.hits[:TOP]] for answer in answers]
    agree = all(top == tops[0] for top in tops)
    shown = answers[:1] if agree else answers
    labels = list(LABELS.values())
    lists = "".join(
        ("" if agree else f'<p class="of">{label}</p>') + _hits(answer, images)
        for label, answer in zip(labels, shown, strict=False)
    )
    same = f"same first {TOP} in both frameworks" if agree else "the frameworks' first five differ"
    chips = "".join(_chip(answers, image) for image in directions(query).values())
    return (
        f'<article class="question"><header><span class="asked"{_lang(query)}>{_content(query, images)}</span>{chips}'
        f'<span class="by">{by} · {escape(query.concept)} · {same}</span></header>{lists}</article>'
    )


def _looks(result: DemoResult, images: _Images) -> str:
    """Return the chapter of the stages; empty where no question was asked so."""
    cards = "".join(_look(look, place, images) for look, place in _numbered(result))
    return f"{_LOOKS}{cards}" if cards else ""


def _look(look: Look, place: int, images: _Images) -> str:
    query = look.query
    lists = "".join(
        f'<p class="of">{escape(title)}</p>{_hits(Answer(query=query, hits=hits), images)}'
        for title, hits in look.stages.items()
    )
    figures = "".join(
        f'<figure><span class="pic {name}" role="img" aria-label="{escape(caption)}"></span>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for name, _, caption in _maps(look, place)
    )
    maps = f'<div class="maps">{figures}</div>' if figures else ""
    return (
        f'<article class="question"><header><span class="asked"{_lang(query)}>{escape(str(query.content))}</span>'
        f'<span class="by">{asker_name(query.language or "")} · {escape(query.concept)}</span></header>{lists}{maps}'
        "</article>"
    )


def _maps(look: Look, place: int) -> list[tuple[str, Image.Image, str]]:
    """Return the class, image and caption of each map of a question."""
    matched = look.matched
    if matched is None:
        return []
    rows, columns = matched.grid
    return [
        (f"m{place}a", matched.all_words, f"What all of the question matches, {rows} x {columns} patches"),
        (
            f"m{place}b",
            matched.one_word,
            f"What \u201c{matched.word.strip()}\u201d matches, {matched.value:.2f} at most",
        ),
    ]


def _numbered(result: DemoResult) -> list[tuple[Look, int]]:
    return [(look, place) for place, look in enumerate(result.looks)]


def _hits(answer: Answer, images: _Images) -> str:
    return f'<ol class="hits">{"".join(_hit(answer, rank, images) for rank in range(min(TOP, len(answer.hits))))}</ol>'


def _hit(answer: Answer, index: int, images: _Images) -> str:
    hit = answer.hits[index]
    right, item = answer.is_right(hit), hit.item
    kind = "image" if item.is_image else "text"
    body = _content(item, images) if item.is_image else f"<q{_lang(item)}>{escape(str(item.content))}</q>"
    return (
        f'<li class="{kind}{" right" if right else ""}"><span class="rank">{index + 1}</span>'
        f'<span class="score">{hit.score:.3f}</span><span class="body">{body}</span>'
        f'<span class="what">{_mark(right)} {escape(item.concept)}</span></li>'
    )


def _chip(answers: Sequence[Answer], image: bool) -> str:
    noun = "image" if image else "passage"

    def right(answer: Answer) -> bool:
        return answer.first_is_right(image=image)

    if all(map(right, answers)):
        return f'<span class="chip yes">✓ best {noun} is right</span>'
    wrong = [name for name, answer in zip(LABELS.values(), answers, strict=True) if not right(answer)]
    ranks = {str(answer.rank_of_right(image=image) or "none") for answer in answers if not right(answer)}
    who = "" if len(wrong) == len(answers) else f"{', '.join(wrong)}: "
    return f'<span class="chip no">✗ {who}best {noun} is wrong (right one at rank {" and ".join(sorted(ranks))})</span>'


def _mark(right: bool) -> str:
    sign, name, word = ("✓", "yes", "right") if right else ("✗", "no", "wrong")
    return f'<span class="mark {name}" role="img" aria-label="{word}">{sign}</span>'


def _rows(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    body = "".join(f'<tr><td>{escape(name)}</td><td class="number">{escape(value)}</td></tr>' for name, value in rows)
    return f'<thead><tr><th>{head[0]}</th><th class="number">{head[1]}</th></tr></thead><tbody>{body}</tbody>'


def _all_right(answers: Sequence[Answer]) -> bool:
    kinds = directions(answers[0].query).values()
    return all(answer.first_is_right(image=image) for answer in answers for image in kinds)


# --- images -------------------------------------------------------------------------------------------------------

_Images = dict[str, tuple[DemoItem, int]]
"""Name of an image -> the image and its number on the page."""


def _number_images(result: DemoResult) -> _Images:
    queries = [answers[0].query for answers in result.by_question()]
    return {item.name: (item, n) for n, item in enumerate(i for i in (*result.items, *queries) if i.is_image)}


def _rule(image: str | Image.Image, name: str) -> str:
    assert isinstance(image, Image.Image)
    small, file = image.copy(), io.BytesIO()
    small.thumbnail(_THUMBNAIL)
    small.save(file, "WEBP", quality=82)
    return f".{name}{{background-image:url(data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()})}}"


def _content(item: DemoItem, images: _Images) -> str:
    return _image(item, images) if item.is_image else escape(str(item.content))


def _image(item: DemoItem, images: _Images) -> str:
    name = escape(f"Image: {item.concept}")
    return f'<span class="pic p{images[item.name][1]}" role="img" aria-label="{name}" title="{name}"></span>'


def _lang(item: DemoItem) -> str:
    return f' lang="{item.language}"' if item.language else ""
