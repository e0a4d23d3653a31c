"""Checkpoints in the layout of Qwen/Qwen3-VL-Embedding, and what its own code gives for them on transformers.

Written apart from the package: own prompts, own tokeniser call, own pooling.
Source: src/models/qwen3_vl_embedding.py of QwenLM/Qwen3-VL-Embedding.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    PreTrainedTokenizerFast,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from tests.support.checkpoints import tokenizer_config, write_json
from tests.support.fetching import fetched
from tests.support.reference import IMAGE
from tests.support.tokenizer import KNOWN, SPECIAL, make_tokenizer
from tests.support.vision import VisionReference, spread

HIDDEN = 128
POSITIONS = 4096
FACTOR = 32
LOW, HIGH = 4 * FACTOR**2, 1800 * FACTOR**2
DEFAULT = "Represent the user's input."
RETRIEVE = "Retrieve images or text relevant to the user's query."


def make_qwen3_vl(folder: Path, *, seed: int = 0, known: str = KNOWN) -> Path:
    """Write a random checkpoint to a new folder; its tokenizer has words of ``known``."""
    folder.mkdir(parents=True)
    tokenizer = make_tokenizer(known)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(seed)
    ids = {token: tokenizer.token_to_id(token) for token in SPECIAL}
    model = Qwen3VLForConditionalGeneration(_config(ids, tokenizer.get_vocab_size()))
    spread(model.model.language_model)
    model.save_pretrained(folder)
    write_json(folder / "tokenizer_config.json", {**tokenizer_config(), "tokenizer_class": "Qwen2Tokenizer"})
    pixels = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2, "processor_class": "Qwen3VLProcessor"}
    pixels |= {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    edges = {"size": {"shortest_edge": 65536, "longest_edge": 16777216}}  # Qwen3-VL's own, not those of the embeddings
    write_json(
        folder / "preprocessor_config.json", {**pixels, **edges, "image_processor_type": "Qwen2VLImageProcessorFast"}
    )
    edges = {"size": {"shortest_edge": 4096, "longest_edge": 25165824}}
    write_json(
        folder / "video_preprocessor_config.json",
        {**pixels, **edges, "video_processor_type": "Qwen3VLVideoProcessor"},
    )
    return folder


def _config(ids: dict[str, int], vocabulary: int) -> Qwen3VLConfig:
    return Qwen3VLConfig(
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": HIDDEN,
            "intermediate_size": 256,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "max_position_embeddings": POSITIONS,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 5e6, "mrope_section": [6, 5, 5], "mrope_interleaved": True
            },
            "initializer_range": 0.1,
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
        },
        vision_config={
            "depth": 3,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 4,
            "out_hidden_size": HIDDEN,
            "num_position_embeddings": 256,
            "deepstack_visual_indexes": [0, 1],
            "initializer_range": 0.1,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )  # fmt: skip


class Qwen3VlReference(VisionReference):
    """A checkpoint in its published code's way, on transformers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32),
            PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json")),
            AutoImageProcessor.from_pretrained(folder),
        )

    def prompt(self, text: str | None, images: int = 0, instruction: str | None = None) -> str:
        """Return ``format_model_input`` through the chat template: images first, a full stop after an instruction."""
        instruction = (instruction or "").strip() or DEFAULT
        if not unicodedata.category(instruction[-1]).startswith("P"):
            instruction += "."
        item = IMAGE * images + (text or "") or "NULL"
        return (
            f"<|im_start|>system\n{instruction}<|im_end|>\n<|im_start|>user\n{item}<|im_end|>\n<|im_start|>assistant\n"
        )

    def states(self, prompt: str | Sequence[int], images: Sequence[Image.Image] = (), **options: Any) -> np.ndarray:
        """See ``VisionReference``; images are resized by Pillow before, as qwen_vl_utils does it."""
        own = [fetched(image, factor=FACTOR, low=LOW, high=HIGH) for image in images]
        return super().states(prompt, own, **{"do_resize": False, **options})
