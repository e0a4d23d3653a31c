"""The contrastive losses: texts and images of a concept stand together, in one list with all others.

One compares embeddings, the other multi-vectors as late interaction does.
"""

import math
from collections.abc import Sequence

import torch
from torch.nn.functional import log_softmax, normalize

TEMPERATURE = 0.05


def matryoshka_loss(
    texts: torch.Tensor,
    text_labels: torch.Tensor,
    images: torch.Tensor,
    image_labels: torch.Tensor,
    sizes: Sequence[int],
) -> torch.Tensor:
    """InfoNCE in every direction at once, averaged over Matryoshka sizes.

    Every item asks, and every other item of both kinds is a candidate. The right texts and the right images share the
    probability evenly, so that neither kind stands nearer to a text than the other: one index can hold both.

    Args:
        texts: (n, dimensions), L2 norm 1.
        text_labels: (n,) number of each text's concept.
        images: (m, dimensions), L2 norm 1.
        image_labels: (m,) number of each image's concept.
        sizes: How many leading dimensions to look at, in turn.
    """
    items = torch.cat([texts, images])
    short = [normalize(items[:, :size], dim=-1) for size in sizes]
    return torch.stack([_info_nce(rows @ rows.T, text_labels, image_labels) for rows in short]).mean()


def late_interaction_loss(
    texts: Sequence[torch.Tensor],
    text_labels: torch.Tensor,
    images: Sequence[torch.Tensor],
    image_labels: torch.Tensor,
    *,
    image_rows: int = 48,
) -> torch.Tensor:
    """The same over MaxSim, divided by the rows of the item that asks, so that long questions weigh as short ones do.

    Args:
        texts: n multi-vectors, (n_tokens, dimensions), each row of L2 norm 1.
        text_labels: (n,) number of each text's concept.
        images: m multi-vectors.
        image_labels: (m,) number of each image's concept.
        image_rows: Of an image with more rows, every second, third and so on is compared, at most so many.
    """
    thinned = [rows[:: math.ceil(len(rows) / image_rows)] for rows in images]
    asked = torch.cat([*texts, *thinned])
    best = torch.cat([_best(asked, part) for part in (texts, thinned)], dim=1)
    counts = torch.tensor([len(rows) for rows in (*texts, *thinned)], device=asked.device)
    number = torch.repeat_interleave(torch.arange(len(counts), device=asked.device), counts)
    sums = best.new_zeros(len(counts), best.shape[1]).index_add(0, number, best)
    return _info_nce(sums / counts[:, None], text_labels, image_labels)


def _best(asked: torch.Tensor, items: Sequence[torch.Tensor]) -> torch.Tensor:
    """Cosine of each row that asks to the nearest row of each item, (n_rows, n_items)."""
    longest = max(len(rows) for rows in items)
    # An item's last row once more changes no maximum, so nothing has to be masked.
    padded = torch.stack([torch.cat([rows, rows[-1:].expand(longest - len(rows), -1)]) for rows in items])
    return (asked @ padded.flatten(0, 1).T).unflatten(1, padded.shape[:2]).amax(2)


def _info_nce(scores: torch.Tensor, text_labels: torch.Tensor, image_labels: torch.Tensor) -> torch.Tensor:
    """The loss of scores of every item, texts first, with every item: (n + m, n + m)."""
    labels = torch.cat([text_labels, image_labels])
    is_image = torch.arange(len(labels), device=labels.device) >= len(text_labels)
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    same = (labels[:, None] == labels) & ~itself
    targets = (_rows(same & ~is_image) + _rows(same & is_image)) / 2
    weight = torch.where(is_image, 0.5 / len(image_labels), 0.5 / len(text_labels))
    logits = (scores / TEMPERATURE).masked_fill(itself, -1e4)
    return -(weight[:, None] * targets * log_softmax(logits, dim=-1)).sum()


def _rows(right: torch.Tensor) -> torch.Tensor:
    return right / right.sum(-1, keepdim=True).clamp(min=1)
