"""Prove that a corpus can be compared with questions: its vectors are vectors, of the weights that the model has."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from .._arrays import Floats
from ..corpus import Corpus, Row
from ..corpus.lookup import Columns, lookup_of
from ..corpus.places import floats_of
from ..errors import ConfigError, InputError
from ..inputs.images import open_image
from ..inputs.policy import MediaPolicy
from ..pooling.quantization import quantized
from ..pooling.single_vector import NORM_LIMIT
from ..pooling.token_reduction import pool_tokens
from .opening import IMAGE_BYTES, opened

ALIKE = 0.99
"""Cosine over which a vector that is computed again is the stored one; other weights are far below."""
TRIED = 64
"""Rows among which one is looked for that can be computed again."""


def check_vectors(corpus: Corpus, stop: threading.Event | None = None) -> None:
    """Check that every stored embedding is finite, and of L2 norm 1 where the corpus says so.

    Args:
        corpus: The corpus; what another store than files or LanceDB holds is not read.
        stop: Ends the check early.

    Raises:
        ConfigError: One is not; names its row.
    """
    settings, lookup = corpus.settings, lookup_of(corpus)
    if settings["dimensions"] is None or not isinstance(lookup, Columns):
        return
    is_unit = settings["normalize"] and settings["dtype"] in ("float32", "float16")
    first = 0
    for rows in lookup.embeddings():
        if rows.shape[1:] != (settings["dimensions"],):
            raise ConfigError(f"{str(corpus.folder)!r}: has vectors of {rows.shape[1:]}; index it anew.")
        with np.errstate(all="ignore"):
            norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        good = np.abs(norms - 1) <= NORM_LIMIT if is_unit else np.isfinite(norms)  # False for NaN
        if not good.all():
            at = int(np.argmin(good))
            raise ConfigError(f"{str(corpus.folder)!r}: row {first + at} has L2 norm {norms[at]:.3g}; index it anew.")
        first += len(rows)
        if stop is not None and stop.is_set():
            return


@dataclass(frozen=True, slots=True)
class Sample:
    """What is computed again: an item, and what is stored of it."""

    item: dict[str, Any]
    embedding: Floats | None
    tokens: Floats | None


def sample_of(corpus: Corpus, media: MediaPolicy) -> Sample | None:
    """Return the first item that the corpus keeps; None where it keeps neither texts nor images, or tells no vectors.

    Raises:
        InputError: Its image cannot be opened.
    """
    lookup = lookup_of(corpus)
    row = next(filter(_has_content, islice(lookup.rows(), TRIED)), None)
    embedding, tokens = (None, None) if row is None else lookup.vectors(row.id)
    if row is None or (embedding is None and tokens is None):
        return None
    item = {"image": open_image(row.image, media)} if row.kind == "image" else {"text": row.text}
    return Sample(item, embedding, tokens)


async def check_weights(corpus: Corpus, sample: Sample | None, embedder: Any) -> None:
    """Compute the vectors of one item again, and compare them with the stored ones.

    Without one the model's files must be those of the manifest.

    Raises:
        ConfigError: They are others.
    """
    settings = corpus.settings
    if sample is None:
        if embedder.fingerprint != corpus.manifest.get("fingerprint"):
            raise ConfigError("the model has other files now, and the corpus keeps nothing to compare; embed it anew.")
        return
    name, is_same = settings["prompt_name"], True
    if sample.embedding is not None:
        (row,) = await embedder.aembed([sample.item], prompt_name=name)
        is_same = _is_alike(_stored(row, settings["dtype"]), sample.embedding)
    if sample.tokens is not None:
        (tokens,) = await embedder.aembed_multi_vector([sample.item], prompt_name=name)
        is_same = is_same and _is_alike(pool_tokens(tokens, settings["pool_factor"]), sample.tokens)
    if not is_same:
        raise ConfigError("the index was built with other weights than the model has now; index it anew.")


def is_proved(place: Path, embedder: Any) -> bool:
    """Tell whether a corpus can be read, and its vectors are what an embedder gives.

    Raises:
        EngineError: The engine cannot answer.
    """
    try:
        with opened(place) as corpus:
            check_vectors(corpus)
            sample = sample_of(corpus, MediaPolicy(max_bytes=IMAGE_BYTES))
    except Exception:  # of damaged files, whatever it is
        return False
    if sample is None:
        return False
    try:
        with ThreadPoolExecutor(1) as pool:  # the caller may have a loop of its own
            pool.submit(asyncio.run, check_weights(corpus, sample, embedder)).result()
    except (ConfigError, InputError):
        return False
    return True


def _stored(row: Floats, dtype: str) -> Floats:
    """Return an embedding as it comes back from where it is stored."""
    numbers = quantized(row[None], "ubinary" if dtype == "binary" else dtype)
    found: Floats = floats_of(numbers, dtype, len(row))[0].astype(np.float32)
    return found


def _is_alike(now: Floats, before: Floats) -> bool:
    if now.shape != before.shape:
        return False
    now, before = now.ravel(), before.ravel()
    with np.errstate(all="ignore"):
        return bool(now @ before / (np.linalg.norm(now) * np.linalg.norm(before)) >= ALIKE)  # False for NaN


def _has_content(row: Row) -> bool:
    """Tell whether a row holds what was embedded of it."""
    return bool(row.image) if row.kind == "image" else row.kind == "text" and bool(row.text)
