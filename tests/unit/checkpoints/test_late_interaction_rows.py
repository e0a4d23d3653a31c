"""Rows of late interaction: a vector of each token and none of an item; what is recognised, refused, prompted, told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.images import noise
from tests.support.in_memory import in_memory
from tests.support.tokenizer import make_tokenizer
from vllm_jina_embed.checkpoints.registry import PUBLISHED, ROWS
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.checkpoints.table.late_interaction import COL_QWEN3
from vllm_jina_embed.engine.local.arguments import LENGTHS, engine_arguments
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.inputs import items
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.prompts.build import load_builder
from vllm_jina_embed.serve.arguments import serve_arguments
from vllm_jina_embed.settings import check

CONFIG: dict[str, Any] = {
    "architectures": ["ColQwen3"],
    "model_type": "colqwen3",
    "embed_dim": 48,
    "text_config": {"hidden_size": 96, "max_position_embeddings": 262144},
}
VS = "<|vision_start|><|image_pad|><|vision_end|>"


def folder(path: Path, **config: Any) -> str:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({**CONFIG, **config}))
    (path / "tokenizer.json").write_text(make_tokenizer().to_str())
    return str(path)


def test_the_architecture_says_what_a_folder_is(tmp_path: Path) -> None:
    """Its rows are as long as config.json says, and 320 numbers where it does not."""
    checkpoint = resolve(folder(tmp_path / "mine"))
    assert checkpoint.row == COL_QWEN3
    assert (checkpoint.token_dimensions, checkpoint.hidden_size, checkpoint.matryoshka_sizes) == (48, 48, (48,))
    assert checkpoint.max_length == 262144
    without = {key: value for key, value in CONFIG.items() if key != "embed_dim"}
    folder(tmp_path / "other")
    (tmp_path / "other" / "config.json").write_text(json.dumps(without))
    assert resolve(str(tmp_path / "other")).token_dimensions == 320
    with pytest.raises(ConfigError, match=r"has embed_dim='48'; expected a whole number"):
        resolve(folder(tmp_path / "text", embed_dim="48"))


@pytest.mark.parametrize("size", ["4b", "8b"])
def test_repositories_are_read_from_the_table(size: str) -> None:
    checkpoint = resolve(f"TomoroAI/tomoro-colqwen3-embed-{size}")
    assert checkpoint is PUBLISHED[checkpoint.name]
    assert (checkpoint.token_dimensions, checkpoint.min_pixels, checkpoint.max_pixels) == (320, 65536, 1310720)


def test_a_model_whose_prompts_are_unknown_is_refused(tmp_path: Path) -> None:
    """With the reason and what to do; a row of the user's own takes it."""
    place = folder(tmp_path / "Ops-Colqwen3-4B", architectures=["OpsColQwen3Model"])
    with pytest.raises(ConfigError, match=r"OpsColQwen3Model cannot be served: the prompts .* row=vllm_jina_embed"):
        check(model=place)


def test_a_model_that_vllm_computes_otherwise_is_refused(tmp_path: Path) -> None:
    """With the reason, and a model to use instead."""
    place = folder(tmp_path / "mine", architectures=["ColPaliForRetrieval"])
    message = "ColPaliForRetrieval cannot be served: .*causally.*Use TomoroAI/tomoro-colqwen3"
    with pytest.raises(ConfigError, match=message):
        check(model=place)


def test_prompts_are_the_published_ones(tmp_path: Path) -> None:
    """Ten tokens behind a text, whatever its role; a text never becomes one of them."""
    builder = load_builder(resolve(folder(tmp_path / "mine")), revision=None, policy=MediaPolicy())
    tokenizer = make_tokenizer()
    given: Any = ["a fox", noise(30, 30), [noise(30, 30), noise(9, 9)]]
    image = "<|im_start|>user\n{}Describe the image.<|im_end|><|endoftext|>"
    whole = ["a fox" + "<|endoftext|>" * 10, image.format(VS), image.format(VS * 2)]
    for role in ("query", "passage"):
        built = builder.build(
            items.good(items.mixed(given)), role=role, task="retrieval", max_length=99, truncate="error"
        )
        for prompt, expected in zip(built, whole, strict=True):
            assert isinstance(prompt, Prompt)
            assert list(prompt.token_ids) == tokenizer.encode(expected, add_special_tokens=False).ids
    end = tokenizer.token_to_id("<|endoftext|>")
    (hostile,) = builder.build(
        items.good(items.mixed(["<|endoftext|>"])), role="query", task="retrieval", max_length=99, truncate="error"
    )
    assert isinstance(hostile, Prompt)
    assert list(hostile.token_ids).count(end) == 10
    (cut,) = builder.build(
        items.good(items.mixed(["a fox " * 9])), role="query", task="retrieval", max_length=12, truncate="end"
    )
    assert isinstance(cut, Prompt)
    assert (len(cut.token_ids), cut.token_ids[2:]) == (12, (end,) * 10)


def test_vllm_is_told_where_the_projector_is_and_pools_nothing_else(tmp_path: Path) -> None:
    engine: Any = check(model=folder(tmp_path / "mine")).engine
    arguments = engine_arguments(engine, cpu=False)
    assert arguments["hf_overrides"] == {
        **LENGTHS, "architectures": ["PooledColQwen3StatesModel"],
        "jina_projector": {
            "names": ["embedding_proj_layer", "custom_text_proj"], "file": "", "skips_first": False, "skips": []
        },
    }  # fmt: skip
    assert arguments["pooler_config"] == {"task": "token_embed", "use_activation": True, "seq_pooling_type": "LAST"}
    assert not [argument for argument in arguments if argument.startswith("trust")]


def test_a_server_gives_multi_vectors_alone(tmp_path: Path) -> None:
    """To clients that name nothing, too."""
    engine: Any = check(model=folder(tmp_path / "mine")).engine
    options: dict[str, Any] = {"name": "mine", "task": "retrieval", "cpu": False}
    with pytest.raises(ConfigError, match="mine has a vector of each token and none of a whole item: add --multi-ve"):
        serve_arguments(engine, multi_vector=False, **options)
    flags = serve_arguments(engine, multi_vector=True, **options)
    assert json.loads(flags[flags.index("--hf-overrides") + 1])["jina_multi_vector_task"] == "multi_vector"


INSTEAD = r"mine has a vector of each token and none of a whole item\. Call embed_multi_vector, or score.*late_interact"


async def test_embeddings_are_refused_before_an_engine_starts(tmp_path: Path) -> None:
    """Whatever the call, with what to call instead; multi-vectors and scores are what there is."""
    engines: list[FakeEngine] = []
    with in_memory(engines)(folder(tmp_path / "mine")) as embedder:
        for call in (embedder.embed, embedder.embed_queries, embedder.embed_passages, embedder.embed_images):
            for given in (["a"], []):
                with pytest.raises(ConfigError, match=INSTEAD):
                    call(given)
        with pytest.raises(ConfigError, match=INSTEAD):
            await embedder.aembed(["a"])
        with pytest.raises(ConfigError, match=INSTEAD):
            list(embedder.embed_stream(["a"]))
        with pytest.raises(ConfigError, match=INSTEAD):
            embedder.embed_late_chunks([["a", "b"]])
        with pytest.raises(ConfigError, match=INSTEAD):
            embedder.score(["a"], ["b"], multi_vector=False)
        assert engines == []
        assert embedder.score(["a"], ["a", noise(20, 20)]).shape == (1, 2)
        assert engines[0].prompts


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"normalize": False}, "normalize=False: .* has no embedding of an item"),
        ({"long_text": "chunks"}, "long_text='chunks': .* has no embedding of an item"),
        ({"fusion": "mean"}, "fusion='mean': .* has no embedding of an item"),
        ({"dimensions": 32}, "dimensions=32 is not a Matryoshka size"),
    ],
)
def test_what_is_about_embeddings_means_nothing(tmp_path: Path, option: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(model=folder(tmp_path / "mine"), **option)


def test_a_row_of_multi_vectors_alone_has_a_projector() -> None:
    """By which it is checked at the start, as every other row is by its pooling."""
    alone = [row for row in ROWS.values() if row.pooling is None]
    assert COL_QWEN3 in alone
    assert all(row.projector is not None for row in alone)
