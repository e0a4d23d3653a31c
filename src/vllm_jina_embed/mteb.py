"""An encoder for the benchmark MTEB, for ``mteb.evaluate`` and ``mteb.mock_run``.

It translates mteb's task types and prompt types to tasks and roles.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from . import __version__
from ._arrays import Floats
from ._extras import require
from ._forks import fork_safe_lock
from .checkpoints import description
from .checkpoints.files import Repository, locate
from .checkpoints.mteb_tasks import TASKS_OF_TYPES
from .embedder import JinaEmbedder
from .errors import ConfigError, warn_of_items
from .inputs.items import EmbedInput
from .inputs.references import Text

require("mteb", "mteb.models")

from mteb.languages import PROGRAMMING_LANGS  # noqa: E402  (after the check, whose error holds the pip line)
from mteb.models import ModelMeta  # noqa: E402
from mteb.models.abs_encoder import AbsEncoder  # noqa: E402
from mteb.models.model_meta import ScoringFunction  # noqa: E402


class VllmJinaEncoder(AbsEncoder):
    """An encoder of mteb for texts and images, computed by vLLM in this process.

    A row with text and image is one item for a model that was trained with both together. Of any other model its
    embedding is the normalised sum of both, as in mteb's own wrapper of jina-embeddings-v4.
    An empty row is zero, and a warning counts such rows.

    Attributes:
        mteb_model_meta: Name, revision and settings, under which mteb stores results; needs no network.
    """

    def __init__(self, model: str = description.DEMO, *, task: str | None = None, **settings: Any) -> None:
        """Check the settings; the engine starts with the first batch.

        Args:
            model: As in ``JinaEmbedder``.
            task: One task for everything; None takes the task that fits mteb's, or else the checkpoint's own.
            **settings: Further keywords of ``JinaEmbedder``. The paper's figures are for ``max_pixels=37788800``.

        Raises:
            ConfigError: ``normalize=False`` with a model of images that was not trained for a text and an image
                together: their sum would depend on the lengths of both vectors. Or ``output_dtype`` is one of
                whole numbers, or as ``JinaEmbedder``.
        """
        self._keywords = {"model": model, **settings}
        self._task = task
        self._lock = fork_safe_lock(self)
        first = JinaEmbedder(task=task, **self._keywords)
        row = first.checkpoint.row
        if not first.settings.normalize and row.takes_images and not row.takes_both:
            first.close()
            raise ConfigError(
                f"normalize=False: of a text with an image, {row.label} has the sum of two vectors of L2 norm 1. Leave "
                "it out; mteb compares by the cosine."
            )
        if first.settings.output.is_whole:
            first.close()
            raise ConfigError(
                f"output_dtype={first.settings.output.dtype!r}: mteb compares floats by the cosine. Leave it out."
            )
        self._embedders = {first.task: first}
        self._checkpoint = first.checkpoint
        self.mteb_model_meta = _meta(first, {**({} if task is None else {"task": task}), **settings})

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str = "",
        hf_subset: str = "",
        prompt_type: Any = None,
        **kwargs: Any,
    ) -> Floats:
        """Return one embedding per row of ``inputs``, shape ``(n, dimension)``.

        Args:
            inputs: Batches with a list under ``text``, under ``image``, or under both.
            task_metadata: Decides the task.
            hf_split: Not used.
            hf_subset: Not used.
            prompt_type: ``document`` gives texts the passage prefix; anything else the query prefix.
            **kwargs: ``show_progress_bar``; vLLM makes its own batches.
        """
        embedder = self._embedder(task_metadata)
        counts: list[int] = []
        embeddings = embedder.embed_stream(
            _items(inputs, counts, together=self._checkpoint.row.takes_both),
            prompt_name="passage" if getattr(prompt_type, "value", prompt_type) == "document" else "query",
            show_progress=kwargs.get("show_progress_bar"),
        )
        return _rows(np.array(list(embeddings), dtype=np.float32).reshape(-1, embedder.settings.dimensions), counts)

    def close(self) -> None:
        """Give the engine back; further calls do nothing."""
        with self._lock:
            for embedder in self._embedders.values():
                embedder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _embedder(self, task_metadata: Any) -> JinaEmbedder:
        """Return the embedder for a task of mteb; those of one encoder share one engine."""
        task = self._task or task_of(task_metadata, self._checkpoint.tasks, self._checkpoint.row.name)
        with self._lock:
            if task not in self._embedders:
                self._embedders[task] = JinaEmbedder(task=task, **self._keywords)
            return self._embedders[task]


def task_of(metadata: Any, tasks: tuple[str, ...], row: str) -> str:
    """Return the task of a checkpoint for a task of mteb, as mteb's own wrapper of the model chooses it.

    Args:
        metadata: Its ``TaskMetadata``.
        tasks: The checkpoint's tasks; the first is returned where the fitting task is not among them. ``code``, where
            it is one, is for programming.
        row: The name of the checkpoint's row.
    """
    is_code = "Programming" in (metadata.domains or []) or not set(PROGRAMMING_LANGS).isdisjoint(metadata.languages)
    types = TASKS_OF_TYPES.get(row, {})
    task = "code" if is_code and "code" in tasks else types.get(metadata.type, "retrieval")
    return task if task in tasks else tasks[0]


def _items(inputs: Any, counts: list[int], *, together: bool = False) -> Iterator[EmbedInput]:
    """Yield every text and image of the batches in order; append the number in each row to ``counts``.

    Values under ``text`` are always texts: collections of code hold data URIs.

    Args:
        inputs: Batches with a list under ``text``, under ``image``, or under both.
        counts: Where the numbers go.
        together: Whether a text and an image of one row make one item.
    """
    for batch in inputs:
        columns = [batch[name] for name in ("text", "image") if name in batch]
        if "text" in batch:
            columns[0] = [Text(item) if isinstance(item, str) else item for item in columns[0]]
        for row in zip(*columns, strict=True):
            items = [item for item in row if item is not None and not (isinstance(item, str) and not item.strip())]
            if together and len(items) == 2:
                items = [{"text": items[0], "image": items[1]}]
            counts.append(len(items))
            yield from items


def _rows(embeddings: Floats, counts: list[int]) -> Floats:
    """Return the normalised sum of each row's embeddings; zeros for a row without any.

    With ``on_error="skip"`` bad items are left out: NaN would rank before every hit.
    """
    rows = np.zeros((len(counts), embeddings.shape[1]), dtype=np.float32)
    good = np.isfinite(embeddings).all(axis=1)
    np.add.at(rows, np.repeat(np.arange(len(counts)), counts)[good], embeddings[good])
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    fused = (np.array(counts) > 1) & (norms[:, 0] > 0)  # a row of one item stays as it is, bit for bit
    rows[fused] /= norms[fused]
    if empty := counts.count(0):
        warn_of_items(f"{empty} of {len(counts)} rows are empty; their embeddings are zero.", rows, stacklevel=3)
    return rows


def _meta(embedder: JinaEmbedder, settings: dict[str, Any]) -> ModelMeta:
    checkpoint = embedder.checkpoint
    engine = embedder.settings.engine
    is_repository = isinstance(locate(checkpoint.location), Repository)
    name = checkpoint.name if is_repository else f"vllm-jina-embed/{Path(checkpoint.name).name or 'checkpoint'}"
    return ModelMeta.create_empty(
        overwrites={
            "name": name,
            "revision": engine.revision or engine.files or "no_revision_available",
            "modalities": ["image", "text"] if checkpoint.supports_images else ["text"],
            "embed_dim": embedder.settings.dimensions,
            "max_tokens": embedder.settings.max_length,
            "similarity_fn_name": ScoringFunction.COSINE,
            "use_instructions": True,
            "framework": [f"vllm-jina-embed {__version__}"],
            "experiment_kwargs": {
                key: checkpoint.row.vectors if key == "row" else str(value) for key, value in settings.items()
            }
            or None,
        }
    )
