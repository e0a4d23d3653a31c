"""Which patch matches which token, on an engine in memory whose patches are known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.fake_engine import FakeEngine, vector_of
from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory, write_folder
from tests.support.tokenizer import make_tokenizer
from vllm_jina_embed import ConfigError, InputError, JinaEmbedder
from vllm_jina_embed.errors import EngineError
from vllm_jina_embed.late_interaction import MaxSimMap, amaxsim_map, maxsim_map
from vllm_jina_embed.prompts.base import Prompt

ROWS, COLUMNS = 3, 5
PAD = make_tokenizer().token_to_id("<|image_pad|>")
QUERY = "the quick fox"


async def with_patches(self: Any, prompt: Prompt, *, task: str, urgent: bool = False) -> np.ndarray:
    """Return rows as FakeEngine does, and for an image's token one of each patch; patch (1, 3) is the word fox."""
    await self._work(prompt, task, urgent)
    rows = []
    for one in prompt.token_ids:
        if prompt.images and one == PAD:
            patches = [vector_of(replace(prompt, token_ids=(one, place)), 64) for place in range(ROWS * COLUMNS)]
            patches[1 * COLUMNS + 3] = FOX
            rows += patches
        else:
            rows.append(vector_of(Prompt(token_ids=(one,)), 64))
    return np.stack(rows)


FOX = vector_of(Prompt(token_ids=(make_tokenizer().encode("Query: the quick fox").ids[-1],)), 64)


@pytest.fixture
def embedder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JinaEmbedder]:
    monkeypatch.setattr(FakeEngine, "multi_vector", with_patches)
    with in_memory([])(write_folder(tmp_path / "checkpoint")) as embedder:
        yield embedder


async def both(embedder: JinaEmbedder, image: Any, query: str = QUERY) -> MaxSimMap:
    found, awaited = maxsim_map(embedder, query, image), await amaxsim_map(embedder, query, image)
    assert found.matches == awaited.matches
    np.testing.assert_array_equal(found.values, awaited.values)
    return found


IMAGE = noise(100, 60, seed=3)


@pytest.mark.parametrize("image", [IMAGE, encoded(IMAGE)], ids=["pixels", "bytes"])
async def test_a_token_finds_its_patch(embedder: JinaEmbedder, image: Any) -> None:
    """Row and column, and the dot product; the sum of all is the score."""
    found = await both(embedder, image)
    assert found.grid == (ROWS, COLUMNS)
    fox = found.matches[-1]
    assert (fox.token.strip(), fox.patch, fox.value) == ("fox", (1, 3), pytest.approx(1, abs=1e-5))
    assert "".join(match.token for match in found.matches) == "Query: the quick fox"
    (score,) = embedder.score([QUERY], [image if isinstance(image, bytes) else IMAGE], multi_vector=True)[0]
    assert found.score == pytest.approx(float(score), abs=1e-4)
    assert found.values[-1].argmax() == 1 * COLUMNS + 3
    (asked,) = embedder.embed_multi_vector([QUERY], prompt_name="query")
    (told,) = embedder.embed_multi_vector([IMAGE])
    for number, match in enumerate(found.matches):
        products = [float(asked[number] @ row) for row in told]
        assert match.row == int(np.argmax(products))
        if match.patch is not None:
            assert match.value == pytest.approx(float(found.values[number][match.patch]), abs=1e-5)
        else:
            assert match.value > found.values[number].max() - 1e-6


async def test_a_token_of_the_prompt_around_the_image_has_no_patch(embedder: JinaEmbedder) -> None:
    """The words that ask the model to describe it stand in the image's prompt too."""
    found = await both(embedder, IMAGE, "Describe the image.")
    assert any(match.patch is None and match.value == pytest.approx(1, abs=1e-5) for match in found.matches)


async def test_the_picture_is_red_where_it_matches(embedder: JinaEmbedder) -> None:
    """The hottest patch is the match of the token; an image with equal patches stays as it is."""
    found = await both(embedder, IMAGE)
    last = len(found.matches) - 1
    assert np.unravel_index(found.heat([last]).argmax(), found.grid) == (1, 3)
    assert (found.heat().min(), found.heat().max()) == (0, 1)
    picture = found.picture([last])
    assert picture.size == IMAGE.size
    change = np.asarray(picture, dtype=int) - np.asarray(IMAGE, dtype=int)
    place = np.s_[25:35, 65:75]  # inside patch (1, 3) of 20 x 20 pixels
    original = np.asarray(IMAGE, dtype=float)[place]
    wanted = original * 0.4 + np.array([255, 0, 0]) * 0.6
    assert np.abs(np.asarray(picture, dtype=float)[place] - wanted).max() <= 2
    cold = np.unravel_index(found.heat([last]).argmin(), found.grid)
    assert np.abs(change[cold[0] * 20 + 2 : cold[0] * 20 + 18, cold[1] * 20 + 2 : cold[1] * 20 + 18]).max() == 0
    flat = MaxSimMap(matches=found.matches, values=np.ones_like(found.values), image=IMAGE)
    assert flat.picture().tobytes() == IMAGE.tobytes()
    for tokens in ([], [last + 1], [-1]):
        with pytest.raises(InputError, match="expected positions from 0 to"):
            found.heat(tokens)


async def test_a_cached_embedder_has_a_map_too(embedder: JinaEmbedder, tmp_path: Path) -> None:
    plain = await both(embedder, IMAGE)
    cached = embedder.cached(tmp_path / "cache.sqlite", multi_vectors=True)
    for _ in range(2):
        assert maxsim_map(cached, QUERY, IMAGE).matches == plain.matches


def test_what_has_no_map_is_named(embedder: JinaEmbedder, tmp_path: Path) -> None:
    for query in ("", 5, b"x"):
        with pytest.raises(InputError, match=r"queries\[0\]"):
            maxsim_map(embedder, query, IMAGE)  # type: ignore[arg-type]
    for image in (5, b"no image", [IMAGE, IMAGE]):
        with pytest.raises(InputError):
            maxsim_map(embedder, QUERY, image)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="are not a grid"):
        maxsim_map(JinaEmbedder("BAAI/bge-m3"), QUERY, IMAGE)
    with pytest.raises(EngineError, match="15 patches are not a grid over an image of 400 x 400 pixels"):
        maxsim_map(embedder, QUERY, Image.new("RGB", (400, 400)))
