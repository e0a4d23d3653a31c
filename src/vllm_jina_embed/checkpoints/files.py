"""Where a checkpoint's files lie on this machine.

Enters: a folder or a hub repository, and a file's name. Leaves: its path. Refuses to know what the file means.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import ConfigError


def local_file(location: str, name: str, revision: str | None) -> Path:
    """Return a checkpoint's file on this machine; a repository's is downloaded where it is missing.

    Raises:
        ConfigError: There is no such file.
    """
    if Path(location).is_dir():
        if not (file := Path(location) / name).is_file():
            raise ConfigError(f"{location!r} has no {name}; a native checkpoint of jina-embeddings-v4 has one.")
        return file
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(location, name, revision=revision))
    except Exception as error:  # the hub raises OSError, HTTP errors and its own
        raise ConfigError(f"{location!r}: {name} could not be fetched ({type(error).__name__}: {error}).") from None


def optional_json(location: str, name: str, revision: str | None) -> Any:
    """Return the content of a checkpoint's JSON file; None where it has no such file.

    Raises:
        ConfigError: It cannot be read or fetched.
    """
    try:
        file = Path(location) / name if Path(location).is_dir() else _downloaded(location, name, revision)
        return json.loads(file.read_text(encoding="utf-8")) if file is not None and file.is_file() else None
    except Exception as error:  # the hub raises OSError, HTTP errors and its own
        raise ConfigError(f"{location!r}: {name} cannot be read ({type(error).__name__}: {error}).") from None


@lru_cache(maxsize=64)
def _downloaded(repository: str, name: str, revision: str | None) -> Path | None:
    """Return where a file of a repository is on this machine; None where the repository has none."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(hf_hub_download(repository, name, revision=revision))
    except EntryNotFoundError:
        return None


# What decides vectors in a checkpoint's folder: weights, configuration, tokenizer.
_DECIDING = (".safetensors", ".bin", ".json", ".txt", ".model")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a checkpoint's JSON file.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(loaded, dict):
            raise ValueError(f"got a {type(loaded).__name__}, expected an object")
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{str(path)!r} cannot be read ({error}); a checkpoint folder holds a config.json.") from None
    return loaded


def files_state(location: str) -> str:
    """Return what tells the files of a checkpoint's folder from others put in their place; nothing for a repository.

    Names, sizes and times of change: reading gigabytes of weights would take too long.
    """
    folder = Path(location)
    if not folder.is_dir():
        return ""
    files = [*sorted(folder.iterdir()), *sorted(folder.glob("adapters/*"))]
    stats = [
        (path.relative_to(folder).as_posix(), path.stat())
        for path in files
        if path.suffix in _DECIDING and path.is_file()
    ]
    facts = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
