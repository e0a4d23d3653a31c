"""Checkpoints in the layout of BAAI/bge-reranker-v2-m3, and what transformers gives for them.

Written apart from the package: own tokeniser call, transformers' own head.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import XLMRobertaForSequenceClassification

from tests.support.encoders import spread
from tests.support.unigram import make_unigram
from tests.support.xlm_roberta import POSITIONS, write_configs, xlm_config


def make_bge_reranker(folder: Path, *, seed: int = 1) -> Path:
    """Write a random checkpoint whose norms are log-normal, so that a wrong prompt or token shows.

    Args:
        folder: A new folder.
        seed: Of the weights; by most of them all scores are near 0, or near 1.
    """
    folder.mkdir(parents=True)
    tokenizer = make_unigram()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(seed)
    config = xlm_config(tokenizer.get_vocab_size(), POSITIONS, num_labels=1)
    model = XLMRobertaForSequenceClassification(config)
    tensors = spread(model)
    torch.nn.init.normal_(tensors["classifier.out_proj.weight"], std=0.3)
    torch.nn.init.zeros_(tensors["classifier.out_proj.bias"])
    model.load_state_dict(tensors)
    model.save_pretrained(folder)
    own = json.loads(model.config.to_json_string(use_diff=False))
    own = {key: value for key, value in own.items() if key != "num_labels"}
    write_configs(
        folder, {**own, "position_embedding_type": "absolute"}, architecture="XLMRobertaForSequenceClassification"
    )
    return folder


class BgeRerankerReference:
    """The card's way: pairs, the head of transformers, and the sigmoid that ``normalize=True`` asks for."""

    def __init__(self, folder: Path) -> None:
        self.model = XLMRobertaForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def ids(self, query: str, document: str) -> list[int]:
        """Return the tokens of a pair: ``<s> query </s></s> document </s>``."""
        ids: list[int] = self.tokenizer.encode(query, document, add_special_tokens=True).ids
        return ids

    @torch.inference_mode()
    def of_ids(self, ids: list[int], *, place: int = 0) -> float:
        """Return the score of a prompt, perhaps of the state of another token."""
        states = self.model.roberta(input_ids=torch.tensor([ids])).last_hidden_state
        return float(torch.sigmoid(self.model.classifier(states[:, place:][:, :1]))[0, 0])

    @torch.inference_mode()
    def score(self, query: str, document: str) -> float:
        """Return the score of a pair."""
        return float(torch.sigmoid(self.model(input_ids=torch.tensor([self.ids(query, document)])).logits)[0, 0])
