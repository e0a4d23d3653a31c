"""Checkpoints in the layout of BAAI/bge-m3, and what transformers gives for them.

Layout: XLMRobertaModel with its pooler, a unigram tokenizer, the files of sentence-transformers, the linear layers of
its own library beside them. Written apart from the package: own tokeniser call, own pooling.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

from tests.support.checkpoints import write_json, write_modules
from tests.support.unigram import make_unigram

POSITIONS = 130
HIDDEN = 128


def make_xlm_roberta(
    folder: Path,
    *,
    weights: Literal["safetensors", "bin"] = "safetensors",
    pooling: str = "cls_token",
    positions: int = POSITIONS,
    seed: int = 0,
) -> Path:
    """Write a random checkpoint whose norms are log-normal, so that wrong pooling shows."""
    folder.mkdir(parents=True)
    tokenizer = make_unigram()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(seed)
    model = XLMRobertaModel(_config(tokenizer.get_vocab_size(), positions))
    tensors = {name: value.detach().clone() for name, value in model.state_dict().items()}
    for name, value in tensors.items():
        if name.endswith("LayerNorm.weight"):
            value.copy_(torch.exp(0.5 * torch.randn(value.shape)))
        elif name.endswith(".bias"):  # zero where a model is new
            torch.nn.init.normal_(value, std=0.1)
    if weights == "bin":
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for name, size in (("colbert_linear", HIDDEN), ("sparse_linear", 1)):
        torch.save({"weight": torch.randn(size, HIDDEN), "bias": torch.randn(size)}, folder / f"{name}.pt")
    _write_configs(folder, json.loads(model.config.to_json_string(use_diff=False)), pooling)
    return folder


def _config(vocabulary: int, positions: int) -> XLMRobertaConfig:
    return XLMRobertaConfig(
        vocab_size=vocabulary,
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=positions,
        initializer_range=0.1,  # larger ones make attention so sharp that a missing token hardly shows
        layer_norm_eps=1e-5,
        type_vocab_size=1,
    )


def _write_configs(folder: Path, config: dict[str, object], pooling: str) -> None:
    own = {"architectures": ["XLMRobertaModel"], "position_embedding_type": "absolute", "torch_dtype": "float32"}
    write_json(folder / "config.json", {**config, **own})
    special = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "unk_token": "<unk>"}
    special |= {"pad_token": "<pad>", "mask_token": "<mask>"}
    longest = int(str(config["max_position_embeddings"])) - 2
    limit = {"model_max_length": longest, "tokenizer_class": "XLMRobertaTokenizer"}
    write_json(folder / "tokenizer_config.json", {**special, **limit})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": longest, "do_lower_case": False})
    write_modules(folder, ("cls_token", "mean_tokens", "max_tokens"), pooling, HIDDEN)


class XlmReference:
    """A checkpoint in transformers, float32; one text at a time, so that no padding is involved."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        self.model = XLMRobertaModel.from_pretrained(folder, dtype=torch.float32).eval()

    def ids(self, text: str) -> list[int]:
        """Return a text's tokens with the special ones around them."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=True).input_ids
        return ids

    @torch.inference_mode()
    def states(self, ids: list[int], *, first_position: int | None = None) -> np.ndarray:
        """Return the states ``(n_tokens, hidden)``; the model counts positions, unless told where they begin."""
        wanted = {}
        if first_position is not None:
            wanted["position_ids"] = torch.arange(first_position, first_position + len(ids))[None]
        output = self.model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), **wanted)
        states: np.ndarray = output.last_hidden_state[0].numpy()
        return states

    def embed(self, text: str, dimensions: int | None = None) -> np.ndarray:
        """Return the dense vector: FlagEmbedding's ``_dense_embedding`` with cls pooling, normalised."""
        return unit(self.states(self.ids(text))[0, :dimensions])

    def multi_vector(self, text: str) -> np.ndarray:
        """Return every token's state, normalised, as vLLM's example has them."""
        return unit(self.states(self.ids(text)))


def unit(values: np.ndarray) -> np.ndarray:
    """Return ``values`` with L2 norm 1 along the last axis."""
    normed: np.ndarray = values / np.sqrt((values.astype(np.float64) ** 2).sum(-1, keepdims=True))
    return normed
