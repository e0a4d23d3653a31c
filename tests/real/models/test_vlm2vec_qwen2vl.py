"""Both VLM2Vec over Qwen2-VL: texts, images and both against their code on transformers; mistakes fall outside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.real.test_faithful import FLOAT32_GATE
from tests.support.cells import Cells
from tests.support.images import noise
from tests.support.qwen2_vl import HIDDEN, Qwen2VlReference, make_qwen2_vl
from tests.support.reference import IMAGE, distance
from tests.support.vision import embedded, given
from tests.support.xlm_roberta import unit
from vllm_jina_embed import JinaEmbedder, Model, Slot
from vllm_jina_embed.checkpoints.table.qwen_vl import IMAGE as FRAMED
from vllm_jina_embed.checkpoints.table.qwen_vl import VLM2VEC, VLM2VEC_V2
from vllm_jina_embed.errors import ConfigError

pytestmark = [pytest.mark.real, pytest.mark.models]

FLOAT32 = {"engine_kwargs": {"dtype": "float32"}}
PAD = "<|image_pad|>"
LONG = "the quick brown fox " * 60
DOCUMENT = "{images} Understand the content of the provided document image."
PROMPTS = {
    VLM2VEC: {
        "query": {
            "text": "Find me an everyday image that matches the given caption: {text}",
            "image": "{images} Find a day-to-day image that looks similar to the provided image.",
        },
        "passage": {"text": "{text}", "image": "{images} Represent the given image."},
    },
    VLM2VEC_V2: {
        "query": {"text": "Find a document image that matches the given query: {text}", "image": DOCUMENT},
        "passage": {"text": "{text}", "image": DOCUMENT},
    },
}
"""By the row, the role and the modality; of a text with its images it is the same everywhere."""
BOTH = "{images} Represent the given image with the following question: {text}"
FOLDERS = {VLM2VEC: "VLM2Vec-Qwen2VL-2B-merged", VLM2VEC_V2: "VLM2Vec-V2.0-merged"}
ROLES = ("query", "passage")
ITEMS: list[tuple[str | None, list[Any]]] = [
    ("a", []),
    ("Ein wunderschöner Sonnenuntergang am Strand", []),
    ("\n\n  two  spaces,\nand lines\n", []),
    (LONG, []),
    (None, [noise(300, 200, 1)]),
    (None, [noise(40, 60, 2)]),
    (None, [noise(28, 28, 3)]),
    (None, [noise(1600, 1800, 4)]),
    ("the quick brown fox", [noise(300, 200, 1)]),
    ("浜辺に沈む美しい夕日", [noise(40, 60, 2), noise(200, 100, 8)]),
    (LONG, [noise(1000, 800, 9)]),
]


@pytest.fixture(scope="module", params=PROMPTS, ids=[row.name for row in PROMPTS])
def row(request: pytest.FixtureRequest) -> Model:
    """Each of the two, on an engine of its own."""
    row: Model = request.param
    return row


@pytest.fixture(scope="module")
def checkpoint(row: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Merged, as its users have it."""
    return make_qwen2_vl(tmp_path_factory.mktemp("vlm2vec") / FOLDERS[row])


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Qwen2VlReference:
    """The code that it was trained with, on transformers 4: no image has a grid of positions."""
    return Qwen2VlReference(checkpoint, low=4 * 28**2, high=1280 * 28**2, fetches=False, in_line=True)


@pytest.fixture(scope="module")
def embedder(row: Model, checkpoint: Path) -> Iterator[JinaEmbedder]:
    """The checkpoint on one engine in float32."""
    with JinaEmbedder(checkpoint, **FLOAT32) as embedder:
        assert embedder.checkpoint.row == row
        yield embedder


def prompt_of(row: Model, role: str, text: str | None, images: int) -> str:
    own = PROMPTS[row][role]
    template = BOTH if images and text is not None else own["image" if images else "text"]
    return template.format(images=PAD * images, text=text)


@pytest.mark.parametrize("role", ROLES)
def test_embeddings_of_texts_images_and_both(
    row: Model, embedder: JinaEmbedder, reference: Qwen2VlReference, role: Any, cells: Cells
) -> None:
    """In one mixed list; nothing stands around a prompt."""
    right = np.stack([reference.embed(prompt_of(row, role, text, len(images)), images) for text, images in ITEMS])
    items = [given(*item) for item in ITEMS]
    got = embedder.embed(items, prompt_name=role)
    assert cells.measure(row, "dense", items, got, right) <= FLOAT32_GATE
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)


def test_token_vectors(row: Model, embedder: JinaEmbedder, reference: Qwen2VlReference, cells: Cells) -> None:
    some = (ITEMS[1], ITEMS[5], ITEMS[8])
    right = [reference.multi_vector(prompt_of(row, "passage", text, len(images)), images) for text, images in some]
    items = [given(*item) for item in some]
    got = embedder.embed_multi_vector(items)
    assert cells.measure(row, "multi", items, got, right) <= FLOAT32_GATE


def test_planted_mistakes_are_far_outside(
    row: Model, embedder: JinaEmbedder, reference: Qwen2VlReference, cells: Cells
) -> None:
    """Another pooling, positions on a grid as vLLM gives by itself, and prompts that differ in a piece."""
    text, images = ITEMS[8]
    (vector, of_text, of_image) = embedder.embed([given(text, images), text, images], prompt_name="query")
    prompt = prompt_of(row, "query", text, 1)
    (other,) = PROMPTS.keys() - {row}
    states = reference.states(prompt, images)
    mistakes = {
        "mean": states.mean(0),
        "token before the last": states[-2],
        "positions on a grid": reference.states(prompt, images, in_line=False)[-1],
        "vision start and end": reference.states(prompt.replace(PAD, IMAGE), images)[-1],
        "no space behind the image": reference.states(prompt.replace(f"{PAD} ", PAD), images)[-1],
        "an end": reference.states(f"{prompt}<|endoftext|>", images)[-1],
        "another question": reference.states(prompt.replace("question", "caption"), images)[-1],
        "another image": reference.states(prompt, [noise(300, 200, 99)])[-1],
    }
    gaps = {
        **{name: distance(vector, unit(wrong)) for name, wrong in mistakes.items()},
        "the other model's text": distance(of_text, reference.embed(prompt_of(other, "query", text, 0))),
        "the other model's image": distance(of_image, reference.embed(prompt_of(other, "query", None, 1), images)),
        "no instruction": distance(of_text, reference.embed(str(text))),
    }
    assert cells.planted(row, gaps) > 100 * FLOAT32_GATE, gaps


def test_rows_with_a_mistake_give_other_vectors(
    row: Model, checkpoint: Path, embedder: JinaEmbedder, reference: Qwen2VlReference
) -> None:
    """On the same engine: what these tests compare would find it."""
    both = row.templates["any", "both"]
    rows = {
        "vision start and end": replace(row, name="planted", image=FRAMED),
        "text first": with_both(row, (*both[1:], Slot.IMAGES)),
        "no instruction": with_both(row, (Slot.IMAGES, " ", Slot.TEXT)),
    }
    text, images = ITEMS[8]
    right = reference.embed(prompt_of(row, "query", text, 1), images)
    for name, one in rows.items():
        got = embedded(embedder, one, checkpoint, given(text, images), role="query", dimensions=HIDDEN)
        assert distance(got, right) > 100 * FLOAT32_GATE, name


def with_both(row: Model, pieces: Any) -> Model:
    return replace(row, name="planted", templates={**row.templates, ("any", "both"): pieces})


def test_an_image_token_in_a_text_stays_text(embedder: JinaEmbedder, reference: Qwen2VlReference) -> None:
    image = noise(300, 200, 1)
    (text, both) = embedder.embed([f"a {PAD} b", {"text": f"a {PAD} b", "image": image}])
    assert distance(text, reference.embed(reference.plain(f"a {PAD} b"))) <= FLOAT32_GATE
    behind = reference.plain(" Represent the given image with the following question: " + f"a {PAD} b")
    assert distance(both, reference.embed([reference.pad, *behind], [image])) <= FLOAT32_GATE


def test_prompts_that_are_cut_into_steps(row: Model, checkpoint: Path, reference: Qwen2VlReference) -> None:
    """Each token's position is that of the prompt, not of a chunk; images are cut too."""
    options = {"dtype": "float32", "max_num_batched_tokens": 48, "max_model_len": 2048, "scheduler_cls": None}
    with JinaEmbedder(checkpoint, engine_kwargs=options) as embedder:
        some = [ITEMS[3], ITEMS[4], ITEMS[8], ITEMS[9]]
        right = [reference.embed(prompt_of(row, "passage", text, len(images)), images) for text, images in some]
        assert distance(embedder.embed([given(*item) for item in some]), np.stack(right)) <= FLOAT32_GATE


def test_weights_that_are_not_merged_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    """vLLM applies no adapter to a vision encoder; the base model's vectors would be wrong without an error."""
    folder = tmp_path / "VLM2Vec-Qwen2VL-2B"
    folder.mkdir()
    for file in checkpoint.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    with pytest.raises(ConfigError, match=r"its weights are an adapter; expected it merged \(peft: merge_and_unload\)"):
        JinaEmbedder(folder)
