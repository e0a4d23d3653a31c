"""Where a checkpoint's files lie on this machine.

Enters: a folder or a hub repository, and a file's name. Leaves: its path. Refuses to know what the file means.
"""

from __future__ import annotations

from pathlib import Path

from .errors import ConfigError


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
