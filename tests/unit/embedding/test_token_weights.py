"""Token weights, on an engine in memory: the largest of each id, none of a special one."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.in_memory import in_memory
from tests.support.unigram import make_unigram
from vllm_jina_embed.cache.embedder import CachedEmbedder
from vllm_jina_embed.checkpoints.registry import PUBLISHED
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.checkpoints.table.bge import BGE_M3, BGE_M3_COLBERT, XLM_ROBERTA
from vllm_jina_embed.embedding.token_weights import of_ids
from vllm_jina_embed.engine.local.arguments import engine_arguments
from vllm_jina_embed.errors import ConfigError, InputError
from vllm_jina_embed.settings import check

CONFIG = {
    "architectures": ["XLMRobertaModel"], "hidden_size": 64, "max_position_embeddings": 130, "pad_token_id": 1,
    "position_embedding_type": "absolute",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> str:
    place = tmp_path / "bge-m3"
    place.mkdir()
    (place / "config.json").write_text(json.dumps(CONFIG))
    (place / "tokenizer.json").write_text(make_unigram().to_str())
    for name in ("colbert_linear.pt", "sparse_linear.pt"):
        (place / name).write_bytes(b"0")
    return str(place)


def by_hand(text: str) -> dict[int, float]:
    """Return what the fake engine's weights give."""
    ids = make_unigram().encode(text).ids
    found: dict[int, float] = {}
    for place, one in enumerate(ids, 1):
        weight = place if place % 3 else 0
        if weight and one not in (0, 1, 2, 3):
            found[one] = max(found.get(one, 0.0), float(weight))
    return found


def test_an_id_has_its_largest_weight_and_none_that_is_0() -> None:
    weights = np.array([9, 0.5, 0.25, 0, 0.75, 8], dtype=np.float32)
    assert of_ids([0, 7, 8, 9, 7, 2], weights, without={0, 2}) == {7: 0.75, 8: 0.25}
    assert of_ids([0, 2], np.ones(2, dtype=np.float32), without={0, 2}) == {}
    with pytest.raises(ValueError, match="shorter"):
        of_ids([1, 2, 3], np.ones(2, dtype=np.float32), without=set())


async def test_texts_have_weights_by_the_row_that_names_them(folder: str) -> None:
    """In order, and the same awaited; special tokens around a text and unknown letters in it have none."""
    texts = ["the fox, the fox", "a \u2603 fox", "fox"]
    engines: list[FakeEngine] = []
    with in_memory(engines)(folder, row="bge-m3-colbert") as embedder:
        got = embedder.embed_sparse(texts)
        assert got == [by_hand(text) for text in texts] == await embedder.aembed_sparse(texts)
        assert all(got)
        assert 3 in make_unigram().encode(texts[1]).ids  # <unk>
        assert embedder.embed_sparse([]) == []
        with CachedEmbedder(embedder, ":memory:") as cached:
            assert cached.embed_sparse(texts[:1]) == got[:1]


def test_bad_texts_are_named_and_may_be_skipped(folder: str) -> None:
    with in_memory([])(folder, row="bge-m3-colbert", on_error="skip") as embedder:
        with pytest.warns(UserWarning, match=r"weights are empty: texts\[1\]"):
            got = embedder.embed_sparse(["fox", ""])
        assert (got[0], got[1]) == (by_hand("fox"), {})
    with in_memory([])(folder, row="bge-m3-colbert") as embedder, pytest.raises(InputError, match=r"texts\[0\]"):
        embedder.embed_sparse([3])  # type: ignore[list-item]


def test_other_rows_have_none_and_say_which_has(folder: str) -> None:
    engines: list[FakeEngine] = []
    with in_memory(engines)(folder) as embedder, pytest.raises(ConfigError, match=r"no token weights.*bge-m3-colbert"):
        embedder.embed_sparse(["fox"])
    assert engines == []


def test_the_row_is_taken_only_by_name(folder: str, caplog: pytest.LogCaptureFixture) -> None:
    """A folder of bge-m3 stays what it was, its fingerprint too, whatever lies beside its weights."""
    caplog.set_level(logging.WARNING)
    before = check(model=folder)
    assert before.checkpoint.row == XLM_ROBERTA
    assert PUBLISHED[BGE_M3].row == XLM_ROBERTA
    named = check(model=folder, row="bge-m3-colbert")
    assert named.checkpoint.row == BGE_M3_COLBERT
    assert (named.checkpoint.hidden_size, named.checkpoint.token_dimensions) == (64, 64)
    assert named.fingerprint != before.fingerprint
    (Path(folder) / "colbert_linear.pt").write_bytes(b"other")
    assert check(model=folder).fingerprint == before.fingerprint
    assert check(model=folder, row="bge-m3-colbert").fingerprint != named.fingerprint
    assert caplog.records == []
    other = Path(folder).parent / "any-encoder"
    Path(folder).rename(other)
    assert resolve(str(other)).row == XLM_ROBERTA


def test_vllm_is_told_of_both_files(folder: str) -> None:
    engine: Any = check(model=folder, row="bge-m3-colbert").engine
    told = engine_arguments(engine, cpu=False)["hf_overrides"]
    assert told["jina_pooling"] == "first_token"
    assert told["jina_projector"] == {"names": [], "file": "colbert_linear.pt", "skips_first": True, "skips": []}
    assert told["jina_token_weights"]["file"] == "sparse_linear.pt"
