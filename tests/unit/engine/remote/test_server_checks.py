"""What a server serves against what was asked for."""

from __future__ import annotations

import pytest

from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.engine.config import RemoteConfig
from vllm_jina_embed.engine.remote.server_checks import compare_checkpoint
from vllm_jina_embed.errors import ConfigError


def test_another_row_is_refused_by_its_name() -> None:
    """Both names in one line, not the fields of two rows."""
    config = RemoteConfig(location="", revision=None, min_pixels=3136, max_pixels=602112, servers=("http://a",))
    with pytest.raises(ConfigError) as caught:
        compare_checkpoint(config, resolve("BAAI/bge-m3"), resolve("demo"), "http://a")
    assert str(caught.value).startswith(
        "http://a: the server has row=Model('jina-v4') (demo); expected Model('xlm-roberta') (BAAI/bge-m3). Ask"
    )
