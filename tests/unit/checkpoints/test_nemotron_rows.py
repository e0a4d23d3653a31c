"""llama-nemotron-embed-vl: which folders are one, what its prompts and its start are, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import noise
from tests.support.tokenizer import make_tokenizer
from vllm_jina_embed.checkpoints.registry import PUBLISHED
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.checkpoints.table.nemotron import NEMOTRON_EMBED_VL
from vllm_jina_embed.engine.local.arguments import check_remote_code, engine_arguments
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.inputs import items
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.prompts.build import load_builder
from vllm_jina_embed.serve.arguments import serve_arguments
from vllm_jina_embed.settings import check

NAME = "llama-nemotron-embed-vl-1b-v2"
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaNemotronVLModel"],
    "model_type": "llama_nemotron_vl",
    "auto_map": {"AutoConfig": "configuration_llama_nemotron_vl.LlamaNemotronVLConfig"},
    "downsample_ratio": 0.5, "max_input_tiles": 2, "pooling": "avg", "ps_version": "v2", "select_layer": -1,
    "llm_config": {"model_type": "llama_bidirec", "hidden_size": 96, "max_position_embeddings": 131072},
    "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 48},
}  # fmt: skip
PROCESSOR: dict[str, Any] = {
    "dynamic_image_size": True, "image_size": 512, "max_input_tiles": 6, "norm_type": "siglip",
    "passage_prefix": "passage:", "query_prefix": "query:", "system_message": "", "use_thumbnail": True,
}  # fmt: skip
SPECIAL = ["<|begin_of_text|>", "<img>", "</img>", "<IMG_CONTEXT>"]


def folder(path: Path, processor: dict[str, Any] | None = None, **config: Any) -> str:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({**CONFIG, **config}))
    (path / "processor_config.json").write_text(json.dumps(PROCESSOR | (processor or {})))
    (path / "tokenizer.json").write_text(make_tokenizer(special=SPECIAL).to_str())
    return str(path)


def test_the_architecture_says_which_model_a_folder_is(tmp_path: Path) -> None:
    """The sizes are those of the part that computes texts."""
    checkpoint = resolve(folder(tmp_path / "mine"))
    assert (checkpoint.row, checkpoint.hidden_size, checkpoint.max_length) == (NEMOTRON_EMBED_VL, 96, 10240)
    assert resolve(f"nvidia/{NAME}") is PUBLISHED[f"nvidia/{NAME}"]
    short = {**CONFIG["llm_config"], "max_position_embeddings": 512}
    assert resolve(folder(tmp_path / "short", llm_config=short)).max_length == 512


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("pooling", "last", "avg"),
        ("select_layer", -2, "-1"),
        ("ps_version", "v1", "v2"),
        ("downsample_ratio", 1, "0.5"),
    ],
)
def test_another_model_of_this_architecture_is_refused(tmp_path: Path, key: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigError, match=rf"config\.json has {key}={value!r}; expected '?{expected}"):
        resolve(folder(tmp_path / NAME, **{key: value}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("use_thumbnail", False),
        ("norm_type", "imagenet"),
        ("query_prefix", "question:"),
        ("passage_prefix", ""),
        ("dynamic_image_size", False),
        ("min_input_tiles", 2),
        ("system_message", "Retrieve."),
    ],
)
def test_what_vllm_or_the_prompts_would_leave_out_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    """processor_config.json says it, and vLLM computes another vector without a word."""
    with pytest.raises(ConfigError, match=rf"processor_config\.json has {key}={value!r}; expected"):
        resolve(folder(tmp_path / NAME, {key: value}))


def test_a_processor_file_that_is_missing_or_no_object(tmp_path: Path) -> None:
    """The first says nothing; the second cannot be read."""
    place = Path(folder(tmp_path / NAME))
    (place / "processor_config.json").unlink()
    assert resolve(str(place)).row == NEMOTRON_EMBED_VL
    (place / "processor_config.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"processor_config\.json has \[\]; expected an object"):
        resolve(str(place))


def test_the_most_tiles_are_the_checkpoints_own_and_in_its_fingerprint(tmp_path: Path) -> None:
    """They decide vectors: vLLM reads them from the folder, whose files stand in every cache's keys."""
    place = Path(folder(tmp_path / NAME))
    six = check(model=str(place))
    (place / "processor_config.json").write_text(json.dumps({**PROCESSOR, "max_input_tiles": 12}))
    twelve = check(model=str(place))
    assert six.checkpoint.row == twelve.checkpoint.row
    assert six.fingerprint != twelve.fingerprint
    options = {"mm_processor_kwargs": {"max_dynamic_patch": 4}}
    assert check(model=str(place), engine_kwargs=options).fingerprint != twelve.fingerprint


def test_prompts_are_the_published_ones(tmp_path: Path) -> None:
    """An image has the prompt of a passage in both roles: the published code has no other."""
    builder = load_builder(resolve(folder(tmp_path / NAME)), revision=None, policy=MediaPolicy())
    image, tokenizer = noise(30, 30), make_tokenizer(special=SPECIAL)
    marked = "<|begin_of_text|>passage: <img><IMG_CONTEXT></img> "
    for role in ("query", "passage"):
        values = {
            f"<|begin_of_text|>{role}: a fox": "a fox",
            marked: image,
            f"{marked}a fox": {"text": "a fox", "image": image},
        }
        for whole, value in values.items():
            (prompt,) = builder.build(
                items.mixed([value]), role=role, task="retrieval", max_length=1000, truncate="error"
            )
            assert isinstance(prompt, Prompt)
            assert list(prompt.token_ids) == tokenizer.encode(whole, add_special_tokens=False).ids
            assert len(prompt.images) == whole.count("<img>")


def test_the_start_needs_no_code_of_the_repository(tmp_path: Path) -> None:
    """The plugin has the class of its configuration; ``trust_remote_code`` is neither asked for nor set."""
    settings = check(model=folder(tmp_path / NAME))
    engine: Any = settings.engine
    check_remote_code(engine)
    arguments = engine_arguments(engine, cpu=False)
    assert "trust_remote_code" not in arguments
    assert arguments["hf_overrides"]["architectures"] == ["PooledMarkedLlamaNemotronVLModel"]
    assert arguments["mm_processor_kwargs"] == {}
    assert arguments["limit_mm_per_prompt"] == {"image": 1, "video": 0}
    command = serve_arguments(engine, name=NAME, task="retrieval", cpu=False, multi_vector=False)
    assert "--trust-remote-code" not in command


def test_images_have_no_bounds(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="whose images have a fixed size"):
        check(model=folder(tmp_path / NAME), max_pixels=5)
