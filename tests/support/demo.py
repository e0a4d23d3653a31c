"""Made-up results of the demo, so that its report can be judged with no engine."""

from __future__ import annotations

from vllm_jina_embed.demo.corpus import DemoItem
from vllm_jina_embed.demo.drawing import draw
from vllm_jina_embed.demo.result import Answer, DemoResult, Hit

CONCEPTS = ("red circle", "blue star", "forest", "green table")
LANGUAGES = ("en", "ja")


def corpus() -> tuple[list[DemoItem], list[DemoItem]]:
    """One image and one passage per concept; a question per concept in two languages and by image."""
    items = [image(f"image-{concept}", concept) for concept in CONCEPTS]
    items += [text(f"passage-{concept}", concept, "de", f"Ein Satz: {concept} <&>") for concept in CONCEPTS]
    queries = [
        text(f"query-{code}-{concept}", concept, code, f"{code}: where is the {concept} <b>?")
        for code in LANGUAGES
        for concept in CONCEPTS
    ]
    return items, queries + [image(f"query-image-{concept}", concept) for concept in CONCEPTS]


def image(name: str, concept: str) -> DemoItem:
    return DemoItem(name=name, concept=concept, language=None, content=draw(concept, seed=len(name), size=(120, 90)))


def text(name: str, concept: str, code: str, content: str) -> DemoItem:
    return DemoItem(name=name, concept=concept, language=code, content=content)


def right_answer(query: DemoItem, items: list[DemoItem]) -> Answer:
    """What shows the concept first, images before passages."""
    ranked = sorted(items, key=lambda item: (item.concept != query.concept, not item.is_image))
    return Answer(query=query, hits=tuple(Hit(item=item, score=0.95 - 0.06 * rank) for rank, item in enumerate(ranked)))


def wrong_answer(query: DemoItem, items: list[DemoItem]) -> Answer:
    """What shows the concept last."""
    right = right_answer(query, items)
    hits = zip(reversed(right.hits), right.hits, strict=True)
    return Answer(query=query, hits=tuple(Hit(item=hit.item, score=place.score) for hit, place in hits))


def result(*, wrong: str = "", model: str = "demo", engines: int = 1) -> DemoResult:
    """A demo in which LlamaIndex is wrong about the question of that name, and everything else is right."""
    items, queries = corpus()
    right = [right_answer(query, items) for query in queries]
    other = [wrong_answer(answer.query, items) if answer.query.name == wrong else answer for answer in right]
    seconds = dict.fromkeys(("corpus", "imports", "engine_start"), 1.0) | {
        f"{name}_{what}": 2.0 for what in ("index", "ask") for name in ("langchain", "llama_index")
    }
    return DemoResult(
        model=model,
        answers={"langchain": right, "llama_index": other},
        engines=engines,
        seconds=seconds,
        versions={"vllm": "0.0.0", "torch": "1.2.3"},
        machine={"system": "Linux", "processor": "<fast>", "cores": 2, "memory_gib": 4.0, "device": "CPU"},
        finished="2026-01-02T03:04:05+0000",
    )
