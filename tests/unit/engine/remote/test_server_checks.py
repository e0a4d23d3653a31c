"""What a server serves against what was asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.engine.config import RemoteConfig
from vllm_jina_embed.engine.remote.server_checks import compare_checkpoint, compare_starts
from vllm_jina_embed.engine.remote.server_facts import ServerFacts
from vllm_jina_embed.errors import ConfigError


def test_a_digest_that_appears_is_another_start() -> None:
    """A row of version 0.1 that was corrected has one, and the facts from before have none."""
    before = ServerFacts(
        checkpoint=resolve("demo"), revision=None, files="", dtype="float32", pooler_task="embed", projected=False,
        max_tokens=1, priority=True, models={}, version="1",
    )  # fmt: skip
    now = replace(before, checkpoint=replace(before.checkpoint, row=replace(before.checkpoint.row, code=2)))
    compare_starts(before, replace(before), "http://a")
    for first, second in ((before, now), (now, before)):
        with pytest.raises(ConfigError, match="row_digest="):
            compare_starts(first, second, "http://a")


def test_another_row_is_refused_by_its_name() -> None:
    """Both names in one line, not the fields of two rows."""
    config = RemoteConfig(location="", revision=None, min_pixels=3136, max_pixels=602112, servers=("http://a",))
    with pytest.raises(ConfigError) as caught:
        compare_checkpoint(config, resolve("BAAI/bge-m3"), resolve("demo"), "http://a")
    assert str(caught.value).startswith(
        "http://a: the server has row=Model('jina-v4') (demo); expected Model('xlm-roberta') (BAAI/bge-m3). Ask"
    )
