"""What makes the prompts of requests in a server of ours, without an engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vllm_jina_embed import settings
from vllm_jina_embed.engine.local.arguments import engine_arguments
from vllm_jina_embed.engine.plugin_contract import ROW_KEY, SERVED_TASK_KEY, TOKENIZER_MODE
from vllm_jina_embed.plugin import _register_for_server, register


@contextmanager
def server_renderer(model: str, *, task: str | None = None) -> Iterator[Any]:
    """Give the renderer of a server of ``model``, started as ``serve`` starts it."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.renderers import renderer_from_config

    register()
    _register_for_server()
    checked = settings.check(model=model, task=task)
    engine: Any = checked.engine
    arguments = engine_arguments(engine, cpu=True)
    arguments["hf_overrides"] |= {ROW_KEY: [engine.row.name, engine.row.digest], SERVED_TASK_KEY: checked.task}
    config = AsyncEngineArgs(**arguments, tokenizer_mode=TOKENIZER_MODE).create_engine_config()
    made = renderer_from_config(config)
    try:
        yield made
    finally:
        made.shutdown()
