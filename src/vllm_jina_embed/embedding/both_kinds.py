"""Both kinds of vectors of a call's items: from one pass of the engine, or from two where the prompts differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..engine.protocol import Engine
from ..inputs.items import BothItem, Item
from ..prompts.base import Builder
from .fusion import embed_fused
from .outcomes import BothKinds, Outcome
from .pipeline import Plan, Progress, embed_items


async def embed_both_kinds(
    items: Sequence[Item], *, engine: Engine, builder: Builder, plan: Plan, progress: Progress, is_fused: bool
) -> Outcome:
    """Embed ``items`` as ``embed_items`` does; the outcome holds ``BothKinds``.

    Two passes are needed where the embedding of a long text is the mean of its chunks', and that of a text with images
    the mean of both: the multi-vector has another prompt, or none.

    Args:
        items: Texts, images and both.
        engine: It answers.
        builder: Makes the prompts.
        plan: What it is asked.
        progress: Is called with 1 for each finished item.
        is_fused: Whether the embedding of a text with images is the mean of both.
    """
    fuses = is_fused and any(isinstance(item, BothItem) for item in items)
    if not fuses and plan.long_text != "chunks":
        return await embed_items(items, engine=engine, builder=builder, plan=plan, progress=progress)
    embed = embed_fused if fuses else embed_items
    single = replace(plan, both=False)
    multi = replace(single, multi=True, dimensions=plan.token_dimensions)
    return joined(
        await embed(items, engine=engine, builder=builder, plan=single, progress=lambda count: None),
        await embed(items, engine=engine, builder=builder, plan=multi, progress=progress),
        items,
        plan.token_dimensions,
    )


def joined(single: Outcome, multi: Outcome, items: Sequence[Item], token_dimensions: int) -> Outcome:
    """Return two outcomes of the same items as one; an item has an error if either kind has, and no vector then."""
    errors = {error.positions: error for error in [*single.errors, *multi.errors]}
    rows = BothKinds(embeddings=single.embeddings, multi_vectors=multi.embeddings, token_dimensions=token_dimensions)
    (nothing,) = rows.like(1)
    for row, item in enumerate(items):
        if (item.position,) in errors:
            rows[row] = nothing
    return Outcome(
        embeddings=rows,
        errors=[errors[positions] for positions in sorted(errors)],
        truncated=sorted({*single.truncated, *multi.truncated}),
    )
