"""The contrastive loss: texts and pictures of a concept stand together, in one list with all others.

Enters: embeddings of texts and of pictures, and which concept each shows. Leaves: one number.
"""

from collections.abc import Sequence

import torch
from torch.nn.functional import log_softmax, normalize

TEMPERATURE = 0.05


def matryoshka_loss(
    texts: torch.Tensor,
    text_labels: torch.Tensor,
    pictures: torch.Tensor,
    picture_labels: torch.Tensor,
    sizes: Sequence[int],
) -> torch.Tensor:
    """InfoNCE in every direction at once, averaged over Matryoshka sizes.

    Every item asks, and every other item of both kinds is a candidate. The right texts and the right pictures share the
    probability evenly, so that neither kind stands nearer to a text than the other: one index can hold both.

    Args:
        texts: (n, dimensions), L2 norm 1.
        text_labels: (n,) number of each text's concept.
        pictures: (m, dimensions), L2 norm 1.
        picture_labels: (m,) number of each picture's concept.
        sizes: How many leading dimensions to look at, in turn.
    """
    labels = torch.cat([text_labels, picture_labels])
    is_picture = torch.arange(len(labels)) >= len(texts)
    itself = torch.eye(len(labels), dtype=torch.bool)
    same = (labels[:, None] == labels) & ~itself
    targets = (_rows(same & ~is_picture) + _rows(same & is_picture)) / 2
    weight = torch.where(is_picture, 0.5 / len(pictures), 0.5 / len(texts))
    items = torch.cat([texts, pictures])
    losses = []
    for size in sizes:
        short = normalize(items[:, :size], dim=-1)
        logits = (short @ short.T / TEMPERATURE).masked_fill(itself, -1e4)
        losses.append(-(weight[:, None] * targets * log_softmax(logits, dim=-1)).sum())
    return torch.stack(losses).mean()


def _rows(right: torch.Tensor) -> torch.Tensor:
    return right / right.sum(-1, keepdim=True).clamp(min=1)
