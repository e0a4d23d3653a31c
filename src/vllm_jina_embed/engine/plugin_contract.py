"""Names that the application and vLLM's own processes share."""

from __future__ import annotations

ADAPTERS_KEY, TASKS_KEY = "jina_adapters", "jina_tasks"
"""Keys of ``hf_overrides``: the folder of a native checkpoint's adapter file, and the tasks in it."""


DEFAULT_TASK_KEY = "jina_multi_vector_task"
"""Key of ``hf_overrides``: the task of the multi-vectors where a request names none; without it, raw token states."""


POOLING_KEY, LAYER_NORM_KEY = "jina_pooling", "jina_layer_norm"
"""Keys of ``hf_overrides``: the row's pooling, and whether a layer norm follows it (absent: none)."""


PROJECTOR_KEY, WEIGHTS_KEY = "jina_projector", "jina_token_weights"
"""Keys of ``hf_overrides``: where the row's ``projector`` and its ``token_weights`` are (absent: it has none)."""


ROWS_TASK, WEIGHTS_TASK = "multi_vector", "token_weights"
"""In place of a task, what a request asks of a row's own layers: multi-vectors, or the weight of each token."""


LINE_KEY = "jina_line"
"""Key of ``hf_overrides``: whether the patches of an image have positions in one line with the text (absent: not)."""


REVERSED_KEY = "jina_reversed"
"""Key of ``hf_overrides``: whether vLLM's class gives a text's states in reverse, to be put in order (absent: not)."""


POOLED_PREFIX = "Pooled"
"""Begins the architectures that are vLLM's own with our pooling: ``PooledQwen3ForCausalLM``."""


RANKING_PREFIX = "Ranking"
"""Begins the architectures that are vLLM's own rerankers, which give token states too: ``RankingQwen3ForCausalLM``."""


ROW_KEY = "jina_row"
"""Key of ``hf_overrides`` of a server: name and digest of the row that it serves."""


RANKER_KEY = "jina_ranker"
"""The same where the row is a reranker's."""


SERVED_TASK_KEY = "jina_served_task"
"""Key of ``hf_overrides`` of a server: the task of requests that name none."""


PROMPT_KEY = "jina_prompt"
"""Key of a request's ``chat_template_kwargs``: what decides the prompt of its messages or texts.

Either ``{"token_ids": [...]}``, the whole prompt of one item with images, one token or pieces for each image as in the
row; or ``{"role": ..., "task": ...}``, by which the server makes the prompt. A server without our renderer ignores it.
"""


ROWS_VARIABLE = "JINA_EMBED_ROWS"
"""Environment variable of a server with a row of the user's own, as ``package.module:NAME``, for its processes."""


TASK_KEY = "jina_task"
"""Key of a request's ``extra_kwargs``: the task of its multi-vectors."""


EMBEDDING_KEY = "jina_embedding"
"""Key of a request's ``extra_kwargs``: its rows come with the embedding, ``{"dimensions": ..., "normalize": ...}``.

The answer is one line of numbers: the embedding, then all rows.
"""


URGENT, PATIENT = -1, 0
"""Priorities of requests, lower first: questions that somebody waits for, and everything else.

Zero is vLLM's own default, so that the documents of a server's other clients are not urgent.
"""


QUESTION_SECONDS = 2.0
"""Seconds after a question for which documents take less room, for the next one."""


OWNER_VARIABLE = "JINA_EMBED_ENGINE_OWNER"
"""Environment variable with the id of our server's process: the processes that vLLM starts for it end with it."""


TOKENIZER_MODE = "vllm_jina_embed"
"""Name in vLLM of our way to make prompts of strings (``serve/renderer.py``)."""


ALLOCATOR, RETURN_MEMORY = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1048576"
"""The C library's variable, read when a process starts, and our value until a model has loaded: large blocks in huge
pages, which go back to the system. The plugin keeps them afterwards (``plugin/kept_memory.py``)."""


CONNECTOR_VARIABLE, MEDIA_CONNECTOR = "VLLM_MEDIA_CONNECTOR", "vllm_jina_embed"
"""vLLM's variable, and our value: how a server opens the images of requests (``serve/media_connector.py``)."""
