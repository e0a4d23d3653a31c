"""What a layout may say beyond its architecture: settings of the text's model, a processor, ends, images refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, processors

from tests.support.builders import builder_of
from tests.support.images import noise
from tests.support.tokenizer import make_tokenizer
from vllm_jina_embed import Layout, Model, Slot, Special
from vllm_jina_embed.checkpoints.registry import checked
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.errors import ConfigError, InputError
from vllm_jina_embed.inputs import items

LAYOUT = Layout(
    architecture="OwnModel",
    unnamed="own",
    text={"theta": 2.0},
    processor={"tiles": 6},
    adds_ends=True,
    texts_only="the engine cuts them otherwise.",
    modules=(),
)
ROW = Model(
    name="own",
    layouts=(LAYOUT,),
    pooling="mean",
    kind="bpe",
    templates={("any", "text"): (Special("[CLS]"), Slot.TEXT, Special("[MASK]"), Special("[SEP]"))},
    attention="both",
    max_length=64,
)
CONFIG: dict[str, Any] = {
    "model_type": "own", "text_config": {"hidden_size": 8, "max_position_embeddings": 64, "theta": 2},
}  # fmt: skip


def folder(path: Path, processor: Any = None, **config: Any) -> str:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({**CONFIG, **config}))
    if processor is not None:
        (path / "processor_config.json").write_text(json.dumps(processor))
    return str(path)


def tokenizer(ends: str) -> Tokenizer:
    """Return a tokenizer that adds these tokens, ``$A`` for the text."""
    made = make_tokenizer(special=["[CLS]", "[SEP]", "[MASK]"])
    known = [(token, made.token_to_id(token)) for token in ("[CLS]", "[SEP]", "[MASK]")]
    made.post_processor = processors.TemplateProcessing(single=ends, special_tokens=known)
    return made


def test_a_config_without_an_architecture(tmp_path: Path) -> None:
    """Its type says which layout it may be of, where that says so; any other stays refused."""
    assert resolve(folder(tmp_path / "mine"), row=ROW).architecture == "OwnModel"
    with pytest.raises(ConfigError, match="of type 'other' names no architectures"):
        resolve(folder(tmp_path / "other", model_type="other"), row=ROW)
    with pytest.raises(ConfigError, match="of type 'own' names no architectures"):
        resolve(folder(tmp_path / "third"), row=replace(ROW, layouts=(replace(LAYOUT, unnamed=""),)))
    with pytest.raises(ConfigError, match="of type None names no architectures"):
        resolve(folder(tmp_path / "none", model_type=None), row=ROW)


def test_settings_of_the_texts_model_that_differ(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json: text_config has theta=1; expected 2\.0"):
        resolve(folder(tmp_path / "mine", text_config={**CONFIG["text_config"], "theta": 1}), row=ROW)


@pytest.mark.parametrize("processor", [{}, {"tiles": 6, "more": 1}, None])
def test_a_processor_that_agrees(tmp_path: Path, processor: Any) -> None:
    """Or says nothing."""
    assert resolve(folder(tmp_path / "mine", processor), row=ROW).row == ROW


@pytest.mark.parametrize(("processor", "message"), [({"tiles": 2}, "tiles=2; expected 6"), ([], "expected an object")])
def test_a_processor_that_differs(tmp_path: Path, processor: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"processor_config\.json has .*{message}"):
        resolve(folder(tmp_path / "mine", processor), row=ROW)


def test_sizes_in_llm_config(tmp_path: Path) -> None:
    checkpoint = resolve(folder(tmp_path / "mine", text_config=None, llm_config={"hidden_size": 24}), row=ROW)
    assert (checkpoint.hidden_size, checkpoint.max_length) == (24, 64)


@pytest.mark.parametrize(
    ("ends", "got"),
    [
        ("$A", "nothing"),
        ("[CLS] $A", "[CLS]"),
        ("[SEP] $A [CLS]", "[SEP] and [CLS]"),
        ("[CLS] $A [MASK] [SEP]", "[CLS] and [MASK] and [SEP]"),
    ],
)
def test_a_tokenizer_that_adds_other_ends(ends: str, got: str) -> None:
    """The published code lets it add them, so they decide the prompt."""
    with pytest.raises(ConfigError, match=re.escape(f"adds {got} around a text; expected [CLS] and [SEP]")):
        builder_of(ROW, tokenizer(ends).to_str())


def test_images_are_refused_with_the_reason() -> None:
    builder = builder_of(ROW, tokenizer("[CLS] $A [SEP]").to_str())
    text, image = builder.build(
        items.mixed(["fox", noise(8, 8)]), role="query", task="retrieval", max_length=64, truncate="end"
    )
    assert not isinstance(text, InputError)
    assert str(image) == "items[1]: got an image; this checkpoint takes texts only: the engine cuts them otherwise."


@pytest.mark.parametrize(
    ("name", "value"), [("text", {1: 2}), ("processor", 5), ("unnamed", None), ("texts_only", 1), ("adds_ends", 1)]
)
def test_a_value_that_means_nothing(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"layouts\[0\]\.{name}="):
        checked(replace(ROW, layouts=(replace(LAYOUT, **{name: value}),)))
