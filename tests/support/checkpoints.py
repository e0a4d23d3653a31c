"""Random Qwen2.5-VL checkpoints in the layout of jina-embeddings-v4's merged weights, made on the spot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from tests.support.tokenizer import SPECIAL, make_tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Sizes of a random checkpoint; the default is tiny."""

    hidden: int = 128
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    intermediate: int = 256
    vision_hidden: int = 128
    vision_layers: int = 2
    vision_heads: int = 4
    vision_intermediate: int = 256
    max_length: int = 4096
    dtype: str = "float32"


def make_checkpoint(folder: Path, size: Size = Size(), *, seed: int = 0) -> Path:
    """Write a random checkpoint whose final norm weights are log-normal, so that wrong pooling shows."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {token: tokenizer.token_to_id(token) for token in SPECIAL}
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(qwen_config(size, ids, tokenizer.get_vocab_size()))
    with torch.no_grad():
        norm = model.model.language_model.norm.weight
        norm.copy_(torch.exp(1.5 * torch.randn(norm.shape)))
    model.to(getattr(torch, size.dtype)).save_pretrained(folder)
    write_json(folder / "tokenizer_config.json", tokenizer_config())
    write_json(folder / "preprocessor_config.json", preprocessor_config())
    return folder


def qwen_config(size: Size, ids: dict[str, int], vocabulary: int) -> Qwen2_5_VLConfig:
    head = size.hidden // size.heads
    sections = [head // 8, head * 3 // 16, head * 3 // 16]
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": size.hidden,
            "intermediate_size": size.intermediate,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.kv_heads,
            "max_position_embeddings": size.max_length,
            "rope_parameters": {"rope_type": "default", "mrope_section": sections, "rope_theta": 1e6},
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
        },
        vision_config={
            "depth": size.vision_layers,
            "hidden_size": size.vision_hidden,
            "num_heads": size.vision_heads,
            "intermediate_size": size.vision_intermediate,
            "out_hidden_size": size.hidden,
            "fullatt_block_indexes": list(range(7, size.vision_layers, 8)) or [size.vision_layers - 1],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        vision_token_id=ids["<|vision_pad|>"],
        tie_word_embeddings=False,
    )


def tokenizer_config() -> dict[str, object]:
    return {
        "tokenizer_class": "Qwen2TokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "bos_token": None,
        "model_max_length": 131072,
        "additional_special_tokens": SPECIAL[1:],
    }


def preprocessor_config() -> dict[str, object]:
    """The vLLM variants' file: stock Qwen2.5-VL bounds, which are not the reference's."""
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2_5_VLProcessor",
        "min_pixels": 3136,
        "max_pixels": 12845056,
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }


def write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def write_modules(folder: Path, modes: Sequence[str], pooling: str, dimensions: int) -> None:
    """Write modules.json and 1_Pooling/config.json as sentence-transformers does.

    Args:
        folder: The checkpoint's.
        modes: The poolings that its version knows.
        pooling: The one of them that is on.
        dimensions: Length of an embedding.
    """
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    listed = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{name}"}
        for number, (path, name) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir()
    on = {f"pooling_mode_{mode}": mode == pooling for mode in modes}
    write_json(folder / "1_Pooling/config.json", {"word_embedding_dimension": dimensions, **on})
