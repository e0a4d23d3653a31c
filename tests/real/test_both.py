"""A text with its images on the real engine against transformers: by a row's own prompt, and by a mean of two vectors.

The row is a user's own over a random Qwen2.5-VL checkpoint. Its text stands in front of the images, so that causal
attention lets it change their states; 1 - cosine is at most 1e-5, and each planted mistake is far outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.images import noise
from tests.support.reference import IMAGE, Reference, distance
from vllm_jina_embed import JinaEmbedder, Slot, Special
from vllm_jina_embed.checkpoints.description import DEMO_FOLDER
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.errors import InputError

pytestmark = [pytest.mark.real, pytest.mark.wide]

GATE = 1e-5
FOLLOWED = "<|im_end|>\nDescribe the image.<|im_end|>\n"
OWN = replace(
    JINA_V4,
    name="own-both",
    templates={
        **JINA_V4.templates,
        ("any", "both"): (
            Special("<|im_start|>"),
            "user\n",
            "Query: ",
            Slot.TEXT,
            Slot.IMAGES,
            Special("<|im_end|>"),
            "\nDescribe the image.",
            Special("<|im_end|>"),
            "\n",
        ),
    },
    vectors_before={},
)
PAIRS: list[tuple[str, list[Image.Image]]] = [
    ("Ein wunderschöner Sonnenuntergang am Strand", [noise(84, 84)]),
    ("浜辺に沈む美しい夕日", [noise(448, 200, 1)]),
    ("a", [noise(1, 1, 2)]),
    (f"quotes {IMAGE} and <|im_end|>", [noise(100, 60, 3)]),
    ("the quick brown fox " * 60, [noise(60, 90, 4), noise(200, 100, 5)]),
]


def items_of(pairs: Sequence[tuple[str, Sequence[Image.Image]]]) -> list[Any]:
    return [{"text": text, "image": list(images)} for text, images in pairs]


def states_of(reference: Reference, text: str, images: Sequence[Image.Image]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and states of the row's prompt, written apart from the package; the text's special tokens are text."""
    tokenize = reference.tokenizer
    start = tokenize("<|im_start|>", add_special_tokens=False).input_ids
    middle = tokenize(f"user\nQuery: {text}", split_special_tokens=True, add_special_tokens=False).input_ids
    end = tokenize(IMAGE * len(images) + FOLLOWED, add_special_tokens=False).input_ids
    return reference.prompt_states([*start, *middle, *end], images)


@pytest.fixture(scope="module")
def embedder(random_checkpoint: Path) -> Iterator[JinaEmbedder]:
    with JinaEmbedder(random_checkpoint, row=OWN, engine_kwargs={"dtype": "float32"}) as embedder:
        yield embedder


@pytest.mark.wide
def test_a_row_s_own_prompt_gives_the_reference_s_vectors(embedder: JinaEmbedder, random_reference: Reference) -> None:
    """One vector, pooled as the row says, and one for each token, in one list with texts and images."""
    expected = [states_of(random_reference, *pair) for pair in PAIRS]
    pooled = np.stack([random_reference.pooled(*each) for each in expected])
    rows = embedder.embed([*items_of(PAIRS), "a", noise(84, 84)])
    assert distance(rows[:-2], pooled) <= GATE
    assert distance(rows[-2], random_reference.embed("Passage: a")) <= GATE
    assert distance(rows[-1], random_reference.embed(noise(84, 84))) <= GATE
    for multi, (ids, states) in zip(embedder.embed_multi_vector(items_of(PAIRS)), expected, strict=True):
        assert multi.shape == (len(ids), random_reference.model.config.text_config.hidden_size)
        assert distance(multi, states.numpy()) <= GATE


@pytest.mark.wide
def test_each_planted_mistake_is_far_away(embedder: JinaEmbedder, random_reference: Reference) -> None:
    """Another text, no text, another image, another place of the text; so the test above compares what it says."""
    text, images = PAIRS[0]
    (row,) = embedder.embed(items_of(PAIRS[:1]))
    other_place = random_reference.tokenizer(
        f"<|im_start|>user\n{IMAGE}Query: {text}{FOLLOWED}", add_special_tokens=False
    ).input_ids
    for wrong in (
        states_of(random_reference, text + ".", images),
        states_of(random_reference, "", images),
        states_of(random_reference, text, [noise(84, 84, 9)]),
        random_reference.prompt_states(other_place, images),
    ):
        assert distance(row, random_reference.pooled(*wrong)) > 10 * GATE


@pytest.mark.wide
def test_a_cut_text_leaves_its_images_whole(embedder: JinaEmbedder, random_reference: Reference) -> None:
    """The vector is that of the shorter text."""
    images = [noise(84, 84)]
    with (
        pytest.warns(UserWarning, match="were longer than max_length"),
        JinaEmbedder(embedder.model, row=OWN, engine_kwargs={"dtype": "float32"}, max_length=40) as short,
    ):
        (row,) = short.embed([{"text": "the " * 99, "image": images}])
    distances = [
        distance(row, random_reference.pooled(*states_of(random_reference, ("the " * count)[:-1], images)))
        for count in range(5, 40)
    ]
    assert min(distances) <= GATE


@pytest.mark.parametrize("dimensions", [None, 64])
def test_a_mean_is_that_of_the_reference_s_two_vectors(demo_embedder: JinaEmbedder, dimensions: int | None) -> None:
    """On the demo, which has no such prompt: the text in its role, each side cut before."""
    reference = Reference(DEMO_FOLDER)
    with JinaEmbedder("demo", fusion="mean", dimensions=dimensions) as embedder:
        for role, prefix in (("query", "Query: "), ("passage", "Passage: ")):
            rows = embedder.embed(items_of(PAIRS), prompt_name=role)  # type: ignore[arg-type]
            for row, (text, images) in zip(rows, PAIRS, strict=True):
                ids = reference.tokenizer(prefix + text, split_special_tokens=True, add_special_tokens=False).input_ids
                states = reference.model.model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0]
                sides = (
                    reference.pooled(torch.tensor(ids), states.detach(), dimensions),
                    reference.embed(images, dimensions),
                )
                assert distance(row, np.mean(sides, axis=0)) <= GATE
                assert all(distance(row, side) > 10 * GATE for side in sides)


def test_without_fusion_the_demo_refuses_it(demo_embedder: JinaEmbedder) -> None:
    with pytest.raises(InputError, match=r"^items\[1\]: .*fusion='mean'") as caught:
        demo_embedder.embed(["a", {"text": "a", "image": noise(84, 84)}])
    assert np.isfinite(caught.value.embeddings[0]).all()
