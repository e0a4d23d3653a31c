"""Names that this process and vLLM's processes share."""

from __future__ import annotations

ADAPTERS_KEY, TASKS_KEY = "jina_adapters", "jina_tasks"
"""Keys of ``hf_overrides``: the folder of a native checkpoint's adapter file, and the tasks in it."""


DEFAULT_TASK_KEY = "jina_multi_vector_task"
"""Key of ``hf_overrides``: whose multi-vectors a request gets that names no task; without it, raw token states."""


TASK_KEY = "jina_task"
"""Key of a request's ``extra_kwargs``: whose multi-vectors it gets."""


URGENT, PATIENT = -1, 0
"""Priorities of requests, lower first: questions that somebody waits for, and everything else.

Zero is vLLM's own default, so that a server's other clients make no questions of their documents.
"""


OWNER_VARIABLE = "JINA_EMBED_ENGINE_OWNER"
"""Environment variable with the id of our server's process: the processes that vLLM starts for it end with it."""


TOKENIZER_MODE = "vllm_jina_embed"
"""vLLM's name for how a server makes prompts of strings (``serve/renderer.py``)."""


CONNECTOR_VARIABLE, MEDIA_CONNECTOR = "VLLM_MEDIA_CONNECTOR", "vllm_jina_embed"
"""vLLM's variable and our name for how a server opens the images of requests (``serve/media_connector.py``)."""
