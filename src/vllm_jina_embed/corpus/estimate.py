"""Count what a corpus would cost, before anything is computed."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice

from ..checkpoints.weights.counts import multiplying_weights
from ..embedder import JinaEmbedder
from ..engine.remote.messages import image_tokens
from ..errors import ConfigError, InputError
from ..inputs.items import TextItem
from ..prompts.base import Prompt
from ..prompts.build import load_builder
from .destinations import place_of
from .entries import Columns, Content, Entry, item_error
from .folders import PdfEntries
from .hours import hours_of
from .job import Kinds, checked_vectors
from .kinds import ItemError
from .reports import duration, table
from .sources import check_extras, entries, sources_of
from .work import Vectors

SAMPLE = 200
"""Items that are loaded to estimate the tokens of all."""
STRIDE = 64
"""Every so many items one is loaded."""
NUMBER_BYTES = {"float32": 4.0, "float16": 2.0, "int8": 1.0, "binary": 1 / 8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a corpus would cost.

    Attributes:
        items: Items that seem to be good.
        kinds: Of a sample, how many are of each kind.
        errors: Items that cannot be embedded as far as is known without loading them, by kind.
        sampled: Items that were loaded.
        tokens: About how many tokens the prompts have; None where the model does not say what an image takes.
        bytes: Bytes of the vectors.
        hours: About how long it takes; None where nobody knows.
        hours_by: By what that is known.
    """

    items: int
    kinds: Mapping[str, int]
    errors: Mapping[str, int]
    sampled: int
    tokens: int | None
    bytes: int
    hours: float | None
    hours_by: str

    def json(self) -> str:
        """Return it as a line of JSON."""
        return json.dumps({"event": "estimate", **asdict(self)})

    def text(self) -> str:
        """Return it as lines for people."""
        tokens = "" if self.tokens is None else f", about {self.tokens:,} tokens"
        lines = [f"{self.items:,} items{tokens}, {self.bytes / 1e9:.3f} GB of vectors ({self.sampled} were loaded)"]
        shown = "Hours are not known" if self.hours is None else f"About {duration(3600 * self.hours)}"
        lines.append(f"{shown}: {self.hours_by}")
        if self.errors:
            lines += [f"{sum(self.errors.values())} items cannot be embedded:", table(self.errors)]
        return "\n".join(lines)


def estimate_corpus(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    embedder: JinaEmbedder,
    columns: Columns | None = None,
    vectors: Kinds | None = None,
    pool_factor: int = 1,
    dtype: str | None = None,
    limit: int | None = None,
    rate: float | None = None,
) -> Estimate:
    """Return what ``embed_corpus`` would cost with these arguments; some items are loaded, and no engine starts.

    ``rate`` is items a second, where they were measured; None takes ``hours.ARITHMETIC``.

    Raises:
        ConfigError: A setting is wrong.
    """
    if rate is not None and not 0 < rate < float("inf"):
        raise ConfigError(f"rate={rate!r} must be items a second, over 0.")
    columns = columns or Columns()
    kinds = checked_vectors(embedder, vectors, pool_factor, "passage")
    found = sources_of(sources)
    skip = place_of(out).folder.resolve()
    check_extras(found, skip=skip)
    items, errors, loaded = 0, Counter[str](), Counter[str]()
    tokens: list[tuple[int, int] | None] = []
    count = _Tokens(embedder)
    with PdfEntries() as pdfs:
        for entry in islice(entries(found, columns, pdfs, skip=skip), limit):
            error = entry.error
            if error is None and (items < STRIDE or items % STRIDE == 0) and len(tokens) < SAMPLE:
                error = _sample(entry, count, tokens, loaded)
            errors.update([] if error is None else [error.kind])
            items += error is None
    mean = image_mean = None
    if tokens and None not in tokens:
        mean, image_mean = (sum(numbers) / len(tokens) for numbers in zip(*filter(None, tokens), strict=True))
    total = None if mean is None else mean * items
    hours, hours_by = hours_of(
        items,
        total,
        (image_mean or 0) * items,
        weights=multiplying_weights(embedder.settings.checkpoint.location),
        passes=kinds.embedding + kinds.multi_vector,
        rate=rate,
    )
    return Estimate(
        items=items,
        kinds=dict(loaded),
        errors=dict(errors),
        sampled=len(tokens),
        tokens=None if total is None else round(total),
        bytes=round(_size(kinds, dtype, mean or 0) * items),
        hours=None if hours is None else float(f"{hours:.3g}"),
        hours_by=hours_by,
    )


def _size(kinds: Vectors, dtype: str | None, tokens: float) -> float:
    """Return the bytes of an item's vectors."""
    settings = kinds.embedder.settings
    size = settings.dimensions * NUMBER_BYTES[dtype or "float32"] if kinds.embedding else 0.0
    if kinds.multi_vector:
        width = settings.checkpoint.token_dimensions * (4 if dtype == "float32" else 2)
        size += width * tokens / kinds.pool_factor
    return float(size)


def _sample(
    entry: Entry,
    count: _Tokens,
    tokens: list[tuple[int, int] | None],
    loaded: Counter[str],
) -> ItemError | None:
    """Load one entry, and note its tokens or return its error."""
    assert entry.load is not None
    try:
        if entry.prepare is not None:
            entry.prepare()
        content = entry.load()
        if content is not None:
            tokens.append(count(content))
            loaded[content.kind] += 1
    except Exception as error:  # of one item
        return item_error(error, "image")
    return None


class _Tokens:
    """Counts the tokens of an item's prompt, and those of images among them, as the model expands them."""

    def __init__(self, embedder: JinaEmbedder) -> None:
        settings = embedder.settings
        builder = embedder.backend.builder
        if builder is None:
            revision = settings.engine.revision
            builder = load_builder(settings.checkpoint, revision=revision, policy=settings.media)
        self._builder, self._settings = builder, settings

    def __call__(self, content: Content) -> tuple[int, int] | None:
        settings = self._settings
        total = of_images = 0
        if content.image is not None:
            row, engine = settings.checkpoint.row, settings.engine
            if not settings.checkpoint.has_pixel_bounds:
                return None
            width, height = content.image.pixels.size
            total = of_images = image_tokens(
                width, height, min_pixels=engine.min_pixels, max_pixels=engine.max_pixels, side=row.token_side
            )
        if content.text and content.kind != "image":
            item = TextItem(position=0, where="items[0]", text=content.text)
            (prompt,) = self._builder.build(
                [item],
                role="passage",
                task=settings.task,
                max_length=settings.max_length,
                truncate="end",
            )
            if isinstance(prompt, InputError):
                raise prompt
            assert isinstance(prompt, Prompt)
            total += len(prompt.token_ids)
        return total, of_images
