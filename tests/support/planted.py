"""Engines that are told something else than their row says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from vllm_jina_embed.engine.local import engine as local


def tell_vllm(
    monkeypatch: pytest.MonkeyPatch, overrides: Mapping[str, Any], *, pooler: Mapping[str, Any] | None = None
) -> None:
    """Let engines that start from now on get other values of these keys of ``hf_overrides``, and of the pooler's."""
    right = local.engine_arguments

    def planted(*args: Any, **options: Any) -> dict[str, Any]:
        arguments = right(*args, **options)
        other = {"pooler_config": arguments["pooler_config"] | dict(pooler)} if pooler else {}
        return arguments | other | {"hf_overrides": arguments["hf_overrides"] | overrides}

    monkeypatch.setattr(local, "engine_arguments", planted)
