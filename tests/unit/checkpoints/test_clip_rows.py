"""CLIP: which folders are one, what its prompts and its start are, and that a multi-vector is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import noise
from tests.support.tokenizer import make_tokenizer
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.checkpoints.registry import PUBLISHED
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.checkpoints.table.clip import CLIP
from vllm_jina_embed.engine.local.arguments import LENGTHS, engine_arguments
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.inputs import items
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.prompts.build import load_builder
from vllm_jina_embed.settings import check

CONFIG: dict[str, Any] = {"architectures": ["CLIPModel"], "model_type": "clip", "text_config": {"vocab_size": 9}}
SPECIAL = ["<|startoftext|>", "<|endoftext|>"]


def folder(path: Path, **config: Any) -> str:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({**CONFIG, **config}))
    (path / "tokenizer.json").write_text(make_tokenizer(special=SPECIAL).to_str())
    return str(path)


def test_the_architecture_says_that_a_folder_is_one(tmp_path: Path) -> None:
    """Whatever its name; its embeddings have the length of the projection, CLIPConfig's where config.json has none."""
    checkpoint = resolve(folder(tmp_path / "mine"))
    assert (checkpoint.row, checkpoint.hidden_size, checkpoint.max_length) == (CLIP, 512, 77)
    large = resolve(folder(tmp_path / "large", text_config={"hidden_size": 768, "projection_dim": 9}))
    assert large.hidden_size == 512  # transformers does not read that of the text_config
    other = resolve(folder(tmp_path / "other", projection_dim=640, text_config={"hidden_size": 768}))
    assert (other.hidden_size, other.matryoshka_sizes) == (640, (640,))


@pytest.mark.parametrize("size", [0, "640", True, 1.5, 10**9])
def test_a_projection_of_no_length_is_refused(tmp_path: Path, size: Any) -> None:
    with pytest.raises(ConfigError, match=r"config.json has projection_dim=.* expected a whole number from 1 to"):
        resolve(folder(tmp_path / "wrong", projection_dim=size))


@pytest.mark.parametrize(("name", "size"), [("base-patch32", 512), ("large-patch14-336", 768)])
def test_published_repositories_are_read_from_the_table(name: str, size: int) -> None:
    checkpoint = resolve(f"openai/clip-vit-{name}")
    assert checkpoint is PUBLISHED[checkpoint.name]
    assert (checkpoint.hidden_size, checkpoint.matryoshka_sizes, checkpoint.max_length) == (size, (size,), 77)


def test_a_text_has_both_ends_and_an_image_no_token_of_its_own(tmp_path: Path) -> None:
    """vLLM's class puts in the image's only token."""
    builder = load_builder(resolve(folder(tmp_path / "clip")), revision=None, policy=MediaPolicy())
    text, image = builder.build(
        items.mixed(["a fox", noise(30, 30)]), role="query", task="retrieval", max_length=77, truncate="error"
    )
    assert isinstance(text, Prompt)
    assert isinstance(image, Prompt)
    tokenizer = make_tokenizer(special=SPECIAL)
    whole = tokenizer.encode("<|startoftext|>a fox<|endoftext|>", add_special_tokens=False).ids
    assert (list(text.token_ids), text.images) == (whole, ())
    assert (image.token_ids, image.around, len(image.images)) == ((), (0, 0), 1)


def test_it_is_vllms_own_class_with_our_pooling(tmp_path: Path) -> None:
    engine: Any = check(model=folder(tmp_path / "clip")).engine
    arguments = engine_arguments(engine, cpu=False)
    assert arguments["hf_overrides"] == {
        **LENGTHS, "architectures": ["PooledCLIPModel"], "jina_pooling": "last_token",
        "embedding_size": 512,
    }  # fmt: skip
    assert arguments["mm_processor_kwargs"] == {}
    assert "scheduler_cls" not in arguments


def test_multi_vectors_are_refused_before_an_engine_starts() -> None:
    """By the score of multi-vectors too."""
    with JinaEmbedder("openai/clip-vit-base-patch32") as embedder:
        for call in (
            lambda: embedder.embed_multi_vector(["a"]),
            lambda: embedder.score(["a"], ["b"], multi_vector=True),
        ):
            with pytest.raises(ConfigError, match="was trained for one vector of an item; it has no multi-vectors"):
                call()
