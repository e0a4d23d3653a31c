"""Open a corpus that may come from anybody, and make the embedder that its questions need.

Every fault is an error of this package that names the corpus, and what a manifest says runs no code and reads no file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..corpus import Corpus, embedder_of, open_corpus
from ..corpus.journal import MANIFEST
from ..corpus.parquet_parts import BITS, DTYPES, EMBEDDING, MULTI_VECTOR
from ..corpus.parquet_search import VECTORS
from ..corpus.search import stated_options
from ..embedder import JinaEmbedder
from ..errors import ConfigError, VllmJinaError
from ..frameworks.shown_text import visible
from ..inputs.policy import MediaPolicy

TABLE = "places"
"""The table of an index, in the index's folder; its journal is beside it."""
OLD = ("index.json", "places.jsonl", "embeddings.npy")
"""The files of an index of version 0.1."""
IMAGE_BYTES = 512 * 1024 * 1024
"""Largest image of a corpus; it may be larger than its file was, since a TIFF becomes a PNG."""
AGAIN = "Make it again: vllm-jina-embed index FOLDER INDEX"
TEXT, NUMBER, OPTIONAL = (str,), (int,), (type(None),)
SETTINGS: Mapping[str, tuple[type, ...]] = {
    "model": TEXT,
    "revision": TEXT + OPTIONAL,
    "row": TEXT,
    "task": TEXT,
    "dimensions": NUMBER + OPTIONAL,
    "token_dimensions": NUMBER + OPTIONAL,
    "pool_factor": NUMBER,
    "dtype": TEXT,
    "prompt_name": TEXT,
    "normalize": (bool,),
    "truncate": TEXT,
    "max_length": NUMBER + OPTIONAL,
    "long_text": TEXT + OPTIONAL,
    "fusion": TEXT + OPTIONAL,
    "min_pixels": NUMBER + OPTIONAL,
    "max_pixels": NUMBER + OPTIONAL,
    "engine_kwargs": TEXT,
}
"""Settings that a manifest holds of its vectors, with their types."""


def is_index(folder: Path) -> bool:
    """Tell whether a folder is an index that ``build`` wrote."""
    return (folder / f"{TABLE}.journal" / MANIFEST).is_file()


def is_old_index(folder: Path) -> bool:
    """Tell whether a folder is an index of version 0.1."""
    return all((folder / name).is_file() for name in OLD)


def opened(corpus: str | os.PathLike[str], *, journal: str | os.PathLike[str] | None = None) -> Corpus:
    """Return an index, or any other corpus by the name that the command ``embed`` was given as ``--out``.

    Args:
        corpus: The folder, or the name of a table.
        journal: Folder of a table's journal, where ``embed`` was given one.

    Raises:
        ConfigError: There is none, it is one of version 0.1, or it is broken; names it.
    """
    name = os.fspath(corpus)
    try:
        if "://" not in name:
            folder = Path(name).expanduser()
            if is_old_index(folder):
                raise ConfigError(f"{name!r} is an index of version 0.1 ({', '.join(OLD)}), which is not read. {AGAIN}")
            name = f"lancedb://{folder.absolute()}/{TABLE}" if is_index(folder) else name
        found = open_corpus(name, journal=journal)
        try:
            _check(found)
        except BaseException:
            found.close()
            raise
        return found
    except VllmJinaError:
        raise
    except Exception as error:  # a manifest or a file that somebody made up; the errors of its readers are not known
        what = visible(f"{type(error).__name__}: {error}")[:300]
        raise ConfigError(f"{os.fspath(corpus)!r} cannot be read as a corpus ({what}). {AGAIN}") from error


def embedder_for(
    corpus: Corpus, *, engine_kwargs: dict[str, Any] | None, media: MediaPolicy, make: type[JinaEmbedder] = JinaEmbedder
) -> JinaEmbedder:
    """Return the embedder of a corpus; nothing starts. Its weights are checked by the vectors, not by their dates.

    Args:
        corpus: As ``opened`` returns it.
        engine_kwargs: For vLLM; None takes those of the corpus.
        media: Limits for images.
        make: The class of the embedder.

    Raises:
        ConfigError: The model is not there, is described otherwise now, or the corpus wants arguments for vLLM that may
            run code.
    """
    if engine_kwargs is None:
        engine_kwargs = stated_options(corpus)
    return embedder_of(corpus, engine_kwargs=engine_kwargs, media=media, make=make)


def _check(corpus: Corpus) -> None:
    """Check what is read of the manifest.

    Raises:
        ConfigError: Something is missing or has another type; names it.
    """
    path = corpus.folder / MANIFEST
    vectors, items, columns = (corpus.manifest[name] for name in ("vectors", "items", "columns"))
    for name, types in SETTINGS.items():
        if not _is_good(vectors.get(name), types):
            raise _broken(path, name, vectors.get(name))
    rules = {
        "dtype": vectors["dtype"] in DTYPES,
        "dimensions": vectors["dimensions"] is not None or vectors["token_dimensions"] is not None,
        "engine_kwargs": isinstance(json.loads(vectors["engine_kwargs"]), dict),
        "sources": all(isinstance(source[name], str) for source in items["sources"] for name in ("root", "prefix")),
        "dpi": type(items["dpi"]) in (int, float) and 10 <= items["dpi"] <= 1200,
        "columns": all(isinstance(text, str) for pair in columns.items() for text in pair)
        and {name for name in columns if name in VECTORS} == _vector_columns(vectors),
    }
    for name, is_good in rules.items():
        if not is_good:
            raise _broken(path, name, {**items, **vectors, "columns": columns}[name])


def _vector_columns(vectors: Mapping[str, Any]) -> set[str]:
    """Return the columns that a corpus with these settings has for its vectors."""
    embedding = BITS if vectors["dtype"] == "binary" else EMBEDDING
    has = {embedding: vectors["dimensions"], MULTI_VECTOR: vectors["token_dimensions"]}
    return {name for name, length in has.items() if length is not None}


def _is_good(value: object, types: tuple[type, ...]) -> bool:
    """Tell whether a setting has one of the types; a number is over 0, and a text on one line."""
    if type(value) not in types:
        return False
    if isinstance(value, int) and not isinstance(value, bool):
        return 0 < value < 2**31
    return not isinstance(value, str) or visible(value) == value


def _broken(path: Path, name: str, value: object) -> ConfigError:
    return ConfigError(f"{str(path)!r} is broken: {name}={ascii(value)[:60]}. {AGAIN}")
