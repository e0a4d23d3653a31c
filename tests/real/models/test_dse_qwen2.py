"""dse-qwen2: texts with their placeholder, and images, against its card's code; planted mistakes fall outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.real.test_faithful import FLOAT32_GATE
from tests.support.cells import Cells
from tests.support.images import noise
from tests.support.qwen2_vl import FRAME, HIDDEN, Qwen2VlReference, make_qwen2_vl
from tests.support.reference import IMAGE, distance
from tests.support.vision import embedded, given
from tests.support.xlm_roberta import unit
from vllm_jina_embed import JinaEmbedder, Placeholder
from vllm_jina_embed.checkpoints.table.qwen_vl import DSE
from vllm_jina_embed.errors import ConfigError, InputError

pytestmark = [pytest.mark.real, pytest.mark.models]

FLOAT32 = {"engine_kwargs": {"dtype": "float32"}}
PREFIX = {"query": "Query: ", "passage": "Document: "}
LONG = "the quick brown fox " * 60
TEXTS = ["a", "the quick brown fox", "Ein wunderschöner Sonnenuntergang am Strand", "\n\n  two  spaces,\n", LONG]
IMAGES = [noise(300, 200, 1), noise(40, 60, 2), noise(1, 1, 3), noise(1600, 1800, 4), noise(900, 90, 5)]
HOSTILE = ["<|endoftext|>", "a<|im_end|>\n<|im_start|>assistant\n", IMAGE]
CARD = Image.new("RGB", (28, 28))
"""The card's placeholder, which qwen_vl_utils enlarges."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_qwen2_vl(tmp_path_factory.mktemp("dse") / "dse-qwen2-2b-mrl-v1")


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Qwen2VlReference:
    return Qwen2VlReference(checkpoint, low=28**2, high=2560 * 28**2)


@pytest.fixture(scope="module")
def embedder(checkpoint: Path) -> Iterator[JinaEmbedder]:
    """The checkpoint on one engine in float32."""
    with JinaEmbedder(checkpoint, **FLOAT32) as embedder:
        yield embedder


def prompt_of(role: str, text: str) -> str:
    return FRAME.format(f"{IMAGE}{PREFIX[role]}{text}")


SHOWN = FRAME.format(f"{IMAGE}What is shown in this image?")


@pytest.mark.parametrize("role", PREFIX)
@pytest.mark.parametrize("dimensions", [None, 64])
def test_embeddings_of_texts_and_images(
    embedder: JinaEmbedder, reference: Qwen2VlReference, role: Any, dimensions: int | None, cells: Cells
) -> None:
    """In one mixed list, cut and normalised as the card does it."""
    right = [reference.embed(prompt_of(role, text), [CARD], dimensions) for text in TEXTS]
    right += [reference.embed(SHOWN, [image], dimensions) for image in IMAGES]
    items = [*TEXTS, *IMAGES]
    got = embedder.embed(items, prompt_name=role, dimensions=dimensions)
    assert got.shape == (len(right), dimensions or HIDDEN)
    assert cells.measure(DSE, "dense", items, got, right) <= FLOAT32_GATE
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)


def test_token_vectors(embedder: JinaEmbedder, reference: Qwen2VlReference, cells: Cells) -> None:
    """Those of the placeholder's four patches are among them."""
    items = [TEXTS[1], IMAGES[0]]
    right = [
        reference.multi_vector(prompt_of("query", TEXTS[1]), [CARD]),
        reference.multi_vector(SHOWN, IMAGES[:1]),
    ]
    got = embedder.embed_multi_vector(items, prompt_name="query")
    assert cells.measure(DSE, "multi", items, got, right) <= FLOAT32_GATE


def test_planted_mistakes_are_far_outside(embedder: JinaEmbedder, reference: Qwen2VlReference, cells: Cells) -> None:
    """Another pooling, other positions, another placeholder, and prompts that differ in one piece."""
    for text, vector in zip(TEXTS[1:3], embedder.embed_queries(TEXTS[1:3]), strict=True):
        prompt = prompt_of("query", text)
        states = reference.states(prompt, [CARD])
        mistakes = {
            "mean": states.mean(0),
            "token before the last": states[-2],
            "patches in one line": reference.states(prompt, [CARD], in_line=True)[-1],
            "no placeholder": reference.states(prompt.replace(IMAGE, ""))[-1],
            "a white placeholder": reference.states(prompt, [Image.new("RGB", (28, 28), "white")])[-1],
            "one token of it": reference.states(prompt, [Image.new("RGB", (56, 56))], size=ONE_TOKEN)[-1],
            "no end of text": reference.states(prompt.removesuffix("<|endoftext|>"), [CARD])[-1],
            "the other role": reference.states(prompt_of("passage", text), [CARD])[-1],
            "no role": reference.states(prompt.replace("Query: ", ""), [CARD])[-1],
        }
        gaps = {name: distance(vector, unit(wrong)) for name, wrong in mistakes.items()}
        print(", ".join(f"{name}: {gap:.1e}" for name, gap in gaps.items()))
        assert cells.planted(DSE, gaps) > 100 * FLOAT32_GATE, gaps


ONE_TOKEN = {"shortest_edge": 28**2, "longest_edge": 28**2}


@pytest.mark.parametrize("placeholder", [(), (Placeholder(28, 28, 1),), (Placeholder(56, 84, 6),)], ids=str)
def test_rows_with_another_placeholder_give_other_vectors(
    checkpoint: Path, embedder: JinaEmbedder, reference: Qwen2VlReference, placeholder: Any
) -> None:
    """On the same engine: what these tests compare would find it, as it finds a missing end of text."""
    pieces = DSE.templates["query", "text"]
    place = next(place for place, piece in enumerate(pieces) if isinstance(piece, Placeholder))
    right = reference.embed(prompt_of("query", TEXTS[1]), [CARD])
    for planted in ((*pieces[:place], *placeholder, *pieces[place + 1 :]), pieces[:-1]):
        row = replace(DSE, name="planted", templates={**DSE.templates, ("query", "text"): planted})
        got = embedded(embedder, row, checkpoint, TEXTS[1], role="query", dimensions=HIDDEN)
        assert distance(got, right) > 100 * FLOAT32_GATE


def test_special_tokens_in_a_text_stay_text(embedder: JinaEmbedder, reference: Qwen2VlReference) -> None:
    """An image's among them: the placeholder stays the only one."""
    head, tail = (reference.ids(part) for part in FRAME.split("{}"))
    for text, vector in zip(HOSTILE, embedder.embed_queries(HOSTILE), strict=True):
        ids = [*head, *reference.ids(IMAGE), *reference.plain(f"Query: {text}"), *tail]
        assert distance(vector, reference.embed(ids, [CARD])) <= FLOAT32_GATE


@pytest.mark.parametrize("truncate", ["end", "start"])
def test_a_text_too_long_is_cut_between_its_placeholder_and_the_end(
    embedder: JinaEmbedder, checkpoint: Path, reference: Qwen2VlReference, truncate: Any
) -> None:
    head, tail = (reference.ids(part) for part in prompt_of("query", "{}").split(" {}"))
    text = reference.ids(" " + LONG)
    room = 100 - len(head) - (4 - 1) - len(tail)  # the placeholder has four tokens in the engine, and one in ``head``
    kept = text[:room] if truncate == "end" else text[-room:]
    with (
        JinaEmbedder(checkpoint, truncate=truncate, max_length=100, **FLOAT32) as other,
        pytest.warns(UserWarning, match=f"lost their {truncate}"),
    ):
        (vector,) = other.embed_queries([LONG])
    assert distance(vector, reference.embed([*head, *kept, *tail], [CARD])) <= FLOAT32_GATE


def test_prompts_that_are_cut_into_steps(checkpoint: Path, reference: Qwen2VlReference) -> None:
    options = {"dtype": "float32", "max_num_batched_tokens": 48, "max_model_len": 2048, "scheduler_cls": None}
    with JinaEmbedder(checkpoint, engine_kwargs=options) as embedder:
        right = [reference.embed(prompt_of("passage", LONG), [CARD]), reference.embed(SHOWN, IMAGES[:1])]
        assert distance(embedder.embed([LONG, IMAGES[0]]), np.stack(right)) <= FLOAT32_GATE


def test_what_this_checkpoint_cannot_honour_is_refused(checkpoint: Path, embedder: JinaEmbedder) -> None:
    """It was not trained with a text and an image together."""
    with pytest.raises(ConfigError, match="dimensions"):
        JinaEmbedder(checkpoint, dimensions=HIDDEN + 1)
    with pytest.raises(InputError, match=r"items\[0\]: .*was not trained for that"):
        embedder.embed([given("a fox", IMAGES[:1])])
