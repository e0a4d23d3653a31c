"""Checkpoints in the layout of models trained from Qwen2-VL, and what their own codes give for them on transformers.

Written apart from the package: own prompts, own tokeniser call, own pooling.
Sources: the card of MrLight/dse-qwen2-2b-mrl-v1; gme_inference.py of Alibaba-NLP/gme-Qwen2-VL-2B-Instruct;
src/model/processor.py, experiments/examples/qwen2vl/demo_v1_image.py and demo_v2_image.py of TIGER-AI-Lab/VLM2Vec.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, PreTrainedTokenizerFast, Qwen2VLConfig, Qwen2VLForConditionalGeneration

from tests.support.checkpoints import preprocessor_config, tokenizer_config, write_json
from tests.support.fetching import fetched
from tests.support.tokenizer import SPECIAL, make_tokenizer
from tests.support.vision import VisionReference, spread

HIDDEN = 128
POSITIONS = 4096
FACTOR = 28
FETCHED = {"factor": FACTOR, "low": 4 * FACTOR**2, "high": 16384 * FACTOR**2}
"""The bounds of qwen_vl_utils, in which images are resized before the processor resizes them again."""
FRAME = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n<|endoftext|>"
)


def make_qwen2_vl(folder: Path, *, seed: int = 0) -> Path:
    """Write a random checkpoint to a new folder; config.json has no ``text_config``, as published."""
    folder.mkdir(parents=True)
    tokenizer = make_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {token: tokenizer.token_to_id(token) for token in SPECIAL}
    config = qwen2_vl_config(ids, tokenizer.get_vocab_size())
    torch.manual_seed(seed)
    model = Qwen2VLForConditionalGeneration(Qwen2VLConfig(**config))
    spread(model.model.language_model)
    model.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config))
    write_json(folder / "tokenizer_config.json", {**tokenizer_config(), "tokenizer_class": "Qwen2Tokenizer"})
    write_json(folder / "preprocessor_config.json", {**preprocessor_config(), "processor_class": "Qwen2VLProcessor"})
    return folder


def qwen2_vl_config(ids: dict[str, int], vocabulary: int) -> dict[str, Any]:
    """Return the content of a published config.json, with small sizes."""
    return {
        "architectures": ["Qwen2VLForConditionalGeneration"], "model_type": "qwen2_vl", "torch_dtype": "float32",
        "vocab_size": vocabulary, "hidden_size": HIDDEN, "intermediate_size": 256, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": POSITIONS,
        "rope_theta": 1e6, "rope_scaling": {"type": "mrope", "mrope_section": [4, 6, 6]}, "initializer_range": 0.1,
        "bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"],
        "vision_start_token_id": ids["<|vision_start|>"], "vision_end_token_id": ids["<|vision_end|>"],
        "vision_token_id": ids["<|vision_pad|>"], "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"], "tie_word_embeddings": False,
        "vision_config": {
            "depth": 2, "embed_dim": 64, "hidden_size": HIDDEN, "num_heads": 4, "mlp_ratio": 4, "in_chans": 3,
            "spatial_patch_size": 14, "patch_size": 14, "initializer_range": 0.1,
        },
    }  # fmt: skip


class Qwen2VlReference(VisionReference):
    """A checkpoint in the way of its published code, on transformers.

    Args:
        folder: The checkpoint.
        low: Least pixels of an image in its processor.
        high: Most of them.
        fetches: Whether ``qwen_vl_utils`` resizes images before.
        in_line: Whether the patches of an image are in one line with the text.
    """

    def __init__(self, folder: Path, *, low: int, high: int, fetches: bool = True, in_line: bool = False) -> None:
        super().__init__(
            Qwen2VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32),
            PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json")),
            AutoImageProcessor.from_pretrained(folder),
            in_line=in_line,
        )
        self.size = {"shortest_edge": low, "longest_edge": high}
        self.fetches = fetches

    def states(self, prompt: str | Sequence[int], images: Sequence[Image.Image] = (), **options: Any) -> np.ndarray:
        """See ``VisionReference``."""
        own = [fetched(image, **FETCHED) if self.fetches else image for image in images]
        return super().states(prompt, own, **{"size": self.size, **options})
