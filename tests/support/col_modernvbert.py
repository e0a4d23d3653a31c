"""Checkpoints in the layout of ModernVBERT/colmodernvbert-merged, and what colpali's code gives for their texts.

Written apart from the package: the encoder is transformers' ModernBERT, with the settings of jhu-clsp/ettin-encoder-*,
which colpali's code takes from that repository. vLLM takes transformers' defaults, which have other positions.
Source: modeling_modernvbert.py, modeling_colmodernvbert.py and processing_colmodernvbert.py of illuin-tech/colpali.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import processors
from transformers import (
    ModernBertConfig,
    ModernBertModel,
    PreTrainedTokenizerFast,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from tests.support.checkpoints import write_json
from tests.support.tokenizer import KNOWN, make_tokenizer
from tests.support.vision import spread
from tests.support.xlm_roberta import unit

HIDDEN, LAYERS, HEADS, ROWS, LENGTH = 128, 4, 4, 48, 7999
THETA = 160000.0
"""Of both kinds of layers in Ettin; transformers' default is 10000 for those that see their neighbours alone."""
SPECIAL = [
    "[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "<end_of_utterance>", "<fake_token_around_image>", "<global-img>",
    "<image>", "<row_1_col_1>",
]  # fmt: skip
AUGMENTATION = "<end_of_utterance>" * 10
TEXT = "model.text_model."


def make_col_modernvbert(folder: Path, *, seed: int = 0, ends: str = "[CLS] $A [SEP]", **text: Any) -> Path:
    """Write a random checkpoint to a new folder.

    Args:
        folder: Where.
        seed: Of the weights.
        ends: What the tokenizer adds around a text, ``$A``.
        **text: Further settings of the text's model in config.json; the published ones leave out most.
    """
    folder.mkdir(parents=True)
    tokenizer = make_tokenizer(f"{KNOWN} fox.", SPECIAL)
    known = [(token, tokenizer.token_to_id(token)) for token in SPECIAL[:4]]
    tokenizer.post_processor = processors.TemplateProcessing(single=ends, special_tokens=known)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "model_type": "modernvbert_text", "text_model_name": "jhu-clsp/ettin-encoder-150m", "mlp_bias": False,
        "hidden_size": HIDDEN, "intermediate_size": 192, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "vocab_size": tokenizer.get_vocab_size(),
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "image_size": 64, "patch_size": 16, "num_hidden_layers": 1, "intermediate_size": 64,
        "num_attention_heads": 2,
    }  # fmt: skip
    write_json(
        folder / "config.json",
        {
            "model_type": "modernvbert", "embedding_dim": ROWS, "image_token_id": tokenizer.token_to_id("<image>"),
            "pixel_shuffle_factor": 4, "text_config": {**settings, **text},
            "vision_config": {"model_type": "modernvbert_vision", "embed_dim": 32, **vision},
        },
    )  # fmt: skip
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast", "cls_token": "[CLS]", "sep_token": "[SEP]",
            "pad_token": "[PAD]", "mask_token": "[MASK]", "unk_token": "[UNK]", "model_max_length": 8192,
        },
    )  # fmt: skip
    torch.manual_seed(seed)
    encoder = ModernBertModel(_config(settings))
    spread(encoder)
    tower = SiglipVisionModel(SiglipVisionConfig(**vision))
    own = {f"{TEXT}{name}": value for name, value in encoder.state_dict().items()}
    own |= {f"model.vision_model.vision_model.{name}": value for name, value in tower.state_dict().items()}
    own["model.connector.modality_projection.weight"] = torch.randn(HIDDEN, 32 * 16) / 32
    own["custom_text_proj.weight"], own["custom_text_proj.bias"] = torch.randn(ROWS, HIDDEN) / 11, torch.randn(ROWS)
    save_file({name: value.contiguous() for name, value in own.items()}, folder / "model.safetensors")
    return folder


def _config(settings: dict[str, Any], *, theta: float = THETA) -> ModernBertConfig:
    """Return the configuration with Ettin's positions; ``theta``: of the layers that see their neighbours alone."""
    own = {key: value for key, value in settings.items() if key not in ("model_type", "text_model_name")}
    return ModernBertConfig(
        **own, global_rope_theta=THETA, local_rope_theta=theta, max_position_embeddings=LENGTH, initializer_range=0.1,
        attn_implementation="eager", pad_token_id=3, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2,
    )  # fmt: skip


class ColModernVBertReference:
    """The text's part of a checkpoint on transformers.

    Args:
        folder: The checkpoint's.
        theta: Other positions than Ettin's in the layers that see their neighbours alone.
    """

    def __init__(self, folder: Path, *, theta: float = THETA) -> None:
        stored = load_file(folder / "model.safetensors")
        config = json.loads((folder / "config.json").read_text())
        self.encoder = ModernBertModel(_config(config["text_config"], theta=theta)).eval()
        self.encoder.load_state_dict(
            {name.removeprefix(TEXT): one for name, one in stored.items() if name.startswith(TEXT)}
        )
        self.weight, self.bias = (stored[f"custom_text_proj.{name}"].numpy() for name in ("weight", "bias"))
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))

    def ids(self, text: str) -> list[int]:
        """Return the tokens of a text's prompt: those of colpali's processor, its tokenizer's own included."""
        ids: list[int] = self.tokenizer(f"{text}{AUGMENTATION}").input_ids
        return ids

    def plain(self, text: str) -> list[int]:
        """Return the tokens of a text in which special tokens are spelled by the user, and of what stands behind."""
        own = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        head, *_, tail = self.ids("")
        return [head, *own, *self.ids("")[1:-1], tail]

    @torch.inference_mode()
    def states(self, ids: Sequence[int]) -> np.ndarray:
        """Return the states ``(n_tokens, hidden)`` after the final norm."""
        output = self.encoder(input_ids=torch.tensor([list(ids)]), attention_mask=torch.ones(1, len(ids)))
        states: np.ndarray = output.last_hidden_state[0].numpy()
        return states

    def multi_vector(self, ids: Sequence[int]) -> np.ndarray:
        """Return the rows ``(n_tokens, ROWS)``: every token's state, projected with the bias, normalised."""
        return unit(self.states(ids) @ self.weight.T + self.bias)
