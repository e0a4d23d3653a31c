"""Say which part of an image each word of a question matches: MaxSim, token by token."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from .._arrays import Floats
from ..cache.embedder import CachedEmbedder
from ..checkpoints.prompt_pieces import Special
from ..embedding.calls import Calls
from ..embedding.engine_backend import EngineBackend
from ..errors import ConfigError, EngineError, InputError
from ..inputs import items as inputs
from ..inputs.images import ImageInput
from ..inputs.items import Checked, ImageItem, Item, TextItem
from ..prompts.base import Prompt
from .reranker import MaxSimReranker

PATCHES = Special("<|image_pad|>")
"""The token that stands for the patches of an image, row by row, in models whose patches are a grid."""
_HEAT = (255, 0, 0)
_STRONGEST = 0.6
_SKEW = math.log(1.5)
"""How far the sides of a grid may be from those of the image; rounding to whole patches changes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMatch:
    """Where one token of a question finds its best match.

    Attributes:
        token: Its spelling; a part of a character is shown as U+FFFD.
        row: The row of the image's multi-vector that it matches.
        patch: The row and column of the patch; None where it is a token of the prompt around the image.
        value: The dot product, which MaxSim adds up.
    """

    token: str
    row: int
    patch: tuple[int, int] | None
    value: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaxSimMap:
    """How well each token of a question matches each patch of an image.

    Attributes:
        matches: One for each token of the question's prompt, its prefix included.
        values: float32, ``(n_tokens, rows, columns)``: the dot product of each token with each patch.
        image: The RGB image, in its own size.
    """

    matches: tuple[TokenMatch, ...]
    values: Floats
    image: Image.Image

    @property
    def score(self) -> float:
        """MaxSim: the sum of the matches' values."""
        return math.fsum(match.value for match in self.matches)

    @property
    def grid(self) -> tuple[int, int]:
        """How many rows and columns of patches the image has."""
        rows, columns = self.values.shape[1:]
        return rows, columns

    def heat(self, tokens: Iterable[int] | None = None) -> Floats:
        """Return the mean of some tokens' values for each patch, from 0 (the least of the image) to 1 (the most).

        Args:
            tokens: Positions in ``matches``; None takes all.

        Returns:
            float32, ``(rows, columns)``; zeros where all patches are equal.

        Raises:
            InputError: There is no such token.
        """
        chosen = [*range(len(self.matches))] if tokens is None else [*tokens]
        if not chosen or not all(0 <= token < len(self.matches) for token in chosen):
            raise InputError(f"tokens={chosen}: expected positions from 0 to {len(self.matches) - 1}.")
        mean = self.values[chosen].mean(axis=0)
        low, high = float(mean.min()), float(mean.max())
        return np.asarray((mean - low) / (high - low) if high > low else np.zeros_like(mean), dtype=np.float32)

    def picture(self, tokens: Iterable[int] | None = None) -> Image.Image:
        """Return the image with the heat of some tokens over it in red; see ``heat``."""
        alpha = Image.fromarray((self.heat(tokens) * 255 * _STRONGEST).astype(np.uint8))
        red = Image.new("RGB", self.image.size, _HEAT)
        return Image.composite(red, self.image, alpha.resize(self.image.size, Image.Resampling.NEAREST))


def maxsim_map(embedder: Calls, query: str, image: ImageInput, *, task: str | None = None) -> MaxSimMap:
    """Return which patches of an image match which tokens of a question.

    Args:
        embedder: A ``JinaEmbedder`` or ``CachedEmbedder``, of a model that takes an image as a grid of patches.
        query: The question.
        image: Path, data URI, reference, encoded bytes, ``BytesIO``, PIL image or uint8 array.
        task: None takes the embedder's.

    Raises:
        InputError: The query is not a text, or ``image`` is not one image, or cannot be read.
        ConfigError: The model has no multi-vectors, or its patches are not a grid.
    """
    checked = _Checked.of(embedder, query, image, task)
    (asked,) = checked.rows(embedder.outcome([checked.query], "query", **checked.kind))
    (told,) = checked.rows(embedder.outcome([checked.image], "passage", **checked.kind))
    return checked.map_of(asked, told)


async def amaxsim_map(embedder: Calls, query: str, image: ImageInput, *, task: str | None = None) -> MaxSimMap:
    """Await ``maxsim_map``."""
    checked = await asyncio.to_thread(_Checked.of, embedder, query, image, task)
    (asked,) = checked.rows(await embedder.aoutcome([checked.query], "query", **checked.kind))
    (told,) = checked.rows(await embedder.aoutcome([checked.image], "passage", **checked.kind))
    return await asyncio.to_thread(checked.map_of, asked, told)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """A question and an image that can be compared, and the backend that builds their prompts."""

    query: Item
    image: Item
    pixels: Image.Image
    backend: EngineBackend
    task: str

    @classmethod
    def of(cls, embedder: Calls, query: Any, image: Any, task: str | None) -> _Checked:
        chosen = MaxSimReranker(embedder, task=task).task  # and that there are multi-vectors
        settings = embedder.settings
        if PATCHES not in settings.checkpoint.row.image:
            raise ConfigError(f"the patches of {settings.checkpoint.name} are not a grid that is known here.")
        (asked,) = _good(inputs.texts([query], name="queries"))
        (shown,) = _good(inputs.images([image]))
        opened, _ = inputs.with_opened(shown, settings.media)
        assert isinstance(opened, ImageItem)
        if len(opened.images) != 1:
            raise InputError(f"got {len(opened.images)} images; expected one.", where="image")
        pixels: Any = opened.images[0]
        backend: Any = embedder
        while isinstance(backend, CachedEmbedder):
            backend = backend.embedder
        return cls(query=asked, image=opened, pixels=pixels.pixels, backend=backend.backend, task=chosen)

    @property
    def kind(self) -> dict[str, Any]:
        return {"multi_vector": True, "task": self.task, "show_progress": False}

    def rows(self, outcome: Any) -> Any:
        return outcome.checked(self.backend.settings, on_error="raise")

    def map_of(self, asked: Floats, told: Floats) -> MaxSimMap:
        _, builder = self.backend.ready()
        question, shown = self._prompt(self.query, "query"), self._prompt(self.image, "passage")
        if len(question.token_ids) != len(asked):
            raise EngineError(f"got {len(asked)} rows for a question of {len(question.token_ids)} tokens.")
        count = len(told) - (len(shown.token_ids) - 1)  # one token stands for all patches
        start = shown.around[0] + self.backend.settings.checkpoint.row.image.index(PATCHES)
        grid = _grid(count, self.pixels)
        products = asked @ told.T
        best = products.argmax(axis=1)
        places = [divmod(int(row) - start, grid[1]) if 0 <= row - start < count else None for row in best]
        spelled = builder.spelled(question.token_ids)
        matches = [
            TokenMatch(token=token, row=int(row), patch=patch, value=float(products[number, row]))
            for number, (token, row, patch) in enumerate(zip(spelled, best, places, strict=True))
        ]
        values = products[:, start : start + count].reshape(len(asked), *grid)
        return MaxSimMap(matches=tuple(matches), values=values, image=self.pixels)

    def _prompt(self, item: Item, role: str) -> Prompt:
        settings = self.backend.settings
        _, builder = self.backend.ready()
        (prompt,) = builder.build(
            [item], role=role, task=self.task, max_length=settings.max_length, truncate=settings.truncate
        )
        if isinstance(prompt, InputError):
            raise prompt
        return prompt


def _good(items: list[Checked]) -> list[TextItem | ImageItem]:
    """Return the items, which are texts or images.

    Raises:
        InputError: One is neither.
    """
    found: list[Any] = []
    for item in items:
        if isinstance(item, inputs.BadItem):
            raise item.error
        found.append(item)
    return found


def _grid(count: int, image: Image.Image) -> tuple[int, int]:
    """Return the rows and columns of ``count`` patches whose sides are nearest to those of the image.

    The image was resized to whole patches with its sides kept, as smart_resize of Qwen2-VL's processor does it.

    Raises:
        EngineError: There is no such grid.
    """
    wanted = math.log(image.height / image.width)
    sides = [(rows, count // rows) for rows in range(1, count + 1) if count % rows == 0]
    best = min(sides, key=lambda side: abs(math.log(side[0] / side[1]) - wanted), default=None)
    if best is None or abs(math.log(best[0] / best[1]) - wanted) > max(_SKEW, 1 / min(best)):
        raise EngineError(f"{count} patches are not a grid over an image of {image.width} x {image.height} pixels.")
    return best
