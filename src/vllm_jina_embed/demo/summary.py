"""The demo's result as text for a terminal: a table, some questions with their first hits, and the report's path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vllm_jina_embed.demo.concepts import SUNSET
from vllm_jina_embed.demo.phrases import LANGUAGES
from vllm_jina_embed.demo.result import IMAGE, REQUIRED_RECALL, Answer, DemoResult, Hit
from vllm_jina_embed.demo.terminal import table

LABELS: Final = {"langchain": "LangChain", "llama_index": "LlamaIndex"}
DIRECTIONS: Final = {
    "text_to_image": "text to image",
    "text_to_text": "text to text",
    "image_to_image": "image to image",
}
EXAMPLES: Final = (
    ("de", SUNSET),
    ("ja", SUNSET),
    ("en", "red bar chart"),
    ("es", "blue star"),
    ("zh", "city at night"),
    (IMAGE, "green table"),
)
"""Asker and concept of the questions that are shown first."""
LOOKS: Final = (("en", "blue star"), ("ja", SUNSET), ("de", "red bar chart"))
"""Those that are shown stage by stage."""


def summary(result: DemoResult, folder: Path) -> str:
    """Return the text."""
    frameworks = list(result.answers)
    rows = [("recall@1", "", *(LABELS[name] for name in frameworks)), *_recall_rows(result), ()]
    for stage, label in (("index", "seconds to index"), ("ask", "seconds to ask")):
        rows.append((label, "", *(f"{result.seconds[f'{name}_{stage}']:.1f}" for name in frameworks)))
    rows.append(("vLLM engines", "", *[""] * (len(frameworks) - 1), f"{result.engines} for both"))
    rows.append(("seconds in all", "", *[""] * (len(frameworks) - 1), f"{sum(result.seconds.values()):.1f}"))
    examples = [line for asker, concept in EXAMPLES for line in _example(result, asker, concept)]
    return "\n".join(
        [
            "",
            table(rows),
            "",
            "Some questions and the first three of their ranking (images and passages together, with the cosine):",
            *examples,
            "",
            f"Report: {folder / 'report.html'}   Numbers: {folder / 'results.json'}",
        ]
    )


def shortfalls(result: DemoResult) -> str:
    """Return one line for each recall@1 that is too low; empty without any."""
    lines = [
        f"  {LABELS[framework]}, {asker_name(asker)}, {DIRECTIONS[direction]}: {value:.3f}"
        for framework, asker, direction, value in result.shortfalls
    ]
    return "\n".join([f"Recall@1 under the required {REQUIRED_RECALL}:", *lines]) if lines else ""


def asker_name(asker: str) -> str:
    """Return the asker's name, such as ``German`` for ``de``."""
    return LANGUAGES[asker].name if asker in LANGUAGES else asker.capitalize()


def example(result: DemoResult, asker: str, concept: str) -> tuple[Answer, ...]:
    """Return the frameworks' answers to one question; empty where it was not asked."""
    for answers in result.by_question():
        query = answers[0].query
        if (query.language or IMAGE) == asker and query.concept == concept:
            return answers
    return ()


def _recall_rows(result: DemoResult) -> Iterator[tuple[str, ...]]:
    first = next(iter(result.recall.values()))
    for asker, directions in first.items():
        for direction in directions:
            values = (f"{recall[asker][direction]:.3f}" for recall in result.recall.values())
            yield (asker_name(asker), DIRECTIONS[direction], *values)


def _example(result: DemoResult, asker: str, concept: str) -> Iterator[str]:
    for answer in example(result, asker, concept)[:1]:
        query = answer.query
        yield ""
        yield f"  {query.content if isinstance(query.content, str) else f'(an image of a {query.concept})'}"
        for rank, hit in enumerate(answer.hits[:3], 1):
            mark = "✓" if answer.is_right(hit) else "✗"
            yield f"    {rank}. {mark} {hit.score:.3f}  {_shown(hit)}"


def _shown(hit: Hit) -> str:
    return f"image  {hit.item.concept}" if hit.item.is_image else f"passage  {hit.item.content}"
