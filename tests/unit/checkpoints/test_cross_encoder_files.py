"""Folders that sentence-transformers' ``CrossEncoder`` wrote: what says otherwise than the row is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vllm_jina_embed import JinaReranker, Layers, YesNo
from vllm_jina_embed.checkpoints.cross_encoder_files import check_words
from vllm_jina_embed.checkpoints.files import Folder
from vllm_jina_embed.checkpoints.resolve_ranker import resolve_ranker
from vllm_jina_embed.checkpoints.table.rerank import QWEN3_RERANKER
from vllm_jina_embed.errors import ConfigError

KINDS = {"Qwen3-Reranker-tuned": "Qwen3ForCausalLM", "bge-reranker-base": "XLMRobertaForSequenceClassification"}
TRANSFORMER = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}
WORDS = {"path": "1_LogitScore", "type": "sentence_transformers.cross_encoder.modules.logit_score.LogitScore"}
DENSE = {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}
IDS = {"yes": 9693, "no": 2152}.__getitem__
HEAD = YesNo(yes="yes", no="no")


def folder_of(tmp_path: Path, name: str = "Qwen3-Reranker-tuned", **files: Any) -> Path:
    """Write a folder with a config.json, and other files by their names, ``__`` for ``/``."""
    config = {"architectures": [KINDS[name]], "hidden_size": 64, "max_position_embeddings": 4096}
    for file, content in {"config": config, **files}.items():
        path = tmp_path / name / (file.replace("__", "/") + ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return tmp_path / name


@pytest.mark.parametrize(
    ("name", "modules", "message"),
    [
        ("Qwen3-Reranker-tuned", [TRANSFORMER], None),
        ("Qwen3-Reranker-tuned", [TRANSFORMER, WORDS], None),
        ("Qwen3-Reranker-tuned", [TRANSFORMER, WORDS, DENSE], "has Dense, .* expected Transformer, LogitScore"),
        ("bge-reranker-base", [TRANSFORMER], None),
        ("bge-reranker-base", [TRANSFORMER, WORDS], "has LogitScore, .* expected Transformer, as bge-reranker"),
        ("bge-reranker-base", {"a": 1}, "modules.json is "),
        ("bge-reranker-base", [{"type": 3}], "has type=3; expected a string"),
    ],
)
def test_other_modules_are_refused(tmp_path: Path, name: str, modules: Any, message: str | None) -> None:
    folder = folder_of(tmp_path, name, modules=modules)
    if message is None:
        assert resolve_ranker(str(folder)).location == str(folder)
        return
    with pytest.raises(ConfigError, match=message):
        resolve_ranker(str(folder))


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ((9693, 2152), None),
        ((2152, 9693), "compares the tokens 2152 and 9693; expected 9693 and 2152 .'yes' and 'no'."),
        ((16, 15), "compares the tokens 16 and 15"),
        ((9693, None), "compares the tokens 9693 and None"),
        (None, None),
    ],
)
def test_other_words_are_refused(tmp_path: Path, ids: Any, message: str | None) -> None:
    """In the other order too, and one alone; without the file nothing is said."""
    words = (
        {}
        if ids is None
        else {"1_LogitScore__config": dict(zip(("true_token_id", "false_token_id"), ids, strict=True))}
    )
    folder = Folder(folder_of(tmp_path, modules=[TRANSFORMER, WORDS], **words))
    if message is None:
        check_words(folder, HEAD, IDS)
        return
    with pytest.raises(ConfigError, match=message):
        check_words(folder, HEAD, IDS)
    check_words(folder, Layers(names=("a", "b"), activation="tanh"), IDS)  # such a head compares no words


def test_another_default_prompt_has_to_be_passed(tmp_path: Path) -> None:
    """Or the row's own; prompts that are not the default say nothing."""
    trained = "Given a claim, find what refutes it"
    for settings in (
        {"prompts": {"claim": trained}, "default_prompt_name": None},
        {"prompts": {"web": QWEN3_RERANKER.instruction}, "default_prompt_name": "web"},
        {"prompts": {"query": ""}, "default_prompt_name": "query", "activation_fn": "torch.nn.modules.linear.Identity"},
    ):
        assert JinaReranker(folder_of(tmp_path, config_sentence_transformers=settings)).settings.instruction
    told = {"prompts": {"claim": trained}, "default_prompt_name": "claim"}
    folder = folder_of(tmp_path, config_sentence_transformers=told)
    with pytest.raises(ConfigError, match=f"has the default prompt '{trained}'; Qwen3-Reranker has .*instruction="):
        JinaReranker(folder)
    for instruction in (trained, QWEN3_RERANKER.instruction):
        assert JinaReranker(folder, instruction=instruction).settings.instruction == instruction
    own = replace(QWEN3_RERANKER, name="claims", instruction=trained)
    assert JinaReranker(folder, row=own).settings.instruction == trained
    bge = folder_of(tmp_path, "bge-reranker-base", config_sentence_transformers=told)
    with pytest.raises(ConfigError, match=r"bge-reranker-v2-m3 has none.*row= with its template"):
        JinaReranker(bge)
