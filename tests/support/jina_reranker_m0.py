"""Checkpoints in the layout of jinaai/jina-reranker-m0, and what its own code gives for them on transformers.

Written apart from the package: own prompt, own tokeniser call, own head.
Source: modeling.py of jinaai/jina-reranker-m0.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

from tests.support.checkpoints import preprocessor_config, tokenizer_config, write_json
from tests.support.qwen2_vl import HIDDEN, Qwen2VlReference, qwen2_vl_config
from tests.support.reference import IMAGE
from tests.support.tokenizer import SPECIAL, make_tokenizer
from tests.support.vision import spread

SCORE_TOKEN, LOGIT_BIAS = 100, 2.65
Side = str | Image.Image


def make_jina_reranker_m0(folder: Path, *, seed: int = 0) -> Path:
    """Write a random checkpoint to a new folder, whose scores are spread around a half."""
    folder.mkdir(parents=True)
    tokenizer = make_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {token: tokenizer.token_to_id(token) for token in SPECIAL}
    config = {**qwen2_vl_config(ids, tokenizer.get_vocab_size()), "tie_word_embeddings": True}
    torch.manual_seed(seed)
    model = Qwen2VLForConditionalGeneration(Qwen2VLConfig(**config))
    spread(model.model.language_model)
    model.save_pretrained(folder)
    score = _score()
    torch.nn.init.normal_(score[2].weight, std=0.3)
    torch.nn.init.constant_(score[2].bias, LOGIT_BIAS)
    own = {f"score.{name}": value.detach().clone() for name, value in score.state_dict().items()}
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, **own}, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["JinaVLForRanking"]}))
    write_json(folder / "tokenizer_config.json", {**tokenizer_config(), "tokenizer_class": "Qwen2Tokenizer"})
    write_json(folder / "preprocessor_config.json", {**preprocessor_config(), "processor_class": "Qwen2VLProcessor"})
    return folder


def _score() -> Any:
    return torch.nn.Sequential(torch.nn.Linear(HIDDEN, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 1))


class JinaRerankerReference(Qwen2VlReference):
    """``compute_score``, one pair at a time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, low=3136, high=602112, fetches=False)
        tensors = load_file(folder / "model.safetensors")
        self.head = _score()
        self.head.load_state_dict({key.removeprefix("score."): one for key, one in tensors.items() if "score." in key})

    def prompt(self, query: Side, document: Side) -> str:
        """Return ``formatting_prompts_func``."""
        asked, given = (IMAGE if isinstance(side, Image.Image) else side for side in (query, document))
        return f"**Document**:\n{given}\n**Query**:\n{asked}"

    def score(self, query: Side, document: Side) -> float:
        """Return the score of a pair, whose images stand in the order of the prompt."""
        return self.of(self.prompt(query, document), images_of(document, query))

    @torch.inference_mode()
    def of(
        self,
        prompt: str | Sequence[int],
        images: Sequence[Image.Image] = (),
        *,
        last: int | None = SCORE_TOKEN,
        bias: float = LOGIT_BIAS,
    ) -> float:
        """Return the score of a whole prompt but for its last token.

        Args:
            prompt: It, or its tokens.
            images: Its images.
            last: The token whose state is judged; None for that of the prompt itself.
            bias: What is taken from the logit.
        """
        ids = self.ids(prompt) if isinstance(prompt, str) else list(prompt)
        states = self.states([*ids, *([] if last is None else [last])], images)
        return float(torch.sigmoid(self.head(torch.from_numpy(states[-1])) - bias)[0])


def images_of(*sides: Side) -> list[Image.Image]:
    """Return the sides that are images."""
    return [side for side in sides if isinstance(side, Image.Image)]
