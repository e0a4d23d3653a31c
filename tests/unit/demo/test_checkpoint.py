"""The checkpoint that ships: complete, small, and made so that a wrong pooling or a fixed token id cannot hide."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vllm_jina_embed.demo
from vllm_jina_embed.demo.concepts import CONCEPTS
from vllm_jina_embed.demo.phrases import LANGUAGES

FOLDER = Path(vllm_jina_embed.demo.__file__).parent / "checkpoint"
# Source: Qwen/Qwen2.5-VL-3B-Instruct, config.json.
QWEN_IDS = {
    "vision_start_token_id": 151652,
    "vision_end_token_id": 151653,
    "image_token_id": 151655,
    "video_token_id": 151656,
}


def _json(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    """The weights, read without any library of tensors: a length, a JSON header, the numbers."""
    data = (FOLDER / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length :]
    assert {entry["dtype"] for entry in header.values()} == {"F32"}
    return {
        name: np.frombuffer(body[slice(*entry["data_offsets"])], np.float32).reshape(entry["shape"])
        for name, entry in header.items()
    }


def test_the_folder_is_complete_and_at_most_6_mb() -> None:
    files = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    required = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert required | {"preprocessor_config.json", "training.json"} <= set(files)
    assert sum(files.values()) <= 6_000_000


def test_it_is_a_tiny_qwen_2_5_vl(weights: dict[str, np.ndarray]) -> None:
    config = _json("config.json")
    assert config["architectures"] == ["Qwen2_5_VLForConditionalGeneration"]
    assert config["model_type"] == "qwen2_5_vl"
    assert config["matryoshka_dims"] == [32, 64, 128]
    text, vision = config["text_config"], config["vision_config"]
    assert text["hidden_size"] == vision["out_hidden_size"] == 128
    assert text["hidden_size"] // text["num_attention_heads"] >= 32, "vLLM's attention on the CPU needs 32"
    assert vision["hidden_size"] // vision["num_heads"] >= 32
    assert sum(weight.size for weight in weights.values()) < 1_500_000
    assert all(np.isfinite(weight).all() for weight in weights.values())


def test_the_final_norm_is_far_from_constant(weights: dict[str, np.ndarray]) -> None:
    (norm,) = [weight for name, weight in weights.items() if name.endswith("norm.weight") and "layers" not in name]
    assert norm.shape == (128,)
    assert norm.std() / np.abs(norm).mean() > 0.3


def test_its_token_ids_are_its_own() -> None:
    config = _json("config.json")
    tokens = {entry["content"]: entry["id"] for entry in _json("tokenizer.json")["added_tokens"]}
    assert config["vision_start_token_id"] == tokens["<|vision_start|>"]
    assert config["vision_end_token_id"] == tokens["<|vision_end|>"]
    assert config["image_token_id"] == tokens["<|image_pad|>"]
    assert config["video_token_id"] == tokens["<|video_pad|>"]
    assert all(config[name] != number for name, number in QWEN_IDS.items())
    assert max(tokens.values()) < config["text_config"]["vocab_size"]


def test_images_are_bounded_as_in_jina_embeddings_v4() -> None:
    config = _json("preprocessor_config.json")
    assert (config["patch_size"], config["merge_size"], config["temporal_patch_size"]) == (14, 2, 2)
    assert (config["min_pixels"], config["max_pixels"]) == (3136, 602112)
    assert config["image_mean"] == pytest.approx([0.48145466, 0.4578275, 0.40821073])
    assert config["image_std"] == pytest.approx([0.26862954, 0.26130258, 0.27577711])


def test_its_record_says_that_it_finds_in_every_language_and_size() -> None:
    record = _json("training.json")
    assert set(record["recall_at_1"]) == {"128", "64", "32"}
    for askers in record["recall_at_1"].values():
        assert set(askers) == {*LANGUAGES, "picture"}
        assert all(set(directions) == {"images", "texts", "all"} for directions in askers.values())
    figures = [
        figure for askers in record["recall_at_1"].values() for ways in askers.values() for figure in ways.values()
    ]
    assert record["lowest_recall_at_1"] == min(figures) >= 0.95
    assert record["concepts"] == len(CONCEPTS)
