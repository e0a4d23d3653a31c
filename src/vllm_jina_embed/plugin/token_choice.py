"""Which tokens of each prompt of a step are averaged, in numpy for all prompts at once.

Every pooling is a mean over ranges of tokens: a first or last token is a range of one.
``vllm_jina_embed.pooling.single_vector`` is the reference, prompt by prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..checkpoints.row import Pooling
from .pooling_step import Integers, Step, before, ranges


@dataclass(frozen=True, slots=True)
class Spans:
    """Half-open ranges of tokens that are averaged, ordered by request and place.

    Attributes:
        owners: Each span's request.
        firsts: Its first token.
        lasts: The token after its last.
        paired: For each request whether its markers can be paired; one where they cannot has no span.
    """

    owners: Integers
    firsts: Integers
    lasts: Integers
    paired: npt.NDArray[np.bool_]

    def tokens(self) -> Integers:
        """Return how many tokens of each request are averaged."""
        return _totals(self.owners, self.lasts - self.firsts, len(self.paired))

    def rows(self, step: Step) -> tuple[Integers, Integers]:
        """Return the rows of the step that lie in a span, ordered by request, and how many each request has."""
        begins = step.begins[self.owners]
        firsts = np.maximum(self.firsts - begins, 0)
        lengths = np.maximum(np.minimum(self.lasts - begins, step.counts[self.owners]) - firsts, 0)
        return (
            ranges(firsts + step.offsets[self.owners], lengths),
            _totals(self.owners, lengths, len(self.paired)),
        )


def one_span(pooling: Pooling, lengths: Integers) -> Spans:
    """Return what is averaged of prompts of ``lengths`` ``(n,)``, by a pooling that looks at no token ids."""
    zeros = np.zeros_like(lengths)
    bounds = {"mean": (zeros, lengths), "first_token": (zeros, zeros + 1), "last_token": (lengths - 1, lengths)}
    firsts, lasts = bounds[pooling]
    return Spans(owners=np.arange(len(lengths)), firsts=firsts, lasts=lasts, paired=np.ones(len(lengths), dtype=bool))


def find_spans(prompts: Sequence[npt.NDArray[np.integer]], *, vision_start: int, vision_end: int) -> Spans:
    """Return what is averaged of each prompt's token ids ``(n_tokens,)``.

    Each start belongs to the end that comes next; without any start all tokens are averaged. Where a start, or an end
    beside it, has no partner, nothing is: what lies between others would give a wrong vector without an error.
    """
    lengths, n = np.array([len(ids) for ids in prompts], dtype=np.int64), len(prompts)
    every_id = np.concatenate(prompts)
    places = [np.flatnonzero(every_id == marker) for marker in (vision_start, vision_end)]
    if len(places[0]) == 0:  # texts alone
        return one_span("mean", lengths)
    of = [np.searchsorted(np.cumsum(lengths), found, side="right") for found in places]
    n_starts, n_ends = (np.bincount(owners, minlength=n) for owners in of)
    paired = n_starts == n_ends
    (starts, ends), (owners, _) = (
        [values[paired[request]] for values, request in zip(both, of, strict=True)] for both in (places, of)
    )
    crossed = ends < starts
    crossed[1:] |= (owners[1:] == owners[:-1]) & (starts[1:] < ends[:-1])
    paired[owners[crossed]] = False
    inside = paired[owners]
    owners, firsts, lasts = owners[inside], starts[inside], ends[inside] + 1
    whole = np.flatnonzero(n_starts == 0)
    paired[whole] = True
    shift = before(lengths)[owners]
    owners = np.concatenate([owners, whole])
    order = np.argsort(owners, kind="stable")
    return Spans(
        owners=owners[order],
        firsts=np.concatenate([firsts - shift, np.zeros_like(whole)])[order],
        lasts=np.concatenate([lasts - shift, lengths[whole]])[order],
        paired=paired,
    )


def _totals(owners: Integers, counts: Integers, n: int) -> Integers:
    """Return the sum of the counts of each of ``n`` requests; exact, for float64 holds every integer below 2**53."""
    return np.bincount(owners, weights=counts, minlength=n).astype(np.int64)
