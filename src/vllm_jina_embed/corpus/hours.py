"""Say how many hours a corpus would take: by a rate that was measured, or by arithmetic for one GPU."""

from __future__ import annotations

OPERATIONS = 800e12
"""Multiplications and additions of an H100 in a second, dense and in bfloat16."""
SHARE = 0.4
"""What part of them a model gets done; an assumption, not a measurement."""
PATCHES = 4
"""Patches of an image that become one token: Qwen2-VL and its kin merge 2 x 2."""
ARITHMETIC = (
    "one H100 at 40 % of 800 TFLOP/s, two operations for each weight and token, without attention; not measured. "
    "Measure a rate with --limit 1000 and pass it as --rate."
)


def hours_of(
    items: int,
    tokens: float | None,
    image_tokens: float,
    *,
    weights: tuple[int, int] | None,
    passes: int = 1,
    rate: float | None = None,
) -> tuple[float | None, str]:
    """Return about how many hours a corpus takes, and by what that is known.

    Args:
        items: Number of its items.
        tokens: Of all prompts, images included; None where nobody knows.
        image_tokens: Those of images among them.
        weights: How many multiply each token, and each patch of an image; None where nobody knows.
        passes: How often each item goes through the model.
        rate: Items a second, where they were measured.
    """
    if rate is not None:
        return items / rate / 3600, f"{rate:g} items a second"
    if weights is None or tokens is None:
        return None, "the model's weights or an image's tokens are not known here; pass --rate ITEMS_A_SECOND."
    language, vision = weights
    operations = 2 * passes * (language * tokens + vision * PATCHES * image_tokens)
    return operations / (SHARE * OPERATIONS) / 3600, ARITHMETIC
