"""What the references of vision-language models share: one item at a time, in transformers and float32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.support.builders import builder_of
from tests.support.xlm_roberta import unit
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.checkpoints.description import Model
from vllm_jina_embed.inputs import items as inputs


def spread(model: torch.nn.Module, *, norm: str = "norm.weight", scale: float = 0.5) -> None:
    """Make the weights of a random decoder's norms log-normal, so that a wrong prompt, position or pooling shows."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith(norm):
                value.copy_(torch.exp(scale * torch.randn(value.shape)))


def given(text: str | None, images: Sequence[Image.Image]) -> Any:
    """Return an item of a text, of images, or of both as users pass it."""
    if not images:
        return text
    return list(images) if text is None else {"text": text, "image": list(images)}


def embedded(embedder: JinaEmbedder, row: Model, folder: Path, item: Any, *, role: str, dimensions: int) -> np.ndarray:
    """Return the vector of an item that an embedder's engine gives for the prompt of ``row``, perhaps another's."""
    builder = builder_of(row, (folder / "tokenizer.json").read_text())
    (prompt,) = builder.build(
        inputs.good(inputs.mixed([item])), role=role, task="retrieval", max_length=4096, truncate="error"
    )
    engine, _ = embedder.backend.ready()  # type: ignore[attr-defined]
    vector: np.ndarray = engine.run(engine.embed(prompt, dimensions=dimensions, task="retrieval")).result()
    return vector


class VisionReference:
    """A checkpoint of the Qwen-VL kind.

    Args:
        model: It, in float32.
        tokenizer: The one of transformers, which reads special tokens.
        processor: The image processor of transformers.
        in_line: Whether the patches of an image are in one line with the text.
    """

    def __init__(self, model: Any, tokenizer: Any, processor: Any, *, in_line: bool = False) -> None:
        self.model, self.tokenizer, self.processor, self.in_line = model.eval(), tokenizer, processor, in_line
        self.pad = model.config.image_token_id

    def ids(self, prompt: str) -> list[int]:
        """Return the tokens of a whole prompt, with one for each image."""
        ids: list[int] = self.tokenizer(prompt, add_special_tokens=False).input_ids
        return ids

    def plain(self, text: str) -> list[int]:
        """Return the tokens of a text in which special tokens are spelled by the user."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        return ids

    @torch.inference_mode()
    def states(
        self,
        prompt: str | Sequence[int],
        images: Sequence[Image.Image] = (),
        *,
        in_line: bool | None = None,
        **size: Any,
    ) -> np.ndarray:
        """Return the states ``(n_tokens, hidden)`` after the final norm.

        Args:
            prompt: A whole prompt, or its tokens with one for each image.
            images: Its images, which are resized as the processor does it.
            in_line: Other than the model's.
            size: Further arguments of the processor.
        """
        ids = self.ids(prompt) if isinstance(prompt, str) else list(prompt)
        vision: dict[str, Any] = {}
        if images:
            vision = dict(self.processor(images=list(images), return_tensors="pt", **size))
            merged = self.processor.merge_size**2
            counts = iter([int(grid.prod()) // merged for grid in vision["image_grid_thw"]])
            ids = [one for token in ids for one in [token] * (next(counts) if token == self.pad else 1)]
        every = torch.tensor([ids])
        if self.in_line if in_line is None else in_line:
            vision["position_ids"] = torch.arange(len(ids)).expand(3, 1, -1)
        output = self.model.model(
            input_ids=every, mm_token_type_ids=(every == self.pad).long(), use_cache=False, **vision
        )
        states: np.ndarray = output.last_hidden_state[0].numpy()
        return states

    def embed(
        self,
        prompt: str | Sequence[int],
        images: Sequence[Image.Image] = (),
        dimensions: int | None = None,
        **options: Any,
    ) -> np.ndarray:
        """Return the state of the last token, cut and normalised."""
        return unit(self.states(prompt, images, **options)[-1, :dimensions])

    def multi_vector(
        self, prompt: str | Sequence[int], images: Sequence[Image.Image] = (), **options: Any
    ) -> np.ndarray:
        """Return every token's state, normalised."""
        return unit(self.states(prompt, images, **options))
