"""Checkpoints in the layout of Qwen/Qwen3-VL-Reranker, and what its own script gives for them on transformers.

Written apart from the package: own prompt, own tokeniser call, own head.
Source: scripts/qwen3_vl_reranker.py of Qwen/Qwen3-VL-Reranker-2B.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.support.fetching import fetched
from tests.support.qwen3_reranker import PREFIX
from tests.support.qwen3_vl import FACTOR, Qwen3VlReference, make_qwen3_vl
from tests.support.reference import IMAGE
from tests.support.tokenizer import KNOWN
from tests.support.vision import VisionReference

LOW, HIGH = 4 * FACTOR**2, 1280 * FACTOR**2
INSTRUCTION = "Given a search query, retrieve relevant candidates that answer the query."
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n"
Side = tuple[str | None, Sequence[Image.Image]]
"""A text and images of one side."""


def make_qwen3_vl_reranker(folder: Path, *, seed: int = 0) -> Path:
    """Write a random checkpoint to a new folder."""
    return make_qwen3_vl(folder, seed=seed, known=f"yes\nno\n{KNOWN} Document Query Instruct")


class Qwen3VlRerankerReference(Qwen3VlReference):
    """``format_mm_instruction`` and ``compute_scores``, one pair at a time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.yes, self.no = (self.tokenizer.convert_tokens_to_ids(token) for token in ("yes", "no"))

    def pair(self, query: Side, document: Side, instruction: str = INSTRUCTION) -> str:
        """Return the whole prompt of a pair: on each side images before the text."""
        asked, given = (IMAGE * len(images) + (text or "") for text, images in (query, document))
        return f"{PREFIX}<Instruct>: {instruction}<Query>:{asked}\n<Document>:{given}{SUFFIX}"

    def score(self, query: Side, document: Side, instruction: str = INSTRUCTION, *, pillow: bool = False) -> float:
        """Return the score of a pair.

        Args:
            query: A side.
            document: The other.
            instruction: The instruction.
            pillow: Whether Pillow resizes images, as in the script; else the processor does, to the same size.
        """
        return self.of(self.pair(query, document, instruction), [*query[1], *document[1]], pillow=pillow)

    @torch.inference_mode()
    def of(
        self,
        prompt: str | Sequence[int],
        images: Sequence[Image.Image] = (),
        *,
        yes: int | None = None,
        no: int | None = None,
        pillow: bool = False,
    ) -> float:
        """Return the score of a whole prompt, perhaps by other words."""
        words = self.model.lm_head.weight
        weight = words[self.yes if yes is None else yes] - words[self.no if no is None else no]
        last = torch.from_numpy(self.states(prompt, images, pillow=pillow)[-1])
        return float(torch.sigmoid(weight @ last))

    def states(
        self, prompt: str | Sequence[int], images: Sequence[Image.Image] = (), *, pillow: bool = False, **options: Any
    ) -> np.ndarray:
        """See ``VisionReference``."""
        if pillow:
            own = [fetched(image, factor=FACTOR, low=LOW, high=HIGH) for image in images]
            return VisionReference.states(self, prompt, own, do_resize=False, **options)
        return VisionReference.states(
            self, prompt, images, size={"shortest_edge": LOW, "longest_edge": HIGH}, **options
        )
