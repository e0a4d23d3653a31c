"""Checkpoints in the layout of vidore/colpali-v1.3-hf, and what transformers' own class gives for them.

Source: transformers, modeling_colpali.py and processing_colpali.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import ColPaliConfig, ColPaliForRetrieval, SiglipImageProcessor

from tests.support.checkpoints import write_json
from tests.support.tokenizer import KNOWN, make_tokenizer
from tests.support.vision import spread

HIDDEN, ROWS, SIDE, PATCH = 64, 32, 56, 14
PATCHES = (SIDE // PATCH) ** 2
NAMES = (
    ("vlm.vision_tower.", "vlm.vision_tower.vision_model."),
    ("vlm.language_model.", "vlm.language_model.model."),
)
"""What names of tensors begin with: in transformers 5, and published."""


def make_col_pali(folder: Path, *, seed: int = 0) -> Path:
    """Write a random checkpoint to a new folder."""
    folder.mkdir(parents=True)
    tokenizer = make_tokenizer(f"{KNOWN} Question: Describe the image.\n", ["<pad>", "<eos>", "<bos>", "<image>", "\n"])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "image_token": "<image>"}
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "extra_special_tokens": {"image_token": "<image>"}, **names},
    )
    SiglipImageProcessor(size={"height": SIDE, "width": SIDE}, image_seq_length=PATCHES).save_pretrained(folder)
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    write_json(folder / "preprocessor_config.json", {**settings, "image_seq_length": PATCHES})
    write_json(folder / "processor_config.json", {"processor_class": "PaliGemmaProcessor"})
    size = tokenizer.get_vocab_size()
    text = {
        "model_type": "gemma", "vocab_size": size + 1152, "hidden_size": HIDDEN, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 32,
        "max_position_embeddings": 2048, "num_image_tokens": PATCHES, "pad_token_id": 0,
    }  # fmt: skip
    vision = {
        "model_type": "siglip_vision_model", "hidden_size": HIDDEN, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "image_size": SIDE, "patch_size": PATCH, "num_image_tokens": PATCHES,
        "projection_dim": HIDDEN, "vision_use_head": False,
    }  # fmt: skip
    pali = {
        "model_type": "paligemma", "text_config": text, "vision_config": vision, "projection_dim": HIDDEN,
        "hidden_size": HIDDEN, "image_token_index": tokenizer.token_to_id("<image>"), "vocab_size": size + 1152,
    }  # fmt: skip
    torch.manual_seed(seed)
    config = ColPaliConfig(vlm_config=pali, embedding_dim=ROWS)
    model = ColPaliForRetrieval(config)
    spread(model)
    torch.nn.init.normal_(model.embedding_proj_layer.bias)
    tensors = {_renamed(name): one.contiguous() for name, one in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", {**config.to_dict(), "architectures": ["ColPaliForRetrieval"]})
    return folder


def _renamed(name: str, *, back: bool = False) -> str:
    for names in NAMES:
        old, new = names[::-1] if back else names
        name = name.replace(old, new)
    return name


class ColPaliReference:
    """A checkpoint on transformers."""

    def __init__(self, folder: Path) -> None:
        config = ColPaliConfig.from_pretrained(folder)
        self.model = ColPaliForRetrieval(config).float().eval()
        tensors = load_file(folder / "model.safetensors").items()
        self.model.load_state_dict({_renamed(name, back=True): one for name, one in tensors})
        self.processor = SiglipImageProcessor.from_pretrained(folder)

    def multi_vector(self, ids: Sequence[int], images: Sequence[Image.Image] = ()) -> np.ndarray:
        """Return the normalised row of each token ``(n_tokens, ROWS)``; ids with a token for each patch."""
        given = {"pixel_values": self.processor(images, return_tensors="pt")["pixel_values"]} if images else {}
        with torch.inference_mode():
            rows = self.model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), **given)
        found: np.ndarray = rows.embeddings[0].numpy()
        return found

    def causal(self, ids: Sequence[int]) -> np.ndarray:
        """Return the rows of a text that is computed causally, and projected without the bias: both are mistakes."""
        later = torch.full((1, 1, len(ids), len(ids)), torch.finfo(torch.float32).min).triu(1)
        with torch.inference_mode():
            decoder = self.model.vlm.language_model
            states = decoder(input_ids=torch.tensor([ids]), attention_mask=later).last_hidden_state
            rows = torch.nn.functional.normalize(states @ self.model.embedding_proj_layer.weight.T, dim=-1)
        found: np.ndarray = rows[0].numpy()
        return found
