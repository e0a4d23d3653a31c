"""Recall@1 of a model per Matryoshka size, language and direction, on drawings and sentences unseen in training."""

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean
from typing import Any

import torch
from torch.nn.functional import normalize

from training.batches import to_patches
from training.model import IMAGE_PROMPT, MATRYOSHKA_DIMS, embed_images, embed_texts
from vllm_jina_embed.demo.corpus import DemoCorpus, DemoItem, demo_corpus
from vllm_jina_embed.demo.phrases import LANGUAGES

Recall = dict[str, dict[str, dict[str, float]]]
Keep = Callable[[DemoItem], bool]


def measure_recall(model: Any, tokenizer: Any, image_processor: Any, seeds: Sequence[int] = (101, 102, 103)) -> Recall:
    """Ask the demo corpora of several seeds.

    Returns:
        Matryoshka size -> language of the question, or ``image`` -> direction -> recall@1. Directions: ``images``
        (the nearest image is right), ``texts`` (the nearest passage in another language is right), ``all`` (the
        nearest item of images and passages together is right).
    """
    corpora = [demo_corpus(seed) for seed in seeds]
    embedded = [
        tuple(_embed(items, role, model, tokenizer, image_processor) for items, role in _parts(corpus))
        for corpus in corpora
    ]
    return {
        str(size): {
            asker: {
                direction: round(
                    fmean(
                        _share_right(corpus, *pair, size=size, asker=asker, direction=direction)
                        for corpus, pair in zip(corpora, embedded, strict=True)
                    ),
                    4,
                )
                for direction in ("images", "texts", "all")
            }
            for asker in (*LANGUAGES, "picture")
        }
        for size in sorted(MATRYOSHKA_DIMS, reverse=True)
    }


def lowest(recall: Recall) -> float:
    """The smallest figure in there."""
    return min(value for askers in recall.values() for ways in askers.values() for value in ways.values())


def _parts(corpus: DemoCorpus) -> Iterator[tuple[tuple[DemoItem, ...], str]]:
    yield corpus.queries, "Query"
    yield corpus.items, "Passage"


def _embed(items: Sequence[DemoItem], role: str, model: Any, tokenizer: Any, image_processor: Any) -> torch.Tensor:
    result = torch.empty(len(items), max(MATRYOSHKA_DIMS))
    texts = [index for index, item in enumerate(items) if not item.is_image]
    images = [index for index, item in enumerate(items) if item.is_image]
    prefixed = [f"{role}: {items[index].content}" for index in texts]
    prompt = tokenizer(IMAGE_PROMPT, add_special_tokens=False)["input_ids"]
    patches, grids = to_patches(image_processor, [items[index].content for index in images])
    with torch.no_grad():
        result[texts] = embed_texts(model, tokenizer(prefixed, add_special_tokens=False)["input_ids"]).vectors
        result[images] = embed_images(model, prompt, patches, grids).vectors
    return result


def _share_right(
    corpus: DemoCorpus, queries: torch.Tensor, items: torch.Tensor, *, size: int, asker: str, direction: str
) -> float:
    scores = normalize(queries[:, :size], dim=-1) @ normalize(items[:, :size], dim=-1).T
    right = []
    for query, row in zip(corpus.queries, scores, strict=True):
        if (query.language or "picture") == asker:
            allowed = [_allowed(item, direction, query) for item in corpus.items]
            best = int(row.masked_fill(~torch.tensor(allowed), -2.0).argmax())
            right.append(corpus.items[best].concept == query.concept)
    return fmean(right)


def _allowed(item: DemoItem, direction: str, query: DemoItem) -> bool:
    """Whether an item may be an answer; a text must not be found by its language."""
    if direction == "texts":
        return not item.is_image and item.language != query.language
    return direction == "all" or item.is_image
