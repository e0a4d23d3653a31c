"""Checkpoints in the layout of Qwen/Qwen3-Reranker, and what the card's code gives for them on transformers.

Layout: Qwen3ForCausalLM with tied embeddings, a byte-level BPE in which ``<think>`` is added but not special. Written
apart from the package: own prompt, own tokeniser calls, own score.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from tests.support.checkpoints import tokenizer_config, write_json
from tests.support.decoders import SIZES, spread
from tests.support.tokenizer import KNOWN, make_tokenizer

INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
MAX_LENGTH = 8192


def make_qwen3_reranker(folder: Path, *, tied: bool = True, seed: int = 0) -> Path:
    """Write a random checkpoint whose norms are log-normal, so that a wrong prompt or token shows.

    Args:
        folder: A new folder.
        tied: Whether the head of words is the embeddings, as in the smallest published one.
        seed: Of the weights.
    """
    folder.mkdir(parents=True)
    tokenizer = reranker_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    end = tokenizer.token_to_id("<|endoftext|>")
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=tokenizer.get_vocab_size(),
        **SIZES,
        head_dim=32,
        tie_word_embeddings=tied,
        bos_token_id=end,
        eos_token_id=end,
    )
    model = Qwen3ForCausalLM(config)
    spread(model)
    model.save_pretrained(folder)
    write_json(folder / "tokenizer_config.json", tokenizer_config())
    return folder


def reranker_tokenizer() -> Tokenizer:
    """Return a small tokenizer with the words of the head, and with ``<think>`` as Qwen3's has it."""
    tokenizer = make_tokenizer(f"yes\nno\n{KNOWN} Document Query Instruct")
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in ("<think>", "</think>")])
    return tokenizer


class Qwen3RerankerReference:
    """The card's ``format_instruction``, ``process_inputs`` and ``compute_logits``, one pair at a time."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.no, self.yes = (self.tokenizer.convert_tokens_to_ids(token) for token in ("no", "yes"))
        content = json.loads((folder / "tokenizer.json").read_text())
        content["added_tokens"] = [{**token, "special": True} for token in content["added_tokens"]]
        self._plain = Tokenizer.from_str(json.dumps(content))
        self._plain.encode_special_tokens = True

    def ids(self, query: str, document: str, instruction: str = INSTRUCTION, *, most: int = MAX_LENGTH) -> list[int]:
        """Return the tokens of a pair, at most ``most`` of them."""
        return self.around(self.encoded(self.pair(query, document, instruction)), most=most)

    def plain_ids(self, query: str, document: str, instruction: str = INSTRUCTION) -> list[int]:
        """Return the same where special tokens in the texts stay texts."""
        pair = self.pair(query, document, instruction)
        return self.around(self._plain.encode(pair, add_special_tokens=False).ids)

    def pair(self, query: str, document: str, instruction: str = INSTRUCTION) -> str:
        """Return what the user's turn says."""
        return f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}"

    def around(self, own: list[int], *, most: int = MAX_LENGTH, suffix: str = SUFFIX) -> list[int]:
        """Return the tokens of a user's turn, cut, with those around it."""
        before, after = self.encoded(PREFIX), self.encoded(suffix)
        return [*before, *own[: most - len(before) - len(after)], *after]

    def encoded(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    @torch.inference_mode()
    def of_ids(self, ids: list[int], *, yes: int | None = None, no: int | None = None) -> float:
        """Return the score of a prompt, perhaps by other words."""
        logits = self.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
        pair = torch.stack([logits[self.no if no is None else no], logits[self.yes if yes is None else yes]])
        return float(torch.nn.functional.log_softmax(pair, dim=0)[1].exp())

    def score(self, query: str, document: str, instruction: str = INSTRUCTION) -> float:
        """Return the score of a pair."""
        return self.of_ids(self.ids(query, document, instruction))
