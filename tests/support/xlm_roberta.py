"""Checkpoints in the layout of BAAI/bge-m3, and what transformers gives for them.

Layout: XLMRobertaModel with its pooler, a unigram tokenizer, the files of sentence-transformers, the linear layers of
its own library beside them. Written apart from the package: own tokeniser call, own pooling.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from transformers import XLMRobertaConfig, XLMRobertaModel

from tests.support.checkpoints import write_json
from tests.support.encoders import EncoderReference, spread, unit, write_sentence_files
from tests.support.unigram import make_unigram

POSITIONS = 130
HIDDEN = 128
__all__ = ["HIDDEN", "POSITIONS", "XlmReference", "make_xlm_roberta", "unit", "write_configs", "xlm_config"]


def make_xlm_roberta(
    folder: Path,
    *,
    weights: Literal["safetensors", "bin"] = "safetensors",
    pooling: str = "cls_token",
    positions: int = POSITIONS,
    seed: int = 0,
    prompts: Mapping[str, str] | None = None,
    by_transformers: bool = False,
) -> Path:
    """Write a random checkpoint whose norms are log-normal, so that wrong pooling shows.

    Args:
        folder: A new folder.
        weights: The kind of file.
        pooling: The one in 1_Pooling/config.json.
        positions: Size of the table of positions.
        seed: Of the weights.
        prompts: Those of config_sentence_transformers.json; without them there is no such file.
        by_transformers: Whether config.json lacks what transformers 5 leaves out.
    """
    folder.mkdir(parents=True)
    tokenizer = make_unigram()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(seed)
    model = XLMRobertaModel(xlm_config(tokenizer.get_vocab_size(), positions))
    tensors = spread(model)
    if weights == "bin":
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for name, size in (("colbert_linear", HIDDEN), ("sparse_linear", 1)):
        torch.save({"weight": torch.randn(size, HIDDEN), "bias": torch.randn(size)}, folder / f"{name}.pt")
    config = json.loads(model.config.to_json_string(use_diff=False))
    write_configs(folder, config if by_transformers else {**config, "position_embedding_type": "absolute"})
    write_sentence_files(folder, pooling=pooling, hidden=HIDDEN, longest=positions - 2, prompts=prompts)
    return folder


def xlm_config(vocabulary: int, positions: int, **others: object) -> XLMRobertaConfig:
    """Return the configuration of a small model; ``others`` are further keys."""
    return XLMRobertaConfig(
        **others,
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


def write_configs(folder: Path, config: dict[str, object], architecture: str = "XLMRobertaModel") -> None:
    """Write config.json and tokenizer_config.json."""
    own = {"architectures": [architecture], "torch_dtype": "float32"}
    write_json(folder / "config.json", {**config, **own})
    special = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "unk_token": "<unk>"}
    special |= {"pad_token": "<pad>", "mask_token": "<mask>"}
    longest = int(str(config["max_position_embeddings"])) - 2
    limit = {"model_max_length": longest, "tokenizer_class": "XLMRobertaTokenizer"}
    write_json(folder / "tokenizer_config.json", {**special, **limit})


class XlmReference(EncoderReference):
    """A checkpoint in transformers; by default FlagEmbedding's ``_dense_embedding`` with cls pooling, normalised."""

    def __init__(self, folder: Path, *, pooling: Literal["first", "mean"] = "first") -> None:
        super().__init__(folder, XLMRobertaModel.from_pretrained(folder, dtype=torch.float32), pooling=pooling)
