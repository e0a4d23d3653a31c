"""Checkpoints in the layouts of gte-Qwen2, e5-mistral-7b-instruct and Qwen2-7B-Instruct-embed-base, and references.

Written apart from the package: own prompts, own tokeniser call, own pooling.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import MistralModel, Qwen2ForCausalLM, Qwen2Model

from tests.support.checkpoints import tokenizer_config, write_json
from tests.support.decoders import (
    MODES,
    SIZES,
    DecoderReference,
    mean_pool,
    write_decoder,
    write_sentence_files,
)
from tests.support.llama_tokenizer import make_llama
from tests.support.tokenizer import make_tokenizer

INSTRUCTION = "Instruct: Given a web search query, retrieve relevant passages that answer the query"
QUERY = f"{INSTRUCTION}\nQuery: "
PREFIX = {"query": QUERY, "passage": ""}
GTE_END, E5_START, E5_END = "<|endoftext|>", "<s>", "</s>"
E5_PROMPTS = {
    "web_search_query": QUERY,
    "sts_query": "Instruct: Retrieve semantically similar text.\nQuery: ",
    "summarization_query": "Instruct: Given a news summary, retrieve other semantically similar summaries\nQuery: ",
    "bitext_query": "Instruct: Retrieve parallel sentences.\nQuery: ",
}


def make_gte_qwen2(folder: Path, *, seed: int = 0, **config: Any) -> Path:
    """Write a random checkpoint of Alibaba-NLP/gte-Qwen2-7B-instruct's layout.

    Its head is not tied to the embeddings, attention is both ways, tokenizer.json adds nothing, and the code that
    ``auto_map`` names would add the last token.

    Args:
        folder: A new folder.
        seed: Of the weights.
        **config: Replaces keys of config.json; one that is None is left out.
    """
    names = ("Qwen2Model", "Qwen2ForCausalLM", "Qwen2ForSequenceClassification")
    kinds = ("AutoModel", "AutoModelForCausalLM", "AutoModelForSequenceClassification")
    own = {
        **_qwen2("Qwen2ForCausalLM", GTE_END),
        "auto_map": {kind: f"modeling_qwen.{name}" for kind, name in zip(kinds, names, strict=True)},
        "sliding_window": 131072,
        "is_causal": False,
        **config,
    }
    kept = {key: value for key, value in own.items() if value is not None}
    write_decoder(folder, Qwen2ForCausalLM, kept, make_tokenizer(), seed)
    code = [f"tokenization_qwen.Qwen2Tokenizer{ending}" for ending in ("", "Fast")]
    added = {"add_eos_token": True, "auto_map": {"AutoTokenizer": code}, "eos_token": GTE_END}
    write_json(folder / "tokenizer_config.json", {**tokenizer_config(), **added, "tokenizer_class": "Qwen2Tokenizer"})
    write_sentence_files(folder, {"query": QUERY})
    return folder


def make_e5_mistral(folder: Path, *, seed: int = 0, **config: Any) -> Path:
    """Write a random checkpoint of intfloat/e5-mistral-7b-instruct's layout.

    It has no head; tokenizer.json adds ``<s>`` alone, and tokenizer_config.json asks for ``</s>`` too.

    Args:
        folder: A new folder.
        seed: Of the weights.
        **config: Replaces keys of config.json.
    """
    tokenizer = make_llama()
    own = {
        "_name_or_path": "mistralai/Mistral-7B-v0.1", "architectures": ["MistralModel"], "bos_token_id": 1,
        "eos_token_id": 2, "hidden_act": "silu", **SIZES, "model_type": "mistral", "pad_token_id": 2,
        "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": False,
        "torch_dtype": "float16", "transformers_version": "4.34.0", "use_cache": False,
        "vocab_size": tokenizer.get_vocab_size(), **config,
    }  # fmt: skip
    write_decoder(folder, MistralModel, own, tokenizer, seed)
    asked = {"add_bos_token": True, "add_eos_token": True, "tokenizer_class": "LlamaTokenizer", "legacy": True}
    special = {"bos_token": E5_START, "eos_token": E5_END, "pad_token": E5_END, "unk_token": "<unk>"}
    write_json(folder / "tokenizer_config.json", {**asked, **special})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 32768, "do_lower_case": False})
    write_sentence_files(folder, E5_PROMPTS)
    return folder


def make_qwen2_embed_base(folder: Path, *, seed: int = 0, **config: Any) -> Path:
    """Write a random checkpoint of ssmits/Qwen2-7B-Instruct-embed-base's layout.

    It has no head and no modules.json, and a file beside the place where sentence-transformers looks for the pooling
    names another one, and another length.

    Args:
        folder: A new folder; its name says which model it is.
        seed: Of the weights.
        **config: Replaces keys of config.json.
    """
    write_decoder(folder, Qwen2Model, {**_qwen2("Qwen2Model", "<|im_end|>"), **config}, make_tokenizer(), seed)
    write_json(folder / "tokenizer_config.json", {**tokenizer_config(), "tokenizer_class": "Qwen2Tokenizer"})
    (folder / "1_Pooling").mkdir()
    modes = {f"pooling_mode_{mode}": mode == "lasttoken" for mode in MODES}
    content = {"word_embedding_dimension": 4096, **modes, "include_prompt": True}
    write_json(folder / "1_Pooling/1_Pooling_config.json", content)
    return folder


def _qwen2(architecture: str, end: str) -> dict[str, Any]:
    """Return the keys that the config.json of a Qwen2 of 2024 has."""
    tokenizer = make_tokenizer()
    return {
        "architectures": [architecture], "attention_dropout": 0.0,
        "bos_token_id": tokenizer.token_to_id("<|endoftext|>"), "eos_token_id": tokenizer.token_to_id(end),
        "hidden_act": "silu", **SIZES, "max_window_layers": 28, "model_type": "qwen2", "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0, "sliding_window": 131072, "tie_word_embeddings": False, "torch_dtype": "float32",
        "transformers_version": "4.41.2", "use_cache": True, "use_sliding_window": False,
        "vocab_size": tokenizer.get_vocab_size(),
    }  # fmt: skip


def gte_qwen2_reference(folder: Path, *, both_ways: bool = True) -> DecoderReference:
    """Return what the card computes, with the attention of its code, or the other one."""
    return DecoderReference(folder, appended=(GTE_END,), both_ways=both_ways)


def e5_mistral_reference(folder: Path) -> DecoderReference:
    """Return what the card computes: tokenizer.json adds the first token, its code the last."""
    return DecoderReference(folder, appended=(E5_END,))


def qwen2_embed_base_reference(folder: Path) -> DecoderReference:
    """Return what the card computes: nothing is added, and all tokens are averaged."""
    return DecoderReference(folder, pool=mean_pool)
