"""A corpus is asked only by the weights that made it, in whatever form its vectors are stored."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory, write_folder
from tests.support.indexes import write_files
from vllm_jina_embed import ConfigError, MediaPolicy
from vllm_jina_embed.corpus import Columns, embed_corpus
from vllm_jina_embed.mcp.opening import opened
from vllm_jina_embed.mcp.proof import Sample, check_vectors, check_weights, sample_of


@pytest.mark.fire
@pytest.mark.parametrize(("stored", "now"), [(np.nan, 1.0), (1.0, np.nan), (0.0, 1.0), (-1.0, 1.0)])
async def test_a_stored_embedding_that_cannot_be_compared_is_another(stored: float, now: float) -> None:
    """NaN is like nothing, whichever of the two it stands in."""

    async def again(items: list[Any], prompt_name: str) -> np.ndarray:
        return np.array([[now, 0]], dtype=np.float32)

    corpus: Any = SimpleNamespace(settings={"prompt_name": "passage", "dtype": "float32"})
    sample = Sample({"text": "a"}, np.array([stored, 0], dtype=np.float32), None)
    with pytest.raises(ConfigError, match="other weights"):
        await check_weights(corpus, sample, SimpleNamespace(aembed=again))


@pytest.mark.parametrize("kind", ["text", "image"])
@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "float32"},
        {"dtype": "float16"},
        {"dtype": "int8"},
        {"dtype": "binary"},
        {"vectors": "both"},
        {"vectors": "multi-vector", "pool_factor": 2},
    ],
)
async def test_the_same_weights_are_known_and_others_refused(
    tmp_path: Path, options: dict[str, Any], kind: str
) -> None:
    """Of a text and of an image, whatever the vectors became."""
    files: dict[str, str | bytes] = {"a.png": encoded(noise(40, 30))} if kind == "image" else {"a.md": "a " * 40}
    folder = write_files(tmp_path / "folder", files)
    with in_memory([])(write_folder(tmp_path / "model"), dimensions=32) as embedder:
        columns = Columns(keep=("text", "image"))
        embed_corpus(folder, tmp_path / "out", embedder=embedder, columns=columns, **options)
        with opened(tmp_path / "out") as corpus:
            check_vectors(corpus)
            sample = sample_of(corpus, MediaPolicy())
            assert sample is not None
            await check_weights(corpus, sample, embedder)
            other = Sample({"text": "something else, as long " * 3}, sample.embedding, sample.tokens)
            with pytest.raises(ConfigError, match="other weights"):
                await check_weights(corpus, other, embedder)


async def test_a_corpus_that_keeps_nothing_is_known_by_the_files_of_its_model(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "folder", {"a.md": "a"})
    with in_memory([])(write_folder(tmp_path / "model"), dimensions=32) as embedder:
        embed_corpus(folder, tmp_path / "out", embedder=embedder, columns=Columns(keep=()))
        with opened(tmp_path / "out") as corpus:
            assert sample_of(corpus, MediaPolicy()) is None
            await check_weights(corpus, None, embedder)
            other: Any = SimpleNamespace(fingerprint="another")
            with pytest.raises(ConfigError, match="other files now"):
                await check_weights(corpus, None, other)
