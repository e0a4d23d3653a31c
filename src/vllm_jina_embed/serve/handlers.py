"""The field ``input_type`` of requests to ``/v1/embeddings`` and ``/pooling``, which vLLM ignores without a word.

It chooses the role, and perhaps the task, of the texts and messages of a request.
"""

from __future__ import annotations

from typing import Any

from vllm.exceptions import VLLMValidationError

from ..checkpoints.checkpoint import Checkpoint
from ..engine.plugin_contract import PROMPT_KEY
from ..errors import ConfigError
from ..prompts.input_types import role_and_task

HANDLERS = ("serving_embedding", "serving_pooling")
"""Attributes of a server's application state: what answers the two paths, and ``/invocations``."""


class InputTypeHandler:
    """A handler of vLLM's that obeys ``input_type``; everything else is the handler's own."""

    def __init__(self, handler: Any, checkpoint: Checkpoint) -> None:
        self._handler, self._checkpoint = handler, checkpoint

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)

    async def __call__(self, request: Any, raw_request: Any = None) -> Any:
        """Answer a request."""
        told = (getattr(request, "model_extra", None) or {}).get("input_type")
        if told is not None:
            choose(request, told, self._checkpoint)
        return await self._handler(request, raw_request)


def choose(request: Any, input_type: Any, checkpoint: Checkpoint) -> None:
    """Write the role and task of an input type into a request, where the renderer finds them.

    Where each task has an adapter, which vLLM takes by the name of the model, the model becomes the task.

    Raises:
        VLLMValidationError: The checkpoint has no such input type, or the model names another task.
    """
    named = request.model if checkpoint.has_adapters and request.model in checkpoint.tasks else None
    try:
        role, task = role_and_task(checkpoint, None, input_type, named)
    except ConfigError as error:
        raise VLLMValidationError(str(error), parameter="input_type") from None
    others = getattr(request, "chat_template_kwargs", None)
    choice = {PROMPT_KEY: {"role": role, "task": task}}
    request.chat_template_kwargs = (others if isinstance(others, dict) else {}) | choice
    if task is not None and checkpoint.has_adapters:
        request.model = task


def obey_input_types(state: Any, checkpoint: Checkpoint) -> None:
    """Replace the handlers of a server's application state."""
    for name in HANDLERS:
        if (handler := getattr(state, name, None)) is not None:
            setattr(state, name, InputTypeHandler(handler, checkpoint))
