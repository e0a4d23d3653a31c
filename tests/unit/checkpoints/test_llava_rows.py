"""e5-v and models that are known and not served: which folders are one, what is refused, what the start is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import noise
from tests.support.tokenizer import make_tokenizer
from vllm_jina_embed.checkpoints.registry import PUBLISHED, UNSERVED
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.checkpoints.table.llava import E5_V
from vllm_jina_embed.engine.local.arguments import engine_arguments
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.inputs import items
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.prompts.build import load_builder
from vllm_jina_embed.prompts.chat_template import image_template
from vllm_jina_embed.settings import check

CONFIG: dict[str, Any] = {
    "architectures": ["LlavaNextForConditionalGeneration"],
    "model_type": "llava_next",
    # As published: what LlamaConfig has by itself is left out.
    "text_config": {"model_type": "llama", "max_position_embeddings": 8192},
}
SPECIAL = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<image>"]


def folder(path: Path, **config: Any) -> str:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({**CONFIG, **config}))
    (path / "tokenizer.json").write_text(make_tokenizer(special=SPECIAL).to_str())
    return str(path)


def test_the_name_says_which_model_a_folder_is(tmp_path: Path) -> None:
    """Its size is that of Llama 3 8B where config.json leaves it out."""
    checkpoint = resolve(folder(tmp_path / "e5-v"))
    assert (checkpoint.row, checkpoint.hidden_size, checkpoint.max_length) == (E5_V, 4096, 8192)
    assert (
        resolve(folder(tmp_path / "a/e5-v", text_config={"hidden_size": 64, "max_position_embeddings": 9})).hidden_size
        == 64
    )
    assert resolve("royokong/e5-v") is PUBLISHED["royokong/e5-v"]
    with pytest.raises(ConfigError, match="do not say that it is one of e5-v"):
        resolve(folder(tmp_path / "llama3-llava-next-8b-hf"))


FRAME = (
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n \n"
)


@pytest.mark.parametrize("role", ["query", "passage"])
def test_prompts_are_the_published_ones(tmp_path: Path, role: str) -> None:
    builder = load_builder(resolve(folder(tmp_path / "e5-v")), revision=None, policy=MediaPolicy())
    image = noise(30, 30)
    values = {
        "a fox\nSummary above sentence in one word: ": "a fox",
        "<image>\nSummary above image in one word: ": image,
        '[INST] <image> Modify this image with "a fox" Describe modified image in one word: [/INST]': {
            "text": "a fox", "image": image,
        },
    }  # fmt: skip
    for inside, value in values.items():
        (prompt,) = builder.build(items.mixed([value]), role=role, task="retrieval", max_length=1000, truncate="error")
        assert isinstance(prompt, Prompt)
        whole = FRAME.format(inside)
        assert list(prompt.token_ids) == make_tokenizer(special=SPECIAL).encode(whole, add_special_tokens=False).ids
        assert len(prompt.images) == whole.count("<image>")


def test_images_have_no_bounds(tmp_path: Path) -> None:
    """vLLM gets none, and a plain server makes no prompt of them."""
    settings = check(model=folder(tmp_path / "e5-v"))
    engine: Any = settings.engine
    arguments = engine_arguments(engine, cpu=False)
    assert arguments["mm_processor_kwargs"] == {}
    assert arguments["hf_overrides"]["architectures"] == ["PooledLlavaNextForConditionalGeneration"]
    with pytest.raises(ConfigError, match="whose images have a fixed size"):
        check(model=folder(tmp_path / "a/e5-v"), min_pixels=5)
    with pytest.raises(ConfigError, match="has images of another kind"):
        image_template(E5_V)


@pytest.mark.parametrize("architecture", UNSERVED)
def test_a_model_that_needs_its_own_code_is_refused_with_the_reason(tmp_path: Path, architecture: str) -> None:
    place = folder(tmp_path / "VLM2Vec-Full", architectures=[architecture])
    with pytest.raises(ConfigError, match=f"{architecture} cannot be served: .*{UNSERVED[architecture][:20]}"):
        check(model=place)


def test_a_model_that_vllm_starts_on_no_cpu_is_refused(tmp_path: Path) -> None:
    """EmbeddingGemma 2: nothing is served that was never compared."""
    with pytest.raises(ConfigError, match="heads of two sizes, on no CPU, and what it gives on a GPU"):
        check(model=folder(tmp_path / "embeddinggemma-2", architectures=["EmbeddingGemma2Model"]))


def test_the_reason_is_the_model_s_own_code(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"TIGER-Lab/VLM2Vec-Full .* need code of their own \(trust_remote_code\)"):
        check(model=folder(tmp_path / "VLM2Vec-Full", architectures=["Phi3VForCausalLM"]))
