"""Checkpoints in the layout of royokong/e5-v, and what its card's code gives for them on transformers.

Written apart from the package: own prompts, own tokeniser call, own pooling.
Sources: the card of royokong/e5-v; mteb 2.26, e5_v.py, for a text with an image.
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
from transformers import (
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessor,
    LlavaNextProcessor,
    PreTrainedTokenizerFast,
)

from tests.support.checkpoints import write_json
from tests.support.tokenizer import KNOWN, make_tokenizer
from tests.support.vision import spread
from tests.support.xlm_roberta import unit

HIDDEN = 128
TILE = 112
SPECIAL = [
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<image>",
    "<pad>",
]  # fmt: skip
FRAME = (
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n \n"
)
TEXT = FRAME.format("{text}\nSummary above sentence in one word: ")
IMAGE = FRAME.format("{images}\nSummary above image in one word: ")
BOTH = FRAME.format('[INST] {images} Modify this image with "{text}" Describe modified image in one word: [/INST]')


def make_e5_v(folder: Path, *, seed: int = 0, old_names: bool = True) -> Path:
    """Write a random checkpoint to a new folder.

    Args:
        folder: Where.
        seed: Of the weights.
        old_names: Whether the tensors have their published names, rather than those that transformers 5 writes.
    """
    folder.mkdir(parents=True)
    known = f"{KNOWN} fox.\n\nSummary above sentence in one word: user\n\n"
    tokenizer = make_tokenizer(known, SPECIAL)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(seed)
    model = LlavaNextForConditionalGeneration(
        _config(tokenizer.get_vocab_size(), tokenizer.token_to_id("<image>"), tokenizer.token_to_id("<pad>"))
    )
    spread(model.model.language_model)
    with torch.no_grad():
        model.model.image_newline.normal_()
    model.save_pretrained(folder)
    if old_names:
        weights = load_file(folder / "model.safetensors")
        renamed = {name.replace("vision_tower.", "vision_tower.vision_model."): one for name, one in weights.items()}
        save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    _write_processor(folder)
    return folder


def _config(vocabulary: int, image: int, pad: int) -> LlavaNextConfig:
    return LlavaNextConfig(
        text_config={
            "model_type": "llama", "vocab_size": vocabulary, "hidden_size": HIDDEN, "intermediate_size": 256,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "max_position_embeddings": 4096, "rope_parameters": {"rope_type": "default", "rope_theta": 5e5},
            "initializer_range": 0.1, "pad_token_id": pad,
        },
        vision_config={
            "model_type": "clip_vision_model", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3,
            "num_attention_heads": 4, "image_size": TILE, "patch_size": 14, "projection_dim": 64,
            "initializer_range": 0.1, "initializer_factor": 4.0,
        },
        image_token_index=image, image_seq_length=(TILE // 14) ** 2, vision_feature_layer=-2,
        vision_feature_select_strategy="default", tie_word_embeddings=False,
        image_grid_pinpoints=[[TILE * high, TILE * wide] for high, wide in ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))],
    )  # fmt: skip


def _write_processor(folder: Path) -> None:
    """Write what the published one has; it tells no size of patches, which vLLM takes from config.json."""
    config = json.loads((folder / "config.json").read_text())
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "LlavaNextImageProcessor", "processor_class": "LlavaNextProcessor",
            "crop_size": {"height": TILE, "width": TILE}, "size": {"shortest_edge": TILE}, "do_center_crop": True,
            "do_convert_rgb": True, "do_normalize": True, "do_pad": True, "do_rescale": True, "do_resize": True,
            "image_grid_pinpoints": config["image_grid_pinpoints"], "resample": 3, "rescale_factor": 1 / 255,
            "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
        },
    )  # fmt: skip
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>", "pad_token": "<pad>",
            "eos_token": "<|end_of_text|>", "additional_special_tokens": SPECIAL[2:6], "padding_side": "left",
            "model_max_length": 4096, "processor_class": "LlavaNextProcessor",
        },
    )  # fmt: skip


class E5VReference:
    """A checkpoint on transformers, with its own processor; one item at a time, so that no padding is involved."""

    def __init__(self, folder: Path) -> None:
        self.model = LlavaNextForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        self.image = self.tokenizer.convert_tokens_to_ids("<image>")
        self.processor = LlavaNextProcessor(
            LlavaNextImageProcessor.from_pretrained(folder),
            self.tokenizer,
            patch_size=14,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
        )

    def plain(self, text: str) -> list[int]:
        """Return the tokens of a text in which special tokens are spelled by the user."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        return ids

    def prompt(self, text: str | None, images: int) -> str:
        """Return the whole prompt of an item."""
        template = TEXT if not images else IMAGE if text is None else BOTH
        return template.format(text=text, images="<image>" * images)

    @torch.inference_mode()
    def states(self, prompt: str | Sequence[int], images: Sequence[Image.Image] = ()) -> np.ndarray:
        """Return the states ``(n_tokens, hidden)`` after the final norm of a prompt, or of its tokens."""
        inputs: dict[str, Any] = {}
        ids = self.tokenizer(prompt, add_special_tokens=False).input_ids if isinstance(prompt, str) else list(prompt)
        if images:  # the processor alone knows how many tokens an image has
            (image,) = images
            inputs = dict(self.processor(text="<image>", images=image, return_tensors="pt"))
            every = inputs.pop("input_ids")[0].tolist()
            ids = [one for token in ids for one in (every if token == self.image else [token])]
        inputs["attention_mask"] = torch.ones(1, len(ids), dtype=torch.long)
        output = self.model.model(input_ids=torch.tensor([ids]), use_cache=False, **inputs)
        states: np.ndarray = output.last_hidden_state[0].numpy()
        return states

    def embed(self, prompt: str | Sequence[int], images: Sequence[Image.Image] = ()) -> np.ndarray:
        """Return the state of the last token, normalised."""
        return unit(self.states(prompt, images)[-1])
