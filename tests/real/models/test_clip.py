"""CLIP: texts and images against transformers; planted mistakes fall outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.real.test_faithful import FLOAT32_GATE
from tests.support.cells import Cells
from tests.support.clip import END, LENGTH, PROJECTION, START, ClipReference, make_clip
from tests.support.images import noise
from tests.support.reference import distance
from tests.support.vision import embedded
from tests.support.xlm_roberta import unit
from vllm_jina_embed import JinaEmbedder, Slot, Special
from vllm_jina_embed.checkpoints.table.clip import CLIP
from vllm_jina_embed.errors import ConfigError, InputError

pytestmark = [pytest.mark.real, pytest.mark.models]

FLOAT32 = {"engine_kwargs": {"dtype": "float32"}}
LONG = "the fox " * 60
TEXTS = [
    "a",
    "The quick brown FOX",
    "Ein wunderschöner  Sonnenuntergang\nam Strand, it's 12 o'clock",
    "浜辺に沈む 🙂",
    "!?",  # its first token has the id that vLLM's class gives an image
    "<|endoftext|> <|startoftext|>",
    LONG,
]
IMAGES = [noise(300, 200, 1), noise(40, 60, 2), noise(1, 1, 3), noise(600, 90, 4), noise(56, 56, 5)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip-vit-base-patch32")


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> ClipReference:
    return ClipReference(checkpoint)


@pytest.fixture(scope="module")
def embedder(checkpoint: Path) -> Iterator[JinaEmbedder]:
    """The checkpoint on one engine in float32."""
    with JinaEmbedder(checkpoint, **FLOAT32) as embedder:
        yield embedder


@pytest.mark.parametrize("role", ["query", "passage"])
def test_embeddings_of_texts_and_images_in_one_list(
    embedder: JinaEmbedder, reference: ClipReference, role: Any, cells: Cells
) -> None:
    """Steps of the engine hold both: vLLM once left the texts of such a step out of the text encoder (#53091)."""
    pairs = zip([*TEXTS * 2], [*IMAGES * 3], strict=False)
    mixed = [item for pair in pairs for item in pair]
    with pytest.warns(UserWarning, match="lost their end"):
        got = embedder.embed(mixed, prompt_name=role)
    right = [reference.text(item) if isinstance(item, str) else reference.image(item) for item in mixed]
    assert cells.measure(CLIP, "dense", mixed, got, right) <= FLOAT32_GATE
    assert got.shape == (len(mixed), PROJECTION)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)


def test_a_text_alone_and_an_image_alone(embedder: JinaEmbedder, reference: ClipReference) -> None:
    """Steps of one kind take other ways through vLLM's class."""
    assert distance(embedder.embed_queries([TEXTS[2]])[0], reference.text(TEXTS[2])) <= FLOAT32_GATE
    assert distance(embedder.embed_images([IMAGES[0]])[0], reference.image(IMAGES[0])) <= FLOAT32_GATE


@pytest.mark.parametrize("text", [TEXTS[1], TEXTS[2]])
def test_planted_mistakes_in_texts_are_far_outside(
    embedder: JinaEmbedder, reference: ClipReference, text: str, cells: Cells
) -> None:
    (vector,) = embedder.embed([text])
    ids = reference.ids(text)
    states = reference.text_states(ids)
    assert distance(vector, unit(states[-1])) <= FLOAT32_GATE
    mistakes = {
        "the first token": states[0],
        "the token before the last": states[-2],
        "the mean": states.mean(0),
        "no start": reference.of_ids(ids[1:]),
        "no end": reference.of_ids(ids[:-1]),
        "a space in front": reference.of_ids([*ids[:1], *reference.ids("a")[1:-1], *ids[1:]]),
        "letters as written": reference.of_ids(reference.ids_as_written(text)),
    }
    gaps = {name: distance(vector, unit(wrong)) for name, wrong in mistakes.items()}
    assert cells.planted(CLIP, gaps) > 100 * FLOAT32_GATE, gaps


def test_planted_mistakes_in_images_are_far_outside(
    embedder: JinaEmbedder, reference: ClipReference, cells: Cells
) -> None:
    image = IMAGES[0]
    (vector,) = embedder.embed([image])
    mistakes = {
        "another image": reference.image(noise(300, 200, 9)),
        "the whole image, not its middle": reference.image(image.resize((56, 56))),
        "pixels from -1 to 1": reference.image(image, image_mean=[0.5] * 3, image_std=[0.5] * 3),
        "pixels as they are": reference.image(image, do_normalize=False),
        "the patches, not the class": reference.patches(image),
    }
    gaps = {name: distance(vector, wrong) for name, wrong in mistakes.items()}
    assert cells.planted(CLIP, gaps) > 100 * FLOAT32_GATE, gaps
    assert distance(vector, reference.image(image, resample=2)) > 10 * FLOAT32_GATE  # bilinear: noise hides most of it


@pytest.mark.parametrize("pieces", [(Slot.TEXT, Special(END)), (Special(START), Slot.TEXT)])
def test_rows_with_a_mistake_give_other_vectors(
    checkpoint: Path, embedder: JinaEmbedder, reference: ClipReference, pieces: Any
) -> None:
    """On the same engine: what these tests compare would find it."""
    row = replace(CLIP, name="planted", templates={**CLIP.templates, ("any", "text"): pieces})
    got = embedded(embedder, row, checkpoint, TEXTS[1], role="query", dimensions=PROJECTION)
    assert distance(got, reference.text(TEXTS[1])) > 100 * FLOAT32_GATE


def test_special_tokens_in_a_text_stay_text(embedder: JinaEmbedder, reference: ClipReference) -> None:
    """The state of the first ``<|endoftext|>`` would be the vector: all that follows would be lost."""
    text = "a fox<|endoftext|> on a beach"
    (vector,) = embedder.embed([text])
    assert distance(vector, reference.text(text)) <= FLOAT32_GATE
    assert distance(vector, reference.of_ids(reference.ids(text, split_special_tokens=False))) > 100 * FLOAT32_GATE
    assert distance(vector, reference.text("a fox")) > 100 * FLOAT32_GATE


def test_long_texts_keep_their_end_token(embedder: JinaEmbedder, reference: ClipReference) -> None:
    ids = reference.ids(LONG)
    assert (len(ids), ids[-1]) == (LENGTH, reference.tokenizer.eos_token_id)
    with pytest.warns(UserWarning, match="lost their end"):
        (vector,) = embedder.embed([LONG])
    assert distance(vector, reference.of_ids(ids)) <= FLOAT32_GATE
    cut = reference.ids(LONG, truncation=False)[:LENGTH]
    assert distance(vector, unit(reference.text_states(cut)[-1])) > 100 * FLOAT32_GATE


def test_an_end_that_config_json_names_rightly_is_the_same(
    embedder: JinaEmbedder, reference: ClipReference, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer checkpoints have the id of ``<|endoftext|>`` there, where OpenAI's have 2; vLLM reads neither."""
    assert reference.model.text_model.eos_token_id == 2
    monkeypatch.setattr(reference.model.text_model, "eos_token_id", reference.tokenizer.eos_token_id)
    texts = [TEXTS[1], TEXTS[5]]
    assert distance(embedder.embed(texts), np.stack([*map(reference.text, texts)])) <= FLOAT32_GATE


def test_a_text_and_its_image_are_fused_or_refused(checkpoint: Path, reference: ClipReference, embedder: Any) -> None:
    """It was trained with one of them at a time."""
    item = {"text": TEXTS[1], "image": IMAGES[0]}
    with pytest.raises(InputError, match="was not trained for that"):
        embedder.embed([item])
    with JinaEmbedder(checkpoint, fusion="mean", **FLOAT32) as fused:
        (got,) = fused.embed([item])
    sides = reference.text(TEXTS[1]), reference.image(IMAGES[0])
    assert distance(got, unit(np.mean(sides, axis=0))) <= FLOAT32_GATE


def test_what_this_checkpoint_cannot_honour_is_refused(checkpoint: Path, embedder: JinaEmbedder) -> None:
    """It has no multi-vectors, no bounds of images, no other lengths, and one image at a time."""
    with pytest.raises(ConfigError, match="it has no multi-vectors"):
        embedder.embed_multi_vector(["a"])
    with pytest.raises(ConfigError, match="whose images have a fixed size"):
        JinaEmbedder(checkpoint, max_pixels=5)
    with pytest.raises(ConfigError, match="Leave dimensions out"):
        JinaEmbedder(checkpoint, dimensions=64)
    with pytest.raises(ConfigError, match="late chunking means nothing to it"):
        embedder.embed_late_chunks([["a", "b"]])
    assert embedder.checkpoint.max_length == LENGTH
    with pytest.raises(InputError, match=r"items\[0\]"):
        embedder.embed([[IMAGES[0], IMAGES[1]]])
