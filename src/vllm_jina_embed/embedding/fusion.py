"""The vector of a text with its images by a model that was not trained for it: the mean of two vectors.

Each side is embedded as it would be alone, in the role of the call and with its dimensions.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..engine.protocol import Engine
from ..errors import InputError
from ..inputs.items import BadItem, BothItem, Checked, ImageItem, Item, TextItem, good
from ..prompts.base import Builder
from .means import of_both
from .outcomes import Outcome
from .pipeline import Plan, Progress, embed_items


async def embed_fused(
    items: Sequence[Item], *, engine: Engine, builder: Builder, plan: Plan, progress: Progress
) -> Outcome:
    """Embed ``items`` as ``embed_items`` does, a text with images as the mean of both; multi-vectors have none."""
    if plan.multi:
        checked: list[Checked] = [_without_multi_vector(item) for item in items]
        outcome = await embed_items(good(checked), engine=engine, builder=builder, plan=plan, progress=progress)
        return outcome.among(checked, plan.dimensions)
    halves = Halves.of(items)
    done, total = itertools.count(1), len(halves.items)

    def half(_: int) -> None:
        number = next(done)
        if number * len(items) // total > (number - 1) * len(items) // total:
            progress(1)

    return halves.joined(await embed_items(halves.items, engine=engine, builder=builder, plan=plan, progress=half))


@dataclass(frozen=True, slots=True, kw_only=True)
class Halves:
    """The items of a call, each text with images as two items beside each other.

    Attributes:
        items: What is embedded, in order.
        rows: For each item of the call the rows of ``items``: one, or a text's and its images'.
    """

    items: list[Item]
    rows: list[tuple[int, ...]]

    @classmethod
    def of(cls, items: Sequence[Item]) -> Halves:
        """Return the halves of items."""
        halves, rows = list[Item](), list[tuple[int, ...]]()
        for item in items:
            first = len(halves)
            if isinstance(item, BothItem):
                halves.append(TextItem(position=item.position, where=item.where, text=item.text))
                halves.append(ImageItem(position=item.position, where=item.where, images=item.images))
            else:
                halves.append(item)
            rows.append(tuple(range(first, len(halves))))
        return cls(items=halves, rows=rows)

    def joined(self, outcome: Outcome) -> Outcome:
        """Return the outcome of the halves as that of the items: means, and one error per item."""
        errors = {error.positions: error for error in reversed(outcome.errors)}  # the first of an item stays
        embeddings = outcome.embeddings[[rows[0] for rows in self.rows]]
        for row, rows in enumerate(self.rows):
            item = self.items[rows[0]]
            if len(rows) == 1:
                continue
            if (item.position,) in errors:
                embeddings[row] = np.nan
                continue
            try:
                embeddings[row] = of_both(outcome.embeddings[list(rows)])
            except InputError as error:
                embeddings[row] = np.nan
                errors[(item.position,)] = error.at(item.where, item.position)
        ordered = [errors[positions] for positions in sorted(errors)]
        return Outcome(embeddings=embeddings, errors=ordered, truncated=outcome.truncated)


def _without_multi_vector(item: Item) -> Checked:
    """Return ``item`` itself; a bad item for a text with images."""
    if not isinstance(item, BothItem):
        return item
    error = InputError(
        "got a text and an image together with fusion='mean', which joins two vectors; a multi-vector has one for each "
        "token, and those of a text and of an image have no mean. Embed them as two items.",
        where=item.where,
        positions=[item.position],
    )
    return BadItem(position=item.position, where=item.where, error=error)
