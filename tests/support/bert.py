"""Checkpoints in the layout of BERT (snowflake-arctic-embed, multilingual-e5-small), and what transformers gives.

Layout: BertModel without its pooler, as Snowflake saves it, WordPiece or XLM-RoBERTa's unigram tokenizer, the files of
sentence-transformers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

from tests.support.checkpoints import write_json
from tests.support.encoders import EncoderReference, spread, write_sentence_files
from tests.support.wordpiece import make_wordpiece

POSITIONS = 130
HIDDEN = 128


def make_bert(
    folder: Path,
    *,
    tokenizer: Tokenizer | None = None,
    pooling: str = "cls_token",
    prompts: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Path:
    """Write a random checkpoint whose norms are log-normal, so that wrong pooling shows.

    Args:
        folder: A new folder.
        tokenizer: By default BERT's.
        pooling: The one in 1_Pooling/config.json.
        prompts: Those of config_sentence_transformers.json; without them there is no such file.
        seed: Of the weights.
    """
    folder.mkdir(parents=True)
    tokenizer = tokenizer or make_wordpiece()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=POSITIONS,
        initializer_range=0.1,  # larger ones make attention so sharp that a missing token hardly shows
        type_vocab_size=2,
    )
    tensors = spread(BertModel(config, add_pooling_layer=False))
    tensors["embeddings.position_ids"] = torch.arange(POSITIONS)[None]  # as transformers before 4.31 saved it
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    written = json.loads(config.to_json_string(use_diff=False))
    own = {"architectures": ["BertModel"], "position_embedding_type": "absolute", "torch_dtype": "float32"}
    write_json(folder / "config.json", {**written, **own})
    special = {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "pad_token": "[PAD]"}
    kind = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "mask_token": "[MASK]"}
    if tokenizer.token_to_id("[CLS]") is None:
        special = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"}
        kind = {"tokenizer_class": "XLMRobertaTokenizer", "unk_token": "<unk>", "pad_token": "<pad>"}
    write_json(folder / "tokenizer_config.json", {**special, **kind, "model_max_length": 512})
    write_sentence_files(folder, pooling=pooling, hidden=HIDDEN, longest=512, prompts=prompts)
    return folder


class BertReference(EncoderReference):
    """A checkpoint in transformers; by default the first token's state, normalised."""

    def __init__(self, folder: Path, *, pooling: Literal["first", "mean"] = "first") -> None:
        model = BertModel.from_pretrained(folder, dtype=torch.float32, add_pooling_layer=False)
        super().__init__(folder, model, pooling=pooling)
