"""jina-embeddings-v4's single vector in plain transformers and torch, float32.

Written from modeling_jina_embeddings_v4.py, apart from the package: own prompts, own pooling, own tokeniser call.
It differs from that file in one point on purpose: several images in one item (undefined there) give the union
of their spans, and a list may mix texts and images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration

IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"


def device() -> str:
    """Return torch's name of the device that references and benchmarks compute on: a GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


class Reference:
    """Embeds one item at a time, so that no padding is involved; ``device`` is torch's name of one."""

    def __init__(self, folder: Path, *, min_pixels: int = 3136, max_pixels: int = 602112, device: str = "cpu") -> None:
        self.device = torch.device(device)
        torch.backends.cudnn.allow_tf32 = False  # whole float32: the patches' convolution would round to 10 bits
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        self.images = AutoImageProcessor.from_pretrained(folder)
        self.size = {"shortest_edge": min_pixels, "longest_edge": max_pixels}
        self.model = self.load(folder).to(self.device).eval()
        config = self.model.config
        self.start, self.end, self.pad = (
            config.vision_start_token_id,
            config.vision_end_token_id,
            config.image_token_id,
        )

    def load(self, folder: Path) -> Qwen2_5_VLForConditionalGeneration:
        """Return the model in float32."""
        return Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)

    @torch.inference_mode()
    def token_states(self, item: str | Image.Image | Sequence[Image.Image]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return token ids ``(n,)`` and post-norm states ``(n, hidden)`` of a whole prompt text or of images."""
        if isinstance(item, str):
            return self.text_states(self.tokenizer(item, add_special_tokens=False).input_ids)
        images = [item] if isinstance(item, Image.Image) else list(item)
        prompt = "<|im_start|>user\n" + IMAGE * len(images) + "Describe the image.<|im_end|>\n"
        return self.prompt_states(self.tokenizer(prompt, add_special_tokens=False).input_ids, images)

    @torch.inference_mode()
    def text_states(self, ids: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what ``token_states`` does of a text's prompt in token ids."""
        every = torch.tensor([list(ids)])
        output = self.model.model(input_ids=every.to(self.device), use_cache=False)
        return every[0], output.last_hidden_state[0].cpu()

    @torch.inference_mode()
    def prompt_states(self, ids: Sequence[int], images: Sequence[Image.Image]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what ``token_states`` does of a prompt in token ids, with one ``<|image_pad|>`` for each image."""
        processed = self.images(images=list(images), size=self.size, return_tensors="pt")
        counts = iter([int(grid.prod()) // 4 for grid in processed["image_grid_thw"]])
        every = torch.tensor([[one for token in ids for one in [token] * (next(counts) if token == self.pad else 1)]])
        output = self.model.model(
            input_ids=every.to(self.device),
            pixel_values=processed["pixel_values"].to(self.device),
            image_grid_thw=processed["image_grid_thw"].to(self.device),
            mm_token_type_ids=(every == self.pad).long().to(self.device),
            use_cache=False,
        )
        return every[0], output.last_hidden_state[0].cpu()

    def multi_vector(self, item: str | Image.Image | Sequence[Image.Image]) -> np.ndarray:
        """Return the normalised states ``(n, hidden)`` of every token of a whole prompt."""
        return torch.nn.functional.normalize(self.token_states(item)[1], dim=-1).numpy()

    def embed(self, item: str | Image.Image | Sequence[Image.Image], dimensions: int | None = None) -> np.ndarray:
        """Return the embedding of a whole prompt text (prefix included) or of one or several RGB images."""
        return self.pooled(*self.token_states(item), dimensions)

    def raw(self, item: str | Image.Image | Sequence[Image.Image], dimensions: int | None = None) -> np.ndarray:
        """Return what ``embed`` does, cut but not normalised."""
        return self.averaged(*self.token_states(item))[:dimensions].numpy()

    def pooled(self, ids: torch.Tensor, states: torch.Tensor, dimensions: int | None = None) -> np.ndarray:
        """Return the embedding of a prompt's token ids ``(n,)`` and states ``(n, hidden)``."""
        pooled = torch.nn.functional.normalize(self.averaged(ids, states), dim=-1)
        if dimensions is not None:
            pooled = torch.nn.functional.normalize(pooled[:dimensions], dim=-1)
        return pooled.numpy()

    def averaged(self, ids: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Return the mean ``(hidden,)`` of the states that count."""
        if self.start in ids:
            inside = torch.zeros(len(ids), dtype=torch.bool)
            starts, ends = (ids == self.start).nonzero().flatten(), (ids == self.end).nonzero().flatten()
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
                inside[start : end + 1] = True
            states = states[inside]
        return states.sum(0) / len(states)


def relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest length of a difference of rows over that of the expected row, in float64; lengths count."""
    got, expected = np.atleast_2d(got).astype(np.float64), np.atleast_2d(expected).astype(np.float64)
    return float((np.linalg.norm(got - expected, axis=1) / np.linalg.norm(expected, axis=1)).max())


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest 1 - cosine over the rows of ``a`` and ``b``, in float64."""
    a, b = np.atleast_2d(a).astype(np.float64), np.atleast_2d(b).astype(np.float64)
    return float(1 - ((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())
