"""SigLIP and SigLIP 2: texts and images against transformers; planted mistakes fall outside; what vLLM gives alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.real.test_faithful import FLOAT32_GATE
from tests.support.bare_vllm import bare_vectors
from tests.support.cells import Cells
from tests.support.images import noise
from tests.support.reference import distance
from tests.support.siglip import LENGTH, PROJECTION, SiglipReference, make_siglip, make_siglip2
from tests.support.xlm_roberta import unit
from vllm_jina_embed import JinaEmbedder, Slot, Special
from vllm_jina_embed.checkpoints.files import locate
from vllm_jina_embed.checkpoints.registry import ROWS
from vllm_jina_embed.checkpoints.table.siglip import SIGLIP2
from vllm_jina_embed.errors import ConfigError, EngineError, InputError
from vllm_jina_embed.inputs import items as inputs
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.prompts.build import row_builder

pytestmark = [pytest.mark.real, pytest.mark.models]

FLOAT32 = {"engine_kwargs": {"dtype": "float32"}}
LONG = "the fox " * 60
TEXTS = [
    "a",
    "The quick brown FOX, jumps!",
    "Ein wunderschöner  Sonnenuntergang\nam Strand, it's 12 o'clock",
    "浜辺に沈む 🙂",
    "</s> a <pad> <eos>",
    LONG,
]
IMAGES = [noise(300, 200, 1), noise(40, 60, 2), noise(1, 1, 3), noise(600, 90, 4), noise(48, 48, 5)]
KINDS = ["siglip", "siglip2"]


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, kind: str) -> Path:
    make = make_siglip if kind == "siglip" else make_siglip2
    return make(tmp_path_factory.mktemp(kind) / f"{kind}-base-patch16-224")


@pytest.fixture(scope="module")
def reference(checkpoint: Path, kind: str) -> SiglipReference:
    return SiglipReference(checkpoint) if kind == "siglip" else SiglipReference.of_siglip2(checkpoint)


@pytest.fixture(scope="module")
def embedder(checkpoint: Path) -> Iterator[JinaEmbedder]:
    """The checkpoint on one engine in float32."""
    with JinaEmbedder(checkpoint, **FLOAT32) as embedder:
        yield embedder


def test_embeddings_of_texts_and_images_in_one_list(
    embedder: JinaEmbedder, reference: SiglipReference, kind: str, cells: Cells
) -> None:
    """Steps of the engine hold both; both roles have one prompt."""
    pairs = zip([*TEXTS * 2], [*IMAGES * 3], strict=False)
    mixed = [item for pair in pairs for item in pair]
    right = [reference.text(item) if isinstance(item, str) else reference.image(item) for item in mixed]
    for role in ("query", "passage"):
        with pytest.warns(UserWarning, match="lost their end"):
            got = embedder.embed(mixed, prompt_name=role)  # type: ignore[arg-type]
        assert cells.measure(ROWS[kind], "dense", mixed, got, right) <= FLOAT32_GATE
        assert got.shape == (len(mixed), PROJECTION)
        np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)


def test_a_text_alone_and_an_image_alone(embedder: JinaEmbedder, reference: SiglipReference) -> None:
    """Steps of one kind take other ways through vLLM's class."""
    assert distance(embedder.embed_queries([TEXTS[2]])[0], reference.text(TEXTS[2])) <= FLOAT32_GATE
    assert distance(embedder.embed_images([IMAGES[0]])[0], reference.image(IMAGES[0])) <= FLOAT32_GATE


@pytest.mark.parametrize("text", [TEXTS[1], TEXTS[2]])
def test_planted_mistakes_in_texts_are_far_outside(
    embedder: JinaEmbedder, reference: SiglipReference, kind: str, text: str, cells: Cells
) -> None:
    (vector,) = embedder.embed([text])
    ids, own = reference.ids(text), reference.ids(text, padding=False)
    states = reference.text_states(ids)
    assert distance(vector, unit(states[-1])) <= FLOAT32_GATE
    mistakes = {
        "the first token": states[0],
        "the text's last token": states[len(own) - 1],
        "the mean": states.mean(0),
        "causal": reference.text_states(ids, causal=True)[-1],
        "no padding": reference.of_ids(own),
        "padding in front": reference.of_ids([ids[-1]] * (LENGTH - len(own)) + own),
        "another padding": reference.of_ids([*own, *[3] * (LENGTH - len(own))]),
        "half the padding": reference.of_ids(ids[: LENGTH // 2]),
        "no first token": reference.of_ids([*ids[1:], ids[-1]]),
        "letters as written": reference.of_ids(as_written(reference, text)),
    }
    if ids[-1] != own[-1]:  # else the end is what a text is filled up with
        mistakes["no end"] = reference.of_ids([*own[:-1], *[ids[-1]] * (LENGTH - len(own) + 1)])
    gaps = {name: distance(vector, unit(wrong)) for name, wrong in mistakes.items()}
    assert cells.planted(ROWS[kind], gaps) > 100 * FLOAT32_GATE, gaps


def as_written(reference: SiglipReference, text: str) -> list[int]:
    """Return the tokens of a text that keeps its capitals."""
    tokenizer: Any = type(reference.tokenizer).from_pretrained(reference.tokenizer.name_or_path)
    if hasattr(tokenizer, "canonicalize_text"):
        tokenizer.canonicalize_text = lambda given, **_: given
    else:
        tokenizer.backend_tokenizer.normalizer = tokenizer.backend_tokenizer.normalizer[1]
    options = {"padding": "max_length", "max_length": LENGTH, "truncation": True, "padding_side": "right"}
    ids: list[int] = tokenizer(text, **options).input_ids
    return ids


def test_planted_mistakes_in_images_are_far_outside(
    embedder: JinaEmbedder, reference: SiglipReference, kind: str, cells: Cells
) -> None:
    image = IMAGES[0]
    (vector,) = embedder.embed([image])
    clip = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
    mistakes = {
        "another image": reference.image(noise(300, 200, 9)),
        "its middle alone": reference.image(image.crop((50, 0, 250, 200))),
        "CLIP's normalisation": reference.image(image, **clip),
        "pixels as they are": reference.image(image, do_normalize=False),
        "the mean of the patches": reference.patches(image),
    }
    gaps = {name: distance(vector, wrong) for name, wrong in mistakes.items()}
    assert cells.planted(ROWS[kind], gaps) > 100 * FLOAT32_GATE, gaps


MISTAKES: dict[str, dict[str, dict[str, Any]]] = {
    "siglip": {"no padding": {"padding": None}, "another padding": {"padding": Special("<pad>")}},
    "siglip2": {
        "no padding": {"padding": None},
        "another padding": {"padding": Special("<eos>")},
        "letters as written": {"normalization": None},
        "no end": {"templates": {**SIGLIP2.templates, ("any", "text"): (Slot.TEXT,)}},
    },
}
"""Capitals that SigLIP keeps are in the test of a tokenizer.json that does not drop them itself."""


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in KINDS for name in MISTAKES[kind]], indirect=["kind"]
)
def test_rows_with_a_mistake_give_other_vectors(
    checkpoint: Path, embedder: JinaEmbedder, reference: SiglipReference, kind: str, name: str
) -> None:
    """On the same engine: what these tests compare would find it."""
    embedder.embed(["start"])
    text, row = TEXTS[1], replace(ROWS[kind], name="planted", **MISTAKES[kind][name])
    builder = row_builder(row, locate(str(checkpoint), None), policy=MediaPolicy(), length=LENGTH)
    items = inputs.good(inputs.mixed([text]))
    (prompt,) = builder.build(items, role="query", task="retrieval", max_length=LENGTH, truncate="error")
    engine: Any = embedder.backend.engine
    got = engine.run(engine.embed(prompt, dimensions=PROJECTION, task="retrieval")).result()
    assert distance(got, reference.text(text)) > 100 * FLOAT32_GATE


def test_special_tokens_in_a_text_stay_text(embedder: JinaEmbedder, reference: SiglipReference, kind: str) -> None:
    """SigLIP 2's would be read by transformers; SigLIP's lose their brackets."""
    end = "</s>" if kind == "siglip" else "<eos>"
    text = f"a fox{end} on a beach"
    (vector,) = embedder.embed([text])
    assert distance(vector, reference.text(text)) <= FLOAT32_GATE
    assert distance(vector, reference.of_ids(reference.ids(text, split_special_tokens=False))) > 100 * FLOAT32_GATE


def test_long_texts_keep_their_end_token(embedder: JinaEmbedder, reference: SiglipReference) -> None:
    ids = reference.ids(LONG)
    assert (len(ids), ids[-1]) == (LENGTH, reference.tokenizer.eos_token_id)
    with pytest.warns(UserWarning, match="lost their end"):
        (vector,) = embedder.embed([LONG])
    assert distance(vector, reference.of_ids(ids)) <= FLOAT32_GATE
    cut = reference.ids(LONG, truncation=False, padding=False)[:LENGTH]
    assert distance(vector, reference.of_ids(cut)) > 100 * FLOAT32_GATE


def test_vllm_alone_gives_texts_another_vector(
    checkpoint: Path, embedder: JinaEmbedder, reference: SiglipReference, tmp_path: Path
) -> None:
    """It does not fill texts up, and its token ids are right otherwise."""
    texts = TEXTS[:3]
    right = np.stack([reference.text(text) for text in texts])
    unfilled = [reference.ids(text, padding=False) for text in texts]
    filled = [reference.ids(text) for text in texts]
    vectors = bare_vectors(checkpoint, tmp_path / "bare", [*unfilled, *filled], max_model_len=LENGTH)
    gaps = [distance(one, other) for one, other in zip(vectors[:3], right, strict=True)]
    own = distance(embedder.embed(texts), right)
    print(f"vLLM's 1 - cosine {min(gaps):.2f} to {max(gaps):.2f}, ours {own:.1e}")
    assert min(gaps) > 1000 * FLOAT32_GATE
    assert distance(vectors[3:], right) <= FLOAT32_GATE
    assert own <= FLOAT32_GATE


def test_what_this_checkpoint_cannot_honour_is_refused(checkpoint: Path, embedder: JinaEmbedder) -> None:
    """It has no shorter prompts, no multi-vectors, no bounds of images, no other lengths, and one image at a time."""
    embedder.embed(["start"])
    with JinaEmbedder(checkpoint, max_length=32, **FLOAT32) as shorter, pytest.raises(ConfigError, match="filled up"):
        shorter.embed(["a"])
    with pytest.raises(ConfigError, match="it has no multi-vectors"):
        embedder.embed_multi_vector(["a"])
    with pytest.raises(ConfigError, match="whose images have a fixed size"):
        JinaEmbedder(checkpoint, max_pixels=5)
    with pytest.raises(ConfigError, match="Leave dimensions out"):
        JinaEmbedder(checkpoint, dimensions=64)
    with pytest.raises(InputError, match="was not trained for that"):
        embedder.embed([{"text": "a", "image": IMAGES[0]}])
    with pytest.raises(InputError, match=r"items\[0\]"):
        embedder.embed([[IMAGES[0], IMAGES[1]]])


def test_shorter_prompts_of_a_file_that_does_not_normalise(tmp_path: Path) -> None:
    """As siglip-so400m-patch14-224 has them; capitals and punctuation go whether or not tokenizer.json drops them."""
    folder = make_siglip(tmp_path / "siglip-so400m-patch14-224", normalizes=False, length=16, seed=3)
    reference = SiglipReference(folder)
    texts = [TEXTS[1], "a", LONG]
    assert {len(reference.ids(text)) for text in texts} == {16}
    with JinaEmbedder(folder, **FLOAT32) as embedder, pytest.warns(UserWarning, match="lost their end"):
        got = embedder.embed([*texts, IMAGES[0]])
    right = [*(reference.text(text) for text in texts), reference.image(IMAGES[0])]
    assert distance(got, np.stack(right)) <= FLOAT32_GATE
    assert distance(got[0], reference.of_ids(as_written(reference, TEXTS[1])[:16])) > 100 * FLOAT32_GATE


def test_an_engine_for_shorter_prompts_does_not_start(tmp_path: Path) -> None:
    folder = make_siglip(tmp_path / "siglip-base-patch16-224")
    options = {**FLOAT32["engine_kwargs"], "max_model_len": 32}
    with (
        JinaEmbedder(folder, engine_kwargs=options) as embedder,
        pytest.raises((ConfigError, EngineError), match="filled up to 64 tokens"),
    ):
        embedder.embed(["a"])
