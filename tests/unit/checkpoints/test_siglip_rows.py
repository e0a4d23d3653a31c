"""SigLIP and SigLIP 2: which folders are one, what their prompts and their start are, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import noise
from tests.support.tokenizer import make_tokenizer
from tests.support.unigram import make_unigram
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.checkpoints.registry import PUBLISHED
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.checkpoints.table.siglip import SIGLIP, SIGLIP2
from vllm_jina_embed.engine.local.arguments import LENGTHS, engine_arguments
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.inputs import items
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.prompts.build import load_builder
from vllm_jina_embed.serve.arguments import serve_arguments
from vllm_jina_embed.settings import check

CONFIG: dict[str, Any] = {"architectures": ["SiglipModel"], "model_type": "siglip", "text_config": {"vocab_size": 9}}


def folder(path: Path, **config: Any) -> str:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({**CONFIG, **config}))
    tokenizer = make_tokenizer(special=["<pad>", "<eos>"]) if "siglip2" in path.name else make_unigram()
    (path / "tokenizer.json").write_text(tokenizer.to_str())
    return str(path)


@pytest.mark.parametrize(
    ("name", "row"), [("siglip-base-patch16-224", SIGLIP), ("siglip2-so400m", SIGLIP2), ("SigLIP2_mine", SIGLIP2)]
)
def test_the_name_of_a_folder_says_which_one_it_is(tmp_path: Path, name: str, row: Any) -> None:
    """Both have one architecture, and each size has a default in SiglipTextConfig."""
    checkpoint = resolve(folder(tmp_path / name))
    assert (checkpoint.row, checkpoint.hidden_size, checkpoint.max_length) == (row, 768, 64)


def test_a_folder_of_another_name_is_not_guessed(tmp_path: Path) -> None:
    place = folder(tmp_path / "mine")
    with pytest.raises(ConfigError, match="Pass row='siglip', or another of them"):
        resolve(place)
    assert resolve(place, row=SIGLIP2).row == SIGLIP2


def test_an_embedding_has_the_length_of_the_head(tmp_path: Path) -> None:
    """That of siglip2-giant-opt is longer than a text's state."""
    sizes = {"hidden_size": 1152, "projection_size": 1536, "max_position_embeddings": 16}
    checkpoint = resolve(folder(tmp_path / "siglip2-giant", text_config=sizes))
    assert (checkpoint.hidden_size, checkpoint.matryoshka_sizes, checkpoint.max_length) == (1536, (1536,), 16)
    plain = resolve(folder(tmp_path / "siglip-so400m", text_config={"hidden_size": 1152, "projection_size": None}))
    assert plain.hidden_size == 1152
    with pytest.raises(ConfigError, match="projection_size=0; expected a whole number from 1"):
        resolve(folder(tmp_path / "siglip-wrong", text_config={"projection_size": 0}))


@pytest.mark.parametrize(
    ("name", "row", "length", "size"),
    [
        ("siglip-base-patch16-224", SIGLIP, 64, 768),
        ("siglip-so400m-patch14-224", SIGLIP, 16, 1152),
        ("siglip2-giant-opt-patch16-384", SIGLIP2, 64, 1536),
    ],
)
def test_published_repositories_are_read_from_the_table(name: str, row: Any, length: int, size: int) -> None:
    checkpoint = resolve(f"google/{name}")
    assert checkpoint is PUBLISHED[checkpoint.name]
    assert (checkpoint.row, checkpoint.max_length, checkpoint.hidden_size) == (row, length, size)


@pytest.mark.parametrize("name", ["siglip-base", "siglip2-base"])
def test_a_text_is_filled_up_and_an_image_has_no_token_of_its_own(tmp_path: Path, name: str) -> None:
    """vLLM's class puts in the image's only token."""
    checkpoint = resolve(folder(tmp_path / name))
    builder = load_builder(checkpoint, revision=None, policy=MediaPolicy())
    text, image = builder.build(
        items.mixed(["The FOX", noise(30, 30)]), role="query", task="retrieval", max_length=64, truncate="error"
    )
    assert isinstance(text, Prompt)
    assert isinstance(image, Prompt)
    is_first = checkpoint.row == SIGLIP
    tokenizer = make_unigram() if is_first else make_tokenizer(special=["<pad>", "<eos>"])
    end, pad = (tokenizer.token_to_id(token) for token in (("</s>", "</s>") if is_first else ("<eos>", "<pad>")))
    own = [*tokenizer.encode("the fox", add_special_tokens=False).ids, end]
    assert list(text.token_ids) == [*own, *[pad] * (64 - len(own))]
    assert (image.token_ids, image.around, len(image.images)) == ((), (0, 0), 1)


def test_it_is_vllms_own_class_with_our_pooling(tmp_path: Path) -> None:
    engine: Any = check(model=folder(tmp_path / "siglip-base")).engine
    arguments = engine_arguments(engine, cpu=False)
    assert arguments["hf_overrides"] == {
        **LENGTHS, "architectures": ["PooledSiglipModel"], "jina_pooling": "last_token",
        "jina_reversed": True, "embedding_size": 768,
    }  # fmt: skip
    assert arguments["mm_processor_kwargs"] == {}
    assert "scheduler_cls" not in arguments


def test_multi_vectors_and_late_chunks_are_refused_before_an_engine_starts() -> None:
    with JinaEmbedder("google/siglip-base-patch16-224") as embedder:
        with pytest.raises(ConfigError, match="was trained for one vector of an item; it has no multi-vectors"):
            embedder.embed_multi_vector(["a"])
        with pytest.raises(ConfigError, match="fills texts up, so late chunking means nothing to it"):
            embedder.embed_late_chunks([["a", "b"]])


def test_it_is_served_with_one_vector_of_an_item(tmp_path: Path) -> None:
    """The server fills the strings of its clients up; it has no multi-vectors to give."""
    engine: Any = check(model=folder(tmp_path / "siglip-base")).engine
    options: dict[str, Any] = {"name": "siglip", "task": "retrieval", "cpu": False}
    flags = serve_arguments(engine, **options, multi_vector=False)
    overrides = json.loads(flags[flags.index("--hf-overrides") + 1])
    assert overrides["architectures"] == ["PooledSiglipModel"]
    assert overrides["jina_row"] == ["siglip", SIGLIP.digest]
    with pytest.raises(ConfigError, match="--multi-vector: siglip was trained for one vector of an item"):
        serve_arguments(engine, **options, multi_vector=True)


def test_models_of_any_resolution_are_refused_with_the_reason(tmp_path: Path) -> None:
    place = folder(tmp_path / "siglip2-base-patch16-naflex", architectures=["Siglip2Model"], model_type="siglip2")
    with pytest.raises(ConfigError, match="has no class for the NaFlex models"):
        resolve(place)
