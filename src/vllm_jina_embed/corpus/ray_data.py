"""Embed a Ray Dataset, as a step of anybody's own pipeline.

from vllm_jina_embed.corpus.ray_data import embed_dataset
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .._extras import require
from ..embedder import JinaEmbedder
from ..engine.config import RemoteConfig
from ..errors import ConfigError
from ..inputs.references import image_string
from ..pooling.token_reduction import check_factor
from .entries import Columns, Content, Entry
from .job import Kinds, checked_vectors, positive
from .kinds import ItemError
from .parquet_parts import EMBEDDING, MULTI_VECTOR, Shape
from .rows import content_of
from .work import Result, Vectors, embedded, loaded

STATUS, ERROR, OK = "status", "error", "ok"
CALLS = 2
"""Blocks that an actor has under way, so that its engine does not run empty between two."""
OWN_CORES = 1
"""Cores for the tasks that read and write; a checkpoint's filter takes another."""
INIT_DEATHS = 3
"""Actors in a row that may end while they start, on a node that is short of memory for a moment."""


def embed_dataset(
    ds: Any,
    *,
    text: str | None = None,
    image: str | None = None,
    id: str | None = None,  # noqa: A002  (a column, as in Columns)
    model: str | os.PathLike[str] | JinaEmbedder = "demo",
    servers: str | Sequence[str] | None = None,
    api_key: str | None = None,
    num_gpus: float = 1,
    num_cpus: float = 1,
    concurrency: int | tuple[int, int] = 1,
    checkpoint: str | os.PathLike[str] | None = None,
    vectors: Kinds | None = None,
    pool_factor: int = 1,
    prompt_name: str = "passage",
    dtype: str = "float32",
    image_root: str | os.PathLike[str] | None = None,
    rows_per_block: int = 1024,
    ray_remote_args: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Any:
    """Return a Ray Dataset with the vectors of another one's rows, in one engine per actor or by servers.

    All columns stay. New are ``embedding`` (``fixed_size_list<float>[dimensions]``), ``multi_vector``
    (``list<fixed_size_list>``), or both; ``status``, which is ``ok`` or one of the kinds of ``docs/corpus.md``, and
    ``error``, the reason, null where there is none. No vector is null or zero: of a row with an error the embedding is
    all NaN, and the multi-vector has no token. ``write_parquet(out, partition_cols=["status"])`` keeps the two apart:
    ``status=ok`` holds vectors alone.

    Args:
        ds: A Ray Dataset.
        text: Column with the texts.
        image: Column with the images: files' bytes, data URIs, or paths inside ``image_root``. A row with both is one
            item of both.
        id: Column with ids that are unique, for ``checkpoint``; whole numbers take less memory than texts.
        model: As of ``JinaEmbedder``, or one, whose settings are taken.
        servers: URLs of ``vllm-jina-embed serve``: actors ask them, and take no GPU.
        api_key: Key of the servers; Ray's workers get it.
        num_gpus: GPUs of an actor; 0 on machines without.
        num_cpus: Cores that an actor reserves; Ray reads and writes with others.
        concurrency: How many actors, or the least and the most of them.
        checkpoint: Folder or URI, shared by the cluster, where Ray notes the ids of written rows: the same pipeline
            then goes on with the others. It needs a dataset that is read from files and written to files.
        vectors: ``embedding``, ``multi-vector`` or ``both``; None takes embeddings where the model has them.
        pool_factor: About how many tokens of a multi-vector become one row.
        prompt_name: ``passage`` or ``query``.
        dtype: ``float32`` or ``float16``, of all vectors.
        image_root: Folder of the images that are paths; None takes none.
        rows_per_block: Rows of a block, which is shared, tried again and noted as a whole; fewer for large images.
        ray_remote_args: More for the actors, such as ``accelerator_type``.
        **settings: As of ``JinaEmbedder``, such as ``dimensions``.

    Raises:
        ConfigError: A setting is wrong.
        MissingExtraError: Ray is not installed.
    """
    require("ray", "ray")
    from ray.data import ActorPoolStrategy

    if text is None and image is None:
        raise ConfigError("pass text=COLUMN, image=COLUMN or both: there is nothing to embed.")
    if dtype not in ("float32", "float16"):
        raise ConfigError(f"dtype={dtype!r}: expected float32 or float16, which can be NaN where there is an error.")
    embedder = _embedder(model, servers, api_key, settings)
    root = None if image_root is None else str(Path(image_root).expanduser().absolute())
    columns = Columns(text=text or "", image=image or "", image_root=root)
    what = checked_vectors(embedder, vectors, check_factor(pool_factor), prompt_name)
    _tell(ds.context, id, checkpoint)
    least, most = (concurrency, concurrency) if isinstance(concurrency, int) else concurrency
    _check_cores(least * num_cpus + OWN_CORES + (checkpoint is not None))
    blocks = ds.repartition(target_num_rows_per_block=positive("rows_per_block", rows_per_block))
    return blocks.map_batches(
        EmbedRows,
        fn_constructor_args=(what, columns, dtype),
        batch_size=None,  # a block
        batch_format="pyarrow",
        compute=ActorPoolStrategy(
            min_size=least, max_size=most, max_concurrent_calls_per_actor=CALLS, enable_true_multi_threading=True
        ),
        num_gpus=0 if isinstance(embedder.settings.engine, RemoteConfig) else num_gpus,
        num_cpus=num_cpus,
        **(ray_remote_args or {}),
    )


def _embedder(
    model: str | os.PathLike[str] | JinaEmbedder,
    servers: str | Sequence[str] | None,
    api_key: str | None,
    settings: Mapping[str, Any],
) -> JinaEmbedder:
    if isinstance(model, JinaEmbedder):
        if settings or servers:
            raise ConfigError(
                f"model is an embedder and has its settings; got also {', '.join(settings) or 'servers'}."
            )
        return model
    if servers:
        name = None if model == "demo" else model
        return JinaEmbedder.from_server(servers, model=name, api_key=api_key, pickle_api_key=True, **settings)
    return JinaEmbedder(model, **settings)


def _tell(context: Any, key: str | None, checkpoint: str | os.PathLike[str] | None) -> None:
    """Set what Ray holds for a whole dataset, of which each has its own context."""
    context.max_consecutive_actor_init_deaths = INIT_DEATHS
    if checkpoint is None:
        return
    if key is None:
        raise ConfigError("checkpoint=... needs id=COLUMN, by which rows are known again.")
    from ray.data.checkpoint import CheckpointConfig

    place = os.fspath(checkpoint)
    if "://" not in place:  # Ray takes no relative one
        place = os.path.abspath(place)  # noqa: PTH100
    context.checkpoint_config = CheckpointConfig(
        id_column=key, checkpoint_path=place, delete_checkpoint_on_success=False
    )


def _check_cores(needed: float) -> None:
    """Check that Ray's own tasks have cores beside the actors: Ray would wait for ever, and say nothing.

    Raises:
        ConfigError: They have none; a cluster of several machines may grow, and is not looked at.
    """
    import ray

    if not ray.is_initialized() or len(ray.nodes()) > 1:
        return
    cores = ray.cluster_resources().get("CPU", 0)
    if needed > cores:
        raise ConfigError(
            f"Ray has {cores:g} cores; the actors and the tasks that read, write and keep a checkpoint reserve "
            f"{needed:g}. Call ray.init(num_cpus={-(-needed // 1):g}), or pass a smaller num_cpus or concurrency."
        )


class EmbedRows:
    """Adds vectors to blocks, in a process of Ray; two threads call it."""

    def __init__(self, vectors: Vectors, columns: Columns, dtype: str) -> None:
        """Start the engine, so that Ray takes the actor for ready when it is."""
        settings = vectors.embedder.settings
        self._vectors, self._columns = vectors, columns
        self._shape = Shape(
            dimensions=settings.dimensions if vectors.embedding else None,
            token_dimensions=settings.checkpoint.token_dimensions if vectors.multi_vector else None,
            dtype=dtype,
            token_dtype=dtype,
            kept={},
        )
        vectors.embedder.backend.ready()

    def __call__(self, table: Any) -> Any:
        """Return a pyarrow table with the vectors, the status and the error of each row."""
        import pyarrow as pa

        columns = self._columns
        names = [name for name in (columns.text, columns.image) if name]
        added = [name for name in (EMBEDDING, MULTI_VECTOR) if name in self._shape.schema().names]
        if used := {*added, STATUS, ERROR} & set(table.column_names):
            raise ConfigError(f"the dataset has a column {sorted(used)[0]!r} already; rename it.")
        entries = [
            Entry(id="", source="", load=partial(content, row, columns), quick=not row.get(columns.image))
            for row in table.select(names).to_pylist()
        ]
        results = list(embedded(loaded(entries), self._vectors))
        errors = [result.error for result in results]
        status = [OK if error is None else error.kind for error in errors]
        new = self._shape.table([self._filled(result) for result in results])
        for name in added:
            table = table.append_column(new.schema.field(name), new[name])
        table = table.append_column(STATUS, pa.array(status, pa.string()))
        return table.append_column(ERROR, pa.array([error and str(error) for error in errors], pa.string()))

    def __del__(self) -> None:
        """End the engine before Ray ends the process, so that vLLM does not miss it."""
        if hasattr(self, "_vectors"):
            self._vectors.embedder.close()

    def _filled(self, result: Result) -> Result:
        """Return the result with what stands in the vector columns of a row with an error."""
        if result.error is not None:
            result.content = Content()
            if self._shape.dimensions is not None:
                result.embedding = np.full(self._shape.dimensions, np.nan, np.float32)
            if self._shape.token_dimensions is not None:
                result.multi_vector = np.zeros((0, self._shape.token_dimensions), np.float32)
        return result


def content(row: Mapping[str, Any], columns: Columns) -> Content:
    """Return what is embedded of a row.

    Raises:
        ItemError: There is nothing, a value of another type, or a path without a folder of images.
        InputError: The image cannot be opened.
    """
    value = row.get(columns.image)
    if columns.image_root is None and isinstance(value, str) and value and image_string(value) is None:
        raise ItemError("the image is a path, and image_root was not passed.", kind="image")
    return content_of(row, columns, Path(columns.image_root or "/"))
