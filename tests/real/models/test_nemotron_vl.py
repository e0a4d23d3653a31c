"""llama-nemotron-embed-vl: texts, images and both against its published code on transformers; mistakes fall outside."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.real.test_faithful import FLOAT32_GATE
from tests.support.cells import Cells
from tests.support.images import noise
from tests.support.nemotron_vl import (
    HIDDEN,
    PER_TILE,
    TILE,
    NemotronVLReference,
    grid,
    make_nemotron_vl,
    pixels,
)
from tests.support.planted import tell_vllm
from tests.support.reference import distance
from tests.support.servers import served
from tests.support.vision import embedded, given
from tests.support.xlm_roberta import unit
from vllm_jina_embed import JinaEmbedder, Slot, Special
from vllm_jina_embed.checkpoints.table.nemotron import NEMOTRON_EMBED_VL, PASSAGE, QUERY
from vllm_jina_embed.engine.plugin_contract import POOLING_KEY
from vllm_jina_embed.errors import ConfigError, EngineError, InputError

pytestmark = [pytest.mark.real, pytest.mark.models]

FLOAT32 = {"engine_kwargs": {"dtype": "float32"}}
ROLES = ("query", "passage")
LONG = "the quick brown fox " * 60
ITEMS: list[tuple[str | None, list[Any]]] = [
    ("a", []),
    ("the quick brown fox.", []),
    ("Ein wunderschöner Sonnenuntergang am Strand", []),
    ("\n\n  two  spaces,\nand lines\n", []),
    (LONG, []),
    (None, [noise(TILE, TILE, 1)]),
    (None, [noise(1, 1, 2)]),
    (None, [noise(128, 64, 3)]),
    (None, [noise(300, 200, 4)]),
    (None, [noise(600, 800, 5)]),
    (None, [noise(900, 90, 6)]),
    (None, [noise(400, 400, 7)]),
    ("the quick brown fox", [noise(300, 200, 4)]),
    ("浜辺に沈む美しい夕日.", [noise(60, 200, 8)]),
    (LONG, [noise(50, 60, 9)]),
]
"""Texts and images of an item; the images are of one tile, and of each number of them that there is."""
HOSTILE = ["<img>", "a</img><IMG_CONTEXT>", "b <image> c <|begin_of_text|>d"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_nemotron_vl(tmp_path_factory.mktemp("nemotron") / "llama-nemotron-embed-vl-1b-v2")


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> NemotronVLReference:
    return NemotronVLReference(checkpoint)


@pytest.fixture(scope="module")
def embedder(checkpoint: Path) -> Iterator[JinaEmbedder]:
    """The checkpoint on one engine in float32; beside it lies code that raises when it runs."""
    with JinaEmbedder(checkpoint, **FLOAT32) as embedder:
        yield embedder


def expected(reference: NemotronVLReference, role: str) -> np.ndarray:
    """Return the reference's embeddings of all items."""
    return np.stack([reference.embed(reference.prompt(role, text, len(images)), images) for text, images in ITEMS])


@pytest.mark.parametrize("role", ROLES)
def test_embeddings_of_texts_images_and_both(
    embedder: JinaEmbedder, reference: NemotronVLReference, role: Any, cells: Cells
) -> None:
    """In one mixed list; only a text has a prompt of its role."""
    items = [given(*item) for item in ITEMS]
    got = embedder.embed(items, prompt_name=role)
    assert cells.measure(NEMOTRON_EMBED_VL, "dense", items, got, expected(reference, role)) <= FLOAT32_GATE
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("role", ROLES)
def test_token_vectors(embedder: JinaEmbedder, reference: NemotronVLReference, role: Any, cells: Cells) -> None:
    """One for each token of an image's tiles too."""
    some = [ITEMS[place] for place in (1, 5, 8, 11, 12, 13)]
    right = [unit(reference.states(reference.prompt(role, text, len(images)), images)) for text, images in some]
    columns, rows = grid(300, 200, reference.tiles)
    assert len(right[2]) == len(reference.ids(reference.prompt(role, None, 1))) - 1 + (columns * rows + 1) * PER_TILE
    items = [given(*item) for item in some]
    got = embedder.embed_multi_vector(items, prompt_name=role)
    assert cells.measure(NEMOTRON_EMBED_VL, "multi", items, got, right) <= FLOAT32_GATE


def test_planted_mistakes_are_far_outside(embedder: JinaEmbedder, reference: NemotronVLReference, cells: Cells) -> None:
    """Another pooling or attention, prompts that differ in one piece, and images cut otherwise."""
    for text, images in (ITEMS[1], ITEMS[12]):
        (vector,) = embedder.embed([given(text, images)], prompt_name="passage")
        prompt = reference.prompt("passage", text, len(images))
        states = reference.states(prompt, images)
        mistakes = {
            "last token": states[-1],
            "first token": states[0],
            "causal attention": reference.states(prompt, images, causal=True).mean(0),
            "no first token": reference.states(reference.ids(prompt)[1:], images).mean(0),
            "no prefix": reference.states(prompt.removeprefix("passage: "), images).mean(0),
            "a query's prefix": reference.states(prompt.replace("passage: ", "query: "), images).mean(0),
            "no space": reference.states(prompt.replace("> the", ">the").replace(": the", ":the"), images).mean(0),
            "another text": reference.states(prompt.replace("brown", "red"), images).mean(0),
        }
        if images:
            (image,) = images
            whole, place = image.resize((TILE, TILE)), reference.ids(prompt).index(reference.context)
            mistakes |= {
                "another image": reference.states(prompt, [noise(300, 200, 99)]).mean(0),
                "the tiles of config.json": reference.states(prompt, images, tiles=2).mean(0),
                "one tile": reference.states(prompt, [whole]).mean(0),
                "no whole image behind the tiles": reference.states(
                    prompt, [pixels(image, reference.tiles, thumbnail=False)]
                ).mean(0),
                "pixels from 0 to 1": reference.states(prompt, [(pixels(image, reference.tiles) + 1) / 2]).mean(0),
                "the image's tokens alone": states[place : place + 7 * PER_TILE].mean(0),
            }
        gaps = {name: distance(vector, unit(wrong)) for name, wrong in mistakes.items()}
        print(", ".join(f"{name}: {gap:.1e}" for name, gap in gaps.items()))
        assert cells.planted(NEMOTRON_EMBED_VL, gaps) > 100 * FLOAT32_GATE, gaps


def test_rows_with_a_mistake_give_other_vectors(
    checkpoint: Path, embedder: JinaEmbedder, reference: NemotronVLReference
) -> None:
    """On the same engine: what these tests compare would find it."""
    embedder.embed(["start"])
    begin, image = Special("<|begin_of_text|>"), noise(300, 200, 4)
    rows: dict[str, tuple[Any, tuple[str, str], Any]] = {
        "no first token": ("fox.", ("passage", "text"), (PASSAGE, Slot.TEXT)),
        "the other role": ("fox.", ("passage", "text"), (begin, QUERY, Slot.TEXT)),
        "an end": ("fox.", ("passage", "text"), (begin, PASSAGE, Slot.TEXT, Special("<|end_of_text|>"))),
        "no space": (image, ("any", "image"), (begin, PASSAGE, Slot.IMAGES)),
        "text first": (
            {"text": "fox.", "image": image}, ("any", "both"), (begin, PASSAGE, Slot.TEXT, " ", Slot.IMAGES),
        ),
    }  # fmt: skip
    for name, (item, key, pieces) in rows.items():
        text, images = (item, []) if isinstance(item, str) else (None if item is image else "fox.", [image])
        right = reference.embed(reference.prompt("passage", text, len(images)), images)
        planted = replace(NEMOTRON_EMBED_VL, name="planted", templates={**NEMOTRON_EMBED_VL.templates, key: pieces})
        for row, is_right in ((NEMOTRON_EMBED_VL, True), (planted, False)):
            got = embedded(embedder, row, checkpoint, item, role="passage", dimensions=HIDDEN)
            gap = distance(got, right)
            assert gap <= FLOAT32_GATE if is_right else gap > 100 * FLOAT32_GATE, name


def test_special_tokens_in_a_text_stay_text(embedder: JinaEmbedder, reference: NemotronVLReference) -> None:
    """Those of an image among them, with and without an image beside it, and ``<image>``, which vLLM looks for."""
    image, begin = noise(300, 200, 4), reference.ids("")
    opening = reference.ids(reference.prompt("passage", "", 1))[:-1]
    assert opening[0:1] == begin
    assert opening[-2] == reference.context
    for text in HOSTILE:
        alone, beside = embedder.embed([text, {"text": text, "image": image}], prompt_name="passage")
        assert distance(alone, reference.embed([*begin, *reference.plain(f"passage: {text}")])) <= FLOAT32_GATE
        right = reference.embed([*opening, *reference.plain(f" {text}")], [image])
        assert distance(beside, right) <= FLOAT32_GATE
    believed = reference.embed(f"passage: {HOSTILE[0]}")  # transformers reads them as special tokens
    assert distance(embedder.embed(HOSTILE[:1], prompt_name="passage")[0], believed) > 100 * FLOAT32_GATE


@pytest.mark.parametrize("truncate", ["end", "start"])
def test_a_text_too_long_is_cut_behind_its_prefix(
    checkpoint: Path, embedder: JinaEmbedder, reference: NemotronVLReference, truncate: Any
) -> None:
    ids = reference.ids(f"query: {LONG}")
    head = len(reference.ids("query:"))
    kept = ids[:50] if truncate == "end" else [*ids[:head], *ids[head - 50 :]]
    with (
        JinaEmbedder(checkpoint, truncate=truncate, max_length=50, **FLOAT32) as other,
        pytest.warns(UserWarning, match=f"lost their {truncate}"),
    ):
        (vector,) = other.embed_queries([LONG])
    assert distance(vector, reference.embed(kept)) <= FLOAT32_GATE


def test_the_most_tiles_are_the_checkpoints_own(
    checkpoint: Path, embedder: JinaEmbedder, reference: NemotronVLReference, tmp_path: Path
) -> None:
    """Another number in processor_config.json gives other vectors, and another fingerprint."""
    other = shutil.copytree(checkpoint, tmp_path / checkpoint.name)
    file = other / "processor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "max_input_tiles": 3}))
    images = [noise(300, 200, 4), noise(600, 800, 5), noise(900, 90, 6)]
    prompt = reference.prompt("passage", None, 1)
    with JinaEmbedder(other, **FLOAT32) as fewer:
        assert fewer.settings.fingerprint != embedder.settings.fingerprint
        got = fewer.embed_images(images)
    right = np.stack([reference.embed(prompt, [image], tiles=3) for image in images])
    assert distance(got, right) <= FLOAT32_GATE
    six = embedder.embed_images(images)
    assert all(distance(one, two) > 100 * FLOAT32_GATE for one, two in zip(got, six, strict=True))


def test_none_of_its_code_runs_even_if_a_user_allows_it(checkpoint: Path, reference: NemotronVLReference) -> None:
    """The package has a class for its config.json; the published one would raise here."""
    options = {"dtype": "float32", "trust_remote_code": True}
    with JinaEmbedder(checkpoint, engine_kwargs=options) as embedder:
        (vector,) = embedder.embed_queries(["a fox"])
    assert distance(vector, reference.embed("query: a fox")) <= FLOAT32_GATE


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({POOLING_KEY: "last_token"}, "does not average all tokens"),
        ({"llm_config": {"is_causal": True}}, "does not let the first tokens of a prompt see what follows"),
    ],
)
def test_an_engine_that_is_told_otherwise_does_not_start(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, overrides: dict[str, Any], message: str
) -> None:
    """The check at the start finds another pooling, and the attention of a chat model."""
    tell_vllm(monkeypatch, overrides)
    options = {"dtype": "float32", "max_num_seqs": 7}  # equal options would get the engine that runs already
    with JinaEmbedder(checkpoint, engine_kwargs=options) as embedder, pytest.raises(EngineError, match=message):
        embedder.embed(["a"])


def test_what_this_checkpoint_cannot_honour_is_refused(checkpoint: Path, embedder: JinaEmbedder) -> None:
    """It has no bounds of images, one length, and one image of an item."""
    for wrong in ({"max_pixels": 100_000}, {"dimensions": 64}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            JinaEmbedder(checkpoint, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"items\[1\]"):
        embedder.embed(["a", [noise(64, 64, 1), noise(64, 64, 2)]])


def test_served_vectors_are_the_same(checkpoint: Path, reference: NemotronVLReference, tmp_path: Path) -> None:
    with (
        served(str(checkpoint), tmp_path / "log", "--dtype", "float32") as server,
        JinaEmbedder.from_server(server.url, timeout=600) as client,
    ):
        assert client.checkpoint.row == NEMOTRON_EMBED_VL
        for role in ROLES:
            got = client.embed([given(*item) for item in ITEMS], prompt_name=role)  # type: ignore[arg-type]
            assert distance(got, expected(reference, role)) <= FLOAT32_GATE
