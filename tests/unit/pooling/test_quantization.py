"""Smaller types of embeddings, against sentence-transformers' arithmetic written out, and the library where it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import ConfigError, InputError, JinaEmbedder
from vllm_jina_embed.pooling.quantization import DTYPES, calibrated, default_ranges, quantized

Make = Callable[..., JinaEmbedder]
TYPES = {
    "float32": np.float32, "float16": np.float16, "int8": np.int8, "uint8": np.uint8, "binary": np.int8,
    "ubinary": np.uint8,
}  # fmt: skip


def unit_vectors(count: int, dimensions: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def by_hand(row: np.ndarray, dtype: str, ranges: np.ndarray) -> list[float]:
    """Number by number, as quantize_embeddings has it."""
    if dtype == "float32":
        return [float(value) for value in row]
    if dtype == "float16":
        return [float(np.float16(value)) for value in row]
    if dtype in ("int8", "uint8"):
        whole = []
        for value, start, end in zip(row, *ranges.astype(np.float32), strict=True):
            step = (end - start) / np.float32(255)
            place = np.floor((value - start) / (step if step != 0 else np.float32(1)))
            whole.append(int(min(max(place, 0), 255)) - (128 if dtype == "int8" else 0))
        return whole
    found = []
    for first in range(0, len(row), 8):
        byte = sum(128 >> place for place in range(8) if row[first + place] > 0)
        found.append(byte - (128 if dtype == "binary" else 0))
    return found


@pytest.mark.parametrize(("dtype", "own"), [*((dtype, False) for dtype in DTYPES), ("int8", True), ("uint8", True)])
def test_each_type_is_the_arithmetic_written_out(dtype: str, own: bool) -> None:
    """With the default ranges and with measured ones, which later vectors pass."""
    rows = unit_vectors(20, 64)
    ranges = calibrated(unit_vectors(50, 64, seed=1)) if own else None
    found = quantized(rows, dtype, ranges)
    assert found.dtype == TYPES[dtype]
    assert found.tolist() == [by_hand(row, dtype, default_ranges(64) if ranges is None else ranges) for row in rows]
    if own:
        assert {0, 255} & set((found.astype(int) + (128 if dtype == "int8" else 0)).ravel().tolist())


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "float16"])
def test_each_type_is_that_of_sentence_transformers(dtype: str) -> None:
    """Bit for bit, with the same ranges; it has no float16."""
    library = pytest.importorskip("sentence_transformers.util.quantization")
    rows, sample = unit_vectors(40, 128), unit_vectors(300, 128, seed=2)
    for ranges in (calibrated(sample), default_ranges(128)):
        theirs = library.quantize_embeddings(rows, dtype, ranges=ranges)
        ours = quantized(rows, dtype, ranges if dtype in ("int8", "uint8") else None)
        assert theirs.dtype == ours.dtype
        assert theirs.tolist() == ours.tolist()
    if dtype in ("int8", "uint8"):
        theirs = library.quantize_embeddings(rows, dtype, calibration_embeddings=sample)
        assert theirs.tolist() == quantized(rows, dtype, calibrated(sample)).tolist()


def test_a_constant_number_and_one_beyond_the_ranges_have_a_place() -> None:
    """A range of no width has a step of 1; what is beyond becomes the end and never wraps around."""
    ranges = np.array([[0.5, -0.1], [0.5, 0.1]], dtype=np.float32)
    rows = np.array([[0.5, 0.9], [0.4, -0.9], [2.6, 0.0]], dtype=np.float32)
    assert quantized(rows, "uint8", ranges).tolist() == [[0, 255], [0, 0], [2, 127]]
    assert quantized(rows, "int8", ranges).tolist() == [[-128, 127], [-128, -128], [-126, -1]]


def test_zero_is_a_set_bit_as_in_vllm() -> None:
    """quantize_embeddings clears it; /v2/embed and we do not."""
    assert quantized(np.zeros((1, 8), np.float32), "ubinary").tolist() == [[255]]


@pytest.mark.parametrize(
    ("dtype", "dimensions", "ranges", "said"),
    [
        ("int4", 8, None, r"output_dtype='int4' is unknown; choose one of float32, float16, int8"),
        ("binary", 12, None, "12 dimensions are not a multiple of 8"),
        ("float16", 8, np.zeros((2, 8)), "output_dtype='float16' has none"),
        ("ubinary", 8, np.zeros((2, 8)), "output_dtype='ubinary' has none"),
        ("int8", 8, np.zeros((2, 7)), r"of shape \(2, 7\): expected .* \(2, 8\)"),
        ("int8", 8, np.zeros(8), r"of shape \(8,\): expected"),
        ("uint8", 8, np.full((2, 8), np.nan), "expected the finite"),
        ("uint8", 8, np.stack([np.ones(8), np.zeros(8)]), "expected the finite"),
    ],
)
def test_what_does_not_fit_is_named(dtype: str, dimensions: int, ranges: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        quantized(unit_vectors(2, dimensions), dtype, ranges)


@pytest.mark.parametrize("sample", [np.ones((1, 8)), np.ones(8), np.full((5, 8), np.nan), np.ones((0, 8))])
def test_a_sample_that_says_nothing_is_refused(sample: np.ndarray) -> None:
    with pytest.raises(InputError, match="to calibrate by"):
        calibrated(sample)


class TestEmbedder:
    """``output_dtype`` of a call."""

    @pytest.fixture
    def make(self, tmp_path: Path) -> Iterator[Make]:
        made: list[JinaEmbedder] = []
        engines: list[FakeEngine] = []
        folder = write_folder(tmp_path / "checkpoint")

        def build(**keywords: Any) -> JinaEmbedder:
            made.append(in_memory(engines)(folder, **keywords))
            return made[-1]

        build.engines = engines  # type: ignore[attr-defined]
        yield build
        for embedder in made:
            embedder.close()

    @pytest.mark.parametrize("dtype", DTYPES)
    async def test_every_call_returns_it(self, make: Make, dtype: str, tmp_path: Path) -> None:
        """Texts, images, late chunks and streams, cached or not; the cache keeps float32."""
        embedder = make()
        plain = embedder.embed(["a", "b c"], prompt_name="query")
        wanted = quantized(plain, dtype)
        cached = make().cached(tmp_path / "cache.sqlite")
        for one in (embedder, cached):
            for found in (
                one.embed(["a", "b c"], prompt_name="query", output_dtype=dtype),
                await one.aembed(["a", "b c"], prompt_name="query", output_dtype=dtype),
                one.embed_queries(["a", "b c"], output_dtype=dtype),
                await one.aembed_queries(["a", "b c"], output_dtype=dtype),
                np.stack(list(one.embed_stream(["a", "b c"], prompt_name="query", output_dtype=dtype))),
                np.stack([r async for r in one.aembed_stream(["a", "b c"], prompt_name="query", output_dtype=dtype)]),
            ):
                assert found.dtype == TYPES[dtype]
                assert (found == wanted).all()
        np.testing.assert_array_equal(cached.embed(["a", "b c"], prompt_name="query"), plain)
        half = embedder.embed(["a"], dimensions=32, output_dtype=dtype)
        assert half.shape == (1, 4 if "binary" in dtype else 32)
        assert (half == quantized(embedder.embed(["a"], dimensions=32), dtype)).all()
        assert embedder.embed([], output_dtype=dtype).shape == (0, wanted.shape[1])
        chunks = embedder.embed_late_chunks([["one ", "two"], ["three"]])
        found_chunks = embedder.embed_late_chunks([["one ", "two"], ["three"]], output_dtype=dtype)
        assert [part.tolist() for part in found_chunks] == [quantized(part, dtype).tolist() for part in chunks]

    def test_ranges_are_those_of_the_caller(self, make: Make) -> None:
        embedder = make()
        texts = [f"text number {n}" for n in range(30)]
        ranges = calibrated(embedder.embed(texts))
        found = embedder.embed(texts, output_dtype="int8", ranges=ranges)
        assert found.min() == -128
        assert found.max() == 127
        assert (found == quantized(embedder.embed(texts), "int8", ranges)).all()
        raw = embedder.embed(texts, normalize=False)
        wide = embedder.embed(texts, normalize=False, output_dtype="uint8", ranges=calibrated(raw))
        assert (wide == quantized(raw, "uint8", calibrated(raw))).all()

    def test_what_cannot_be_honoured_is_refused_before_anything_is_computed(self, make: Make) -> None:
        embedder = make()
        for keywords, said in (
            ({"output_dtype": "int4"}, "is unknown"),
            ({"output_dtype": "binary", "ranges": np.zeros((2, 64))}, "has none"),
            ({"output_dtype": "int8", "normalize": False}, r"needs ranges="),
            ({"output_dtype": "int8", "ranges": np.zeros((2, 64)), "dimensions": 32}, r"expected .* \(2, 32\)"),
            ({"ranges": np.zeros((2, 64))}, "output_dtype='float32' has none"),
        ):
            with pytest.raises(ConfigError, match=said):
                embedder.embed(["a"], **keywords)
        with pytest.raises(ConfigError, match="needs ranges="):
            make(normalize=False).embed(["a"], output_dtype="int8")
        assert make.engines == []  # type: ignore[attr-defined]

    @pytest.mark.parametrize("dtype", DTYPES)
    async def test_the_embedders_own_is_that_of_every_call(self, make: Make, dtype: str, tmp_path: Path) -> None:
        """Unless the call has another; scores and multi-vectors stay float32, and all types share a cache's entries."""
        plain, typed = make(), make(output_dtype=dtype)
        texts = ["a", "b c"]
        cached = make().cached(tmp_path / "cache.sqlite")
        rows = cached.embed(texts)
        again = make(output_dtype=dtype).cached(tmp_path / "cache.sqlite")
        computed = sum(len(engine.prompts) for engine in make.engines)  # type: ignore[attr-defined]
        assert (again.embed(texts) == quantized(rows, dtype)).all()
        assert sum(len(engine.prompts) for engine in make.engines) == computed  # type: ignore[attr-defined]
        for one in (typed, again):
            for found in (one.embed(texts), await one.aembed(texts), one.embed_passages(texts)):
                assert found.dtype == TYPES[dtype]
                assert (found == quantized(rows, dtype)).all()
            np.testing.assert_array_equal(one.embed(texts, output_dtype="float32"), rows)
            assert one.embed(texts, output_dtype="ubinary").dtype == np.uint8
            assert one.embed(texts, dimensions=32).shape == (2, 4 if "binary" in dtype else 32)
            np.testing.assert_array_equal(one.score(["q"], texts), plain.score(["q"], texts))
            (multi,) = one.embed_multi_vector(["a"])
            np.testing.assert_array_equal(multi, plain.embed_multi_vector(["a"])[0])
        assert (typed.fingerprint == plain.fingerprint) == (dtype == "float32")
        assert again.fingerprint == typed.fingerprint

    def test_the_embedders_own_ranges_are_those_of_every_call(self, make: Make) -> None:
        """And part of its fingerprint; a call of another type or with its own has nothing of them."""
        texts = [f"text number {n}" for n in range(30)]
        rows = make().embed(texts)
        ranges = calibrated(rows)
        typed = make(output_dtype="int8", ranges=ranges)
        assert (typed.embed(texts) == quantized(rows, "int8", ranges)).all()
        assert (typed.embed(texts, output_dtype="uint8") == quantized(rows, "uint8", ranges)).all()
        assert (typed.embed(texts, ranges=2 * ranges) == quantized(rows, "int8", 2 * ranges)).all()
        assert (typed.embed(texts, output_dtype="binary") == quantized(rows, "binary")).all()
        with pytest.raises(ConfigError, match=r"expected .* \(2, 32\)"):
            typed.embed(texts, dimensions=32)
        others = [
            make(output_dtype="int8"),
            make(output_dtype="uint8", ranges=ranges),
            make(output_dtype="int8", ranges=2 * ranges),
        ]
        assert len({typed.fingerprint, *(other.fingerprint for other in others)}) == 4
        assert make(output_dtype="int8", ranges=ranges.tolist()).settings == typed.settings

    def test_a_setting_that_cannot_be_honoured_is_refused(self, make: Make) -> None:
        for keywords, said in (
            ({"output_dtype": "int4"}, "is unknown; choose one of float32"),
            ({"output_dtype": "int8", "normalize": False}, "needs ranges="),
            ({"output_dtype": "int8", "ranges": np.zeros((2, 63))}, r"expected .* \(2, 64\)"),
            ({"ranges": np.zeros((2, 64))}, "output_dtype='float32' has none"),
            ({"output_dtype": "ubinary", "on_error": "skip"}, "no NaN for a bad item"),
        ):
            with pytest.raises(ConfigError, match=said):
                make(**keywords)
        with pytest.warns(UserWarning, match="rows are NaN"):
            assert make(output_dtype="float16", on_error="skip").embed(["a", ""]).dtype == np.float16

    def test_bad_items_are_errors_where_there_is_no_nan(self, make: Make) -> None:
        """Even if the embedder skips them: zeros would look like an embedding. The rest is kept beside the error."""
        embedder = make(on_error="skip")
        with pytest.raises(InputError, match=r"items\[1\]") as caught:
            embedder.embed(["a", "", "b"], output_dtype="int8")
        good = embedder.embed(["a", "b"], output_dtype="int8")
        assert caught.value.embeddings.dtype == np.int8
        assert (caught.value.embeddings[[0, 2]] == good).all()
        with pytest.warns(UserWarning, match="rows are NaN"):
            rows = embedder.embed(["a", ""], output_dtype="float16")
        assert np.isnan(rows).any(axis=1).tolist() == [False, True]
        before = []
        with pytest.raises(InputError):
            before += list(embedder.embed_stream(["a", ""], output_dtype="int8"))
        rows_before = make().embed_stream(["a", ""], output_dtype="ubinary")
        assert next(rows_before).dtype == np.uint8


def test_what_would_be_wrong_without_a_word_is_refused() -> None:
    """Whole numbers to calibrate by, numbers beyond float16, and ranges that are not numbers; NaN of a skip stays."""
    rows = unit_vectors(5, 64, seed=1)
    for dtype in ("int8", "uint8"):
        with pytest.raises(InputError, match=f"got a sample of {dtype} to calibrate by; .*output_dtype='float32'"):
            calibrated(quantized(rows, dtype))
    with pytest.raises(InputError, match="not an array"):
        calibrated([[1.0, 2.0], [3.0]])  # type: ignore[arg-type]
    for ranges in ("abc", [[1.0, 2.0], [3.0]], {"a": 1}, object()):
        with pytest.raises(ConfigError, match="not an array of numbers"):
            quantized(rows, "int8", ranges)  # type: ignore[arg-type]
    rows[0] = np.nan
    assert np.isnan(quantized(rows, "float16")[0]).all()
    rows[1, 3] = -70_000
    with pytest.raises(InputError, match="got a number of 70000; float16 holds 65504"):
        quantized(rows, "float16")
