"""A text with its images by the mean of two vectors, and by a row's own prompt, on an engine in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.images import encoded, noise
from tests.support.in_memory import Make, write_folder
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.checkpoints.description import Model
from vllm_jina_embed.checkpoints.prompt_pieces import Slot, Special
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.embedding.means import of_both
from vllm_jina_embed.errors import ConfigError, EmbeddingWarning, InputError
from vllm_jina_embed.prompts.base import Prompt

BOTH = {"text": "a fox", "image": noise(30, 40)}
BAD_IMAGE = {"text": "a fox", "image": b"no image"}
TOGETHER: Model = replace(
    JINA_V4,
    name="own-both",
    templates={**JINA_V4.templates, ("any", "both"): (Slot.TEXT, Special("<|im_end|>"), Slot.IMAGES)},
    vectors_before={},
)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    maker = Make(write_folder(tmp_path / "checkpoint"))
    yield maker
    for embedder in maker.made:
        embedder.close()


def joined(*rows: np.ndarray) -> np.ndarray:
    """Return the normalised mean, written apart from the package."""
    total = np.sum(np.asarray(rows, dtype=np.float64), axis=0)
    return np.asarray(total / np.sqrt((total**2).sum()))


@pytest.mark.parametrize("dimensions", [None, 16])
@pytest.mark.parametrize("role", ["query", "passage"])
def test_the_mean_is_that_of_both_vectors_alone(make: Make, role: Any, dimensions: int | None) -> None:
    """The text in the role of the call; each side cut to the call's size before; several images are one side."""
    embedder = make(fusion="mean")
    several = {"text": "b", "image": [noise(9, 9), encoded(noise(8, 8))]}
    rows = embedder.embed(["x", BOTH, noise(5, 5), several], prompt_name=role, dimensions=dimensions)
    alone = embedder.embed(
        ["x", "a fox", noise(30, 40), noise(5, 5), "b", [noise(9, 9), noise(8, 8)]],
        prompt_name=role,
        dimensions=dimensions,
    )
    assert rows.shape == (4, dimensions or 64)
    assert np.array_equal(rows[[0, 2]], alone[[0, 3]])
    assert np.allclose(rows[1], joined(alone[1], alone[2]), atol=1e-6)
    assert np.allclose(rows[3], joined(alone[4], alone[5]), atol=1e-6)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert rows.dtype == np.float32


async def test_every_call_takes_such_items(make: Make) -> None:
    """Streams, scores and awaited ones give the same row."""
    embedder = make(fusion="mean")
    (row,) = embedder.embed([BOTH])
    assert np.array_equal(next(embedder.embed_stream([BOTH])), row)
    assert np.array_equal([one async for one in embedder.aembed_stream([BOTH])], [row])
    assert np.array_equal((await embedder.aembed([BOTH]))[0], row)
    (question,) = embedder.embed([BOTH], prompt_name="query")
    assert np.allclose(embedder.score([BOTH], ["x", BOTH])[0, 1], question @ row, atol=1e-6)


def test_one_error_per_item_and_nothing_else_is_lost(make: Make) -> None:
    """A side that fails fails its item alone, at its place; where both do, it is named once."""
    embedder = make(fusion="mean", truncate="error", max_length=12)
    long = {"text": "a fox " * 40, "image": b"no image"}
    with pytest.raises(InputError) as caught:
        embedder.embed(["x", BAD_IMAGE, BOTH, long, {"text": ""}, "y"])
    assert caught.value.positions == (1, 3, 4)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["items[1]", "items[3]", "items[4]"]
    rows = caught.value.embeddings
    assert np.isnan(rows[[1, 3, 4]]).all()
    assert np.array_equal(rows[[0, 2, 5]], embedder.embed(["x", BOTH, "y"]))


def test_an_item_of_the_engine_s_error_is_named(make: Make) -> None:
    make.fail = lambda prompt: InputError("the engine refuses this item: too long") if prompt.images else None
    with pytest.raises(InputError) as caught:
        make(fusion="mean").embed(["x", BOTH])
    assert str(caught.value) == "items[1]: the engine refuses this item: too long"


def test_a_cut_text_warns_with_its_place(make: Make) -> None:
    with pytest.warns(EmbeddingWarning, match=r"1 of 2 texts were longer .* \(positions 1\)"):
        make(fusion="mean", max_length=8).embed(["x", {**BOTH, "text": "a fox " * 40}])


def test_opposite_sides_have_no_mean() -> None:
    """Up to rounding, and NaN neither: an error instead of a direction that means nothing."""
    side = np.asarray([0.6, 0.8], dtype=np.float32)
    for other in (-side, -side + np.float32(1e-7), np.full(2, np.nan, np.float32)):
        with pytest.raises(InputError, match="are opposite: their mean has the L2 norm"):
            of_both(np.stack([side, other]))
    assert np.allclose(of_both(np.stack([side, -side[::-1]])), joined(side, -side[::-1]), atol=1e-6)


def test_opposite_sides_are_that_item_s_error(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others have their rows."""

    async def embed(self: FakeEngine, prompt: Prompt, *, dimensions: int, **_: Any) -> np.ndarray:
        return np.eye(dimensions, dtype=np.float32)[0] * (-1 if prompt.images else 1)

    monkeypatch.setattr(FakeEngine, "embed", embed)
    with pytest.raises(InputError, match=r"^items\[1\]: the embeddings of its text and its image are opp") as caught:
        make(fusion="mean").embed(["x", BOTH])
    assert np.isfinite(caught.value.embeddings[0]).all()
    assert np.isnan(caught.value.embeddings[1]).all()


def test_a_mean_has_no_multi_vector(make: Make) -> None:
    """Named, and the other items have theirs."""
    with pytest.raises(InputError, match=r"^items\[1\]: .*fusion='mean'.*have no mean") as caught:
        make(fusion="mean").embed_multi_vector(["x", BOTH, noise(5, 5)])
    assert [len(rows) > 0 for rows in caught.value.embeddings] == [True, False, True]


def test_without_fusion_such_an_item_is_refused(make: Make) -> None:
    with pytest.raises(InputError, match=r"^items\[1\]: got a text and an image together.*fusion='mean'") as caught:
        make().embed(["x", BOTH])
    assert np.isfinite(caught.value.embeddings[0]).all()


def test_a_row_s_own_prompt_gives_one_vector_and_multi_vectors(make: Make) -> None:
    """One request each, with the text in it; a mean beside it is refused."""
    embedder = make(row=TOGETHER)
    rows = embedder.embed([BOTH, {**BOTH, "text": "a hen"}, {**BOTH, "image": noise(31, 40)}])
    assert len({row.tobytes() for row in rows}) == 3
    (prompt, *_), (engine,) = make.engines[0].prompts, make.engines
    assert len(engine.prompts) == 3
    assert (prompt.is_both, len(prompt.images)) == (True, 1)
    (tokens,) = embedder.embed_multi_vector([BOTH])
    assert len(tokens) == len(prompt.token_ids)
    with pytest.raises(ConfigError, match=r"fusion='mean': .* was trained with text and image together"):
        make(row=TOGETHER, fusion="mean")


def test_fusion_is_checked(make: Make) -> None:
    with pytest.raises(ConfigError, match="fusion='sum' is unknown; choose one of mean"):
        make(fusion="sum")
    with pytest.raises(ConfigError, match=r"fusion='mean' means nothing to BAAI/bge-m3, which takes texts only"):
        JinaEmbedder("BAAI/bge-m3", fusion="mean")


def test_a_bar_counts_items(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    make(fusion="mean", show_progress=True).embed([BOTH, "x", BOTH])
    assert "3/3" in capsys.readouterr().err


class TestCache:
    """A text with its images is kept under what it is made of."""

    def test_each_part_and_the_role_decide(self, make: Make, tmp_path: Path) -> None:
        items = [BOTH, {**BOTH, "text": "a hen"}, {**BOTH, "image": noise(31, 40)}, "a fox", noise(30, 40)]
        cached = make(fusion="mean").cached(tmp_path / "cache.sqlite")
        first = [cached.embed(items, prompt_name=role) for role in ("query", "passage")]
        computed = len(make.engines[0].prompts)
        again = [cached.embed(items, prompt_name=role) for role in ("query", "passage")]
        assert len(make.engines[0].prompts) == computed
        assert np.array_equal(first, again)
        assert len({row.tobytes() for rows in first for row in rows}) == 9  # an image has no role

    def test_a_hit_is_the_image_whatever_its_file(self, make: Make, tmp_path: Path) -> None:
        cached = make(row=TOGETHER).cached(tmp_path / "cache.sqlite")
        (tmp_path / "a.bmp").write_bytes(encoded(noise(30, 40), "BMP"))
        rows = cached.embed([BOTH, {**BOTH, "image": tmp_path / "a.bmp"}, {**BOTH, "image": str(tmp_path / "a.bmp")}])
        assert len(make.engines[0].prompts) == 1
        assert len({row.tobytes() for row in rows}) == 1

    def test_an_error_comes_again(self, make: Make, tmp_path: Path) -> None:
        cached = make(fusion="mean").cached(tmp_path / "cache.sqlite")
        for _ in range(2):
            with pytest.raises(InputError, match=r"^items\[1\]: "):
                cached.embed(["x", BAD_IMAGE])
