"""Checkpoints in the layout of TomoroAI/tomoro-colqwen3-embed, and what its own code gives for them on transformers.

Written apart from the package: own prompts, own tokeniser call, own projection.
Source: modeling_colqwen3.py and processing_colqwen3.py of TomoroAI/tomoro-colqwen3-embed-4b.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, PreTrainedTokenizerFast, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from tests.support.checkpoints import write_json
from tests.support.qwen3_vl import HIDDEN, make_qwen3_vl
from tests.support.reference import IMAGE
from tests.support.vision import VisionReference
from tests.support.xlm_roberta import unit

ROWS = 48
"""Numbers of a row."""
LOW, HIGH = 64 * 32**2, 1280 * 32**2
PROJECTION = "embedding_proj_layer"
AUGMENTATION = "<|endoftext|>" * 10


def make_col_qwen3(
    folder: Path,
    *,
    seed: int = 0,
    bias: bool = True,
    names: tuple[str, str] = ("vlm.model.", PROJECTION),
    architecture: str = "ColQwen3",
) -> Path:
    """Write a random checkpoint to a new folder.

    Args:
        folder: The folder.
        seed: Of its numbers.
        bias: Whether the projection has one.
        names: What names of the model's tensors begin with, and the name of the projection.
        architecture: The one in config.json.
    """
    make_qwen3_vl(folder, seed=seed)
    file = folder / "model.safetensors"
    tensors = {name.replace("model.", names[0], 1): tensor for name, tensor in load_file(file).items()}
    torch.manual_seed(seed + 1)
    tensors[f"{names[1]}.weight"] = torch.randn(ROWS, HIDDEN) / HIDDEN**0.5
    if bias:
        tensors[f"{names[1]}.bias"] = torch.randn(ROWS)
    save_file(tensors, file, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    write_json(
        folder / "config.json",
        {**config, "architectures": [architecture], "model_type": "colqwen3", "embed_dim": ROWS},
    )
    return folder


class ColQwen3Reference(VisionReference):
    """A checkpoint in its published code's way, on transformers."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text()) | {"model_type": "qwen3_vl"}
        model = Qwen3VLForConditionalGeneration(Qwen3VLConfig(**config)).float()
        tensors = load_file(folder / "model.safetensors")
        projection = {name.rpartition(".")[2]: tensors.pop(name) for name in [*tensors] if "proj" in name.split(".")[0]}
        own = {f"model.{name.removeprefix('vlm.').removeprefix('model.')}": one for name, one in tensors.items()}
        missing, unexpected = model.load_state_dict(own, strict=False)
        assert (missing, unexpected) == (["lm_head.weight"], [])
        super().__init__(
            model,
            PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json")),
            AutoImageProcessor.from_pretrained(folder),
        )
        self.weight = projection["weight"].numpy()
        self.bias = projection["bias"].numpy() if "bias" in projection else np.zeros(ROWS, dtype=np.float32)

    @staticmethod
    def prompt(text: str | None, images: int = 0) -> str:
        """Return ``ColQwen3Processor.__call__``'s prompt of a text, or of images."""
        if images:
            return f"<|im_start|>user\n{IMAGE * images}Describe the image.<|im_end|><|endoftext|>"
        return f"{text}{AUGMENTATION}"

    def states(self, prompt: str | Sequence[int], images: Sequence[Image.Image] = (), **options: Any) -> np.ndarray:
        """See ``VisionReference``; images within the bounds of the published processor."""
        return super().states(prompt, images, **{"size": {"shortest_edge": LOW, "longest_edge": HIGH}, **options})

    def multi_vector(
        self, prompt: str | Sequence[int], images: Sequence[Image.Image] = (), **options: Any
    ) -> np.ndarray:
        """Return every token's state, projected with the bias and normalised."""
        return self.projected(self.states(prompt, images, **options))

    def projected(self, states: np.ndarray) -> np.ndarray:
        """Return rows ``(n_tokens, ROWS)`` of states."""
        return unit(states @ self.weight.T + self.bias)
