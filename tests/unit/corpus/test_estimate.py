"""What a corpus would cost: items, tokens, bytes and hours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.images import encoded, noise
from vllm_jina_embed import ConfigError, JinaEmbedder
from vllm_jina_embed.corpus.estimate import estimate_corpus
from vllm_jina_embed.corpus.hours import ARITHMETIC, hours_of

PUBLISHED = (2_775_000_000, 668_000_000)
"""Weights of jina-embeddings-v4's language model and vision tower. Source: config.json of Qwen2.5-VL-3B."""


@pytest.mark.parametrize(
    ("tokens", "image_tokens", "hours"),
    [(747, 736, 7.1), (779, 768, 7.4), (500, 0, 2.4)],  # a page of A4, the largest of 602112 pixels, a text
)
def test_a_million_items_on_one_gpu(tokens: int, image_tokens: int, hours: float) -> None:
    """By hand: 2 operations for each weight and token, 4 patches a token, of 320 TFLOP/s; and 1 % of attention."""
    found, by = hours_of(10**6, tokens * 1e6, image_tokens * 1e6, weights=PUBLISHED)
    assert found == pytest.approx(hours, rel=0.03)
    assert by == ARITHMETIC
    twice, _ = hours_of(10**6, tokens * 1e6, image_tokens * 1e6, weights=PUBLISHED, passes=2)
    assert twice == pytest.approx(2 * found)


@pytest.mark.parametrize(("tokens", "weights"), [(None, PUBLISHED), (1.0, None)])
def test_hours_that_nobody_knows_are_not_made_up(tokens: float | None, weights: tuple[int, int] | None) -> None:
    found, by = hours_of(10, tokens, 0, weights=weights)
    assert found is None
    assert "pass --rate" in by


def test_a_measured_rate_is_taken() -> None:
    assert hours_of(7200, None, 0, weights=None, rate=2.0) == (1.0, "2 items a second")


def test_a_folder_is_counted(tmp_path: Path) -> None:
    """The demo on rows of one length, and an image; the tokens are those of the embedder's own prompts."""
    (tmp_path / "in").mkdir()
    rows = [{"id": str(number), "text": "the same text"} for number in range(100)]
    (tmp_path / "in" / "rows.jsonl").write_text("\n".join([*map(json.dumps, rows), "no row"]))
    (tmp_path / "in" / "a.png").write_bytes(encoded(noise(280, 280)))
    (tmp_path / "in" / "broken.png").write_bytes(b"no image")  # found when it is loaded, and no item then
    embedder = JinaEmbedder("demo", dimensions=64)
    found = estimate_corpus(tmp_path / "in", tmp_path / "out", embedder=embedder, vectors="both")
    assert (found.kinds["image"], found.errors) == (1, {"row": 1, "image": 1})
    assert found.items == 101
    assert found.bytes == pytest.approx((64 * 4 + 2 * 128 * found.tokens / 101) * 101, rel=0.02)
    assert found.hours is not None
    assert 0 < found.hours < 1e-3
    assert ARITHMETIC in found.text()
    assert json.loads(found.json())["hours"] == found.hours
    measured = estimate_corpus(tmp_path / "in", tmp_path / "out", embedder=embedder, rate=0.1)
    assert measured.hours == pytest.approx(101 / 0.1 / 3600, rel=0.02)
    assert "min" in measured.text()
    for rate in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="rate="):
            estimate_corpus(tmp_path / "in", tmp_path / "out", embedder=embedder, rate=rate)
