"""Rows over Qwen3-VL and Qwen2-VL: which folders are one, what is refused, and what prompts and start are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import noise
from tests.support.tokenizer import make_tokenizer
from vllm_jina_embed.checkpoints.registry import PUBLISHED, ROWS
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.checkpoints.table.qwen_vl import QWEN3_VL_EMBEDDING
from vllm_jina_embed.engine.local.arguments import LENGTHS, engine_arguments
from vllm_jina_embed.engine.remote.server_facts import LONGEST_LIST
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.inputs import items
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.prompts.build import load_builder
from vllm_jina_embed.prompts.chat_template import image_template
from vllm_jina_embed.settings import check, check_dimensions

CONFIGS: dict[str, dict[str, Any]] = {
    "qwen3": {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
        "text_config": {"hidden_size": 96, "max_position_embeddings": 262144},
    },
    "qwen2": {
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "model_type": "qwen2_vl",
        "hidden_size": 96,
        "max_position_embeddings": 32768,
    },
}
FOLDERS = {
    "qwen3-vl-embedding": ("Qwen3-VL-Embedding-2B", "qwen3"),
    "dse-qwen2": ("dse-qwen2-2b-mrl-v1", "qwen2"),
    "gme-qwen2-vl": ("gme-Qwen2-VL-7B-Instruct", "qwen2"),
    "vlm2vec-qwen2vl": ("VLM2Vec-Qwen2VL-2B", "qwen2"),
    "vlm2vec-v2": ("VLM2Vec-V2.0", "qwen2"),
}
"""By the row, a folder's name and its config.json."""
VS = "<|vision_start|><|image_pad|><|vision_end|>"


def folder(path: Path, kind: str, **config: Any) -> str:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({**CONFIGS[kind], **config}))
    (path / "tokenizer.json").write_text(make_tokenizer().to_str())
    return str(path)


@pytest.mark.parametrize("name", FOLDERS)
def test_the_name_says_which_model_a_folder_is(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    """Its own, or that of the model that it was trained from; without a warning."""
    own, kind = FOLDERS[name]
    assert check(model=folder(tmp_path / own, kind)).checkpoint.row == ROWS[name]
    assert check(model=folder(tmp_path / "mine", kind, _name_or_path=f"them/{own}")).checkpoint.row == ROWS[name]
    assert caplog.records == []


@pytest.mark.parametrize("name", FOLDERS)
def test_a_chat_model_is_refused_and_taken_only_by_name(tmp_path: Path, name: str) -> None:
    """Every chat model of this kind has the same files."""
    _, kind = FOLDERS[name]
    place = folder(tmp_path / "Qwen-VL-Instruct", kind)
    with pytest.raises(ConfigError, match=f"do not say that it is one of .*pass .*row='{name}'"):
        resolve(place)
    assert check(model=place, row=name).checkpoint.row == ROWS[name]


@pytest.mark.parametrize(("name", "size"), [("2B", 2048), ("8B", 4096)])
def test_qwen3_vl_repositories_are_read_from_the_table(name: str, size: int) -> None:
    checkpoint = resolve(f"Qwen/Qwen3-VL-Embedding-{name}")
    assert checkpoint is PUBLISHED[checkpoint.name]
    assert (checkpoint.hidden_size, checkpoint.token_dimensions, checkpoint.max_length) == (size, size, 8192)
    assert (checkpoint.min_pixels, checkpoint.max_pixels) == (4096, 1843200)
    assert checkpoint.matryoshka_sizes == tuple(one for one in QWEN3_VL_EMBEDDING.matryoshka_sizes if one <= size)
    assert len(checkpoint.matryoshka_sizes) <= LONGEST_LIST
    assert check_dimensions(checkpoint, 64) == 64


@pytest.mark.parametrize(
    ("name", "size", "length", "bounds"),
    [
        ("MrLight/dse-qwen2-2b-mrl-v1", 1536, 32768, (784, 2007040)),
        ("Alibaba-NLP/gme-Qwen2-VL-2B-Instruct", 1536, 1800, (200704, 1003520)),
        ("Alibaba-NLP/gme-Qwen2-VL-7B-Instruct", 3584, 1800, (200704, 1003520)),
    ],
)
def test_qwen2_vl_repositories_are_read_from_the_table(
    name: str, size: int, length: int, bounds: tuple[int, int]
) -> None:
    checkpoint = resolve(name)
    assert checkpoint is PUBLISHED[name]
    assert (checkpoint.hidden_size, checkpoint.max_length) == (size, length)
    assert (checkpoint.min_pixels, checkpoint.max_pixels) == bounds
    assert max(checkpoint.matryoshka_sizes) == size


@pytest.mark.parametrize("name", ["vlm2vec-qwen2vl", "vlm2vec-v2"])
def test_an_adapter_has_to_be_merged_first(tmp_path: Path, name: str) -> None:
    """As both are published; the base model's vectors would be wrong without an error. Known by name or not."""
    own, kind = FOLDERS[name]
    place = folder(tmp_path / own, kind)
    (tmp_path / own / "adapter_config.json").write_text("{}")
    for row in (None, name):
        with pytest.raises(ConfigError, match="its weights are an adapter; expected it merged"):
            check(model=place, row=row)
    assert ROWS[name].name not in {checkpoint.row.name for checkpoint in PUBLISHED.values()}


CHAT = "<|im_start|>system\n{}<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
RETRIEVE, REPRESENT = "Retrieve images or text relevant to the user's query.", "Represent the user's input."
HELPFUL = CHAT.replace("{}", "You are a helpful assistant.", 1) + "<|endoftext|>"
QUESTION = "<|image_pad|> Represent the given image with the following question: a fox"
PROMPTS: dict[str, dict[tuple[str, str], str]] = {
    "qwen3-vl-embedding": {
        ("query", "text"): CHAT.format(RETRIEVE, "a fox"),
        ("passage", "text"): CHAT.format(REPRESENT, "a fox"),
        ("query", "image"): CHAT.format(RETRIEVE, VS),
        ("passage", "image"): CHAT.format(REPRESENT, VS),
        ("query", "both"): CHAT.format(RETRIEVE, f"{VS}a fox"),
        ("passage", "both"): CHAT.format(REPRESENT, f"{VS}a fox"),
    },
    "dse-qwen2": {
        ("query", "text"): HELPFUL.format(f"{VS}Query: a fox"),
        ("passage", "text"): HELPFUL.format(f"{VS}Document: a fox"),
        **{(role, "image"): HELPFUL.format(f"{VS}What is shown in this image?") for role in ("query", "passage")},
    },
    "gme-qwen2-vl": {
        (role, modality): HELPFUL.format(item)
        for role in ("query", "passage")
        for modality, item in (("text", "a fox"), ("image", VS), ("both", f"{VS}a fox"))
    },
    "vlm2vec-qwen2vl": {
        ("query", "text"): "Find me an everyday image that matches the given caption: a fox",
        ("passage", "text"): "a fox",
        ("query", "image"): "<|image_pad|> Find a day-to-day image that looks similar to the provided image.",
        ("passage", "image"): "<|image_pad|> Represent the given image.",
        ("query", "both"): QUESTION,
        ("passage", "both"): QUESTION,
    },
    "vlm2vec-v2": {
        ("query", "text"): "Find a document image that matches the given query: a fox",
        ("passage", "text"): "a fox",
        ("query", "image"): "<|image_pad|> Understand the content of the provided document image.",
        ("passage", "image"): "<|image_pad|> Understand the content of the provided document image.",
        ("query", "both"): QUESTION,
        ("passage", "both"): QUESTION,
    },
}
"""By the row, whole prompts as the published code writes them."""
ITEMS: dict[str, Any] = {"text": "a fox", "image": noise(30, 30), "both": {"text": "a fox", "image": noise(30, 30)}}


@pytest.mark.parametrize("name", PROMPTS)
def test_prompts_are_the_published_ones(tmp_path: Path, name: str) -> None:
    own, kind = FOLDERS[name]
    builder = load_builder(resolve(folder(tmp_path / own, kind)), revision=None, policy=MediaPolicy())
    tokenizer = make_tokenizer()
    for (role, modality), whole in PROMPTS[name].items():
        (prompt,) = builder.build(
            items.mixed([ITEMS[modality]]), role=role, task="retrieval", max_length=1000, truncate="error"
        )
        assert isinstance(prompt, Prompt)
        assert list(prompt.token_ids) == tokenizer.encode(whole, add_special_tokens=False).ids, (role, modality)
        assert len(prompt.images) == whole.count("<|image_pad|>")
    assert {*PROMPTS[name]} == {(role, modality) for role in ("query", "passage") for modality in ITEMS} - {
        (role, "both") for role in ("query", "passage") if not ROWS[name].takes_both
    }


def test_what_a_plain_server_makes_no_prompts_for_is_refused() -> None:
    """A prompt of images by role, since images travel without it; an image in texts; an image of one token."""
    for name, message in {
        "qwen3-vl-embedding": "has 2 prompts of images; a plain vLLM server can make one",
        "dse-qwen2": "has an image in its prompts of texts",
        "gme-qwen2-vl": "has images of another kind",
        "vlm2vec-v2": "has images of another kind",
    }.items():
        with pytest.raises(ConfigError, match=message):
            image_template(ROWS[name])


@pytest.mark.parametrize("name", FOLDERS)
def test_it_is_vllms_own_class_with_our_pooling_and_bounds(tmp_path: Path, name: str) -> None:
    own, kind = FOLDERS[name]
    settings, row = check(model=folder(tmp_path / own, kind)), ROWS[name]
    engine: Any = settings.engine
    arguments = engine_arguments(engine, cpu=False)
    (architecture,) = CONFIGS[kind]["architectures"]
    line = {"jina_line": True} if row.image_positions == "line" else {}
    assert arguments["hf_overrides"] == {
        **LENGTHS, "architectures": [f"Pooled{architecture}"], "jina_pooling": "last_token", **line
    }  # fmt: skip
    assert arguments["limit_mm_per_prompt"] == {"video": 0}
    assert arguments["mm_processor_cache_gb"] == 0
    assert arguments["mm_processor_kwargs"] == {
        "size": {"shortest_edge": row.min_pixels, "longest_edge": row.max_pixels}
    }
    assert not [argument for argument in arguments if argument.startswith("trust")]
