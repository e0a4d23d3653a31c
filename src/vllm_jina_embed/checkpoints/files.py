"""The files of a checkpoint, in a folder of this machine or in a repository of the hub.

Only ``locate`` decides which of the two a name means, and only ``Repository`` downloads; ``hub`` says
from where.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import ConfigError
from . import values

TOKENIZER = "tokenizer.json"
# Suffixes of the files that decide the vectors: weights, configuration, tokenizer.
_DECIDING = (".safetensors", ".bin", ".json", ".txt", ".model")


@dataclass(frozen=True, slots=True)
class Folder:
    """A checkpoint in a folder of this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def find(self, name: str) -> Path | None:
        """Return the path of a file; None if the folder has no such file."""
        file = self.path / name
        return file if file.is_file() else None

    def file(self, name: str) -> Path:
        """Return the path of a file.

        Raises:
            ConfigError: The folder has no such file.
        """
        if (file := self.find(name)) is None:
            raise ConfigError(f"{str(self)!r} has no {name}; copy the files of the checkpoint there.")
        return file

    @property
    def has_adapters(self) -> bool:
        """Whether the folder has adapters of several tasks."""
        return (self.path / "adapters").is_dir()

    def state(self, others: Collection[str] = ()) -> str:
        """Return a fingerprint of the files that decide vectors: names, sizes and modification times.

        Hashing gigabytes of weights would take too long.

        Args:
            others: Names of further files that decide those of this row.
        """
        places = ("*", "adapters/*", "adapters/*/*")
        files = [file for place in places for file in sorted(self.path.glob(place))]
        deciding = [path for path in files if (path.suffix in _DECIDING or path.name in others) and path.is_file()]
        stats = [(path.relative_to(self.path).as_posix(), path.stat()) for path in deciding]
        facts = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    @property
    def weights_bytes(self) -> int:
        """Size of the weights in bytes."""
        weights = [*self.path.glob("*.safetensors"), *self.path.glob("*.bin")]
        return sum(file.stat().st_size for file in weights)


@dataclass(frozen=True, slots=True)
class Repository:
    """A checkpoint in a repository of the hub; files are downloaded when they are needed.

    Attributes:
        name: ``owner/name``.
        revision: Commit, branch or tag; None for the newest.
    """

    name: str
    revision: str | None

    has_adapters = False  # the architecture in config.json says it instead

    def __str__(self) -> str:
        return self.name

    def state(self, others: Collection[str] = ()) -> str:
        """Return "": the revision identifies the files."""
        return ""

    def find(self, name: str) -> Path | None:
        """Return the path of a file in the hub's cache; None if the repository has no such file.

        Offline, a file that is not in the cache counts as missing.

        Raises:
            ConfigError: The file cannot be fetched.
        """
        from huggingface_hub.errors import EntryNotFoundError

        try:
            return _downloaded(self.name, name, self.revision)
        except EntryNotFoundError:
            return None
        except Exception as error:  # the hub raises OSError, HTTP errors and its own
            raise self._not_fetched(name, error) from None

    def file(self, name: str) -> Path:
        """Return the path of a file in the hub's cache.

        Raises:
            ConfigError: The repository has no such file, or it cannot be fetched.
        """
        try:
            return _downloaded(self.name, name, self.revision)
        except Exception as error:  # the hub raises OSError, HTTP errors and its own
            raise self._not_fetched(name, error) from None

    def _not_fetched(self, name: str, error: Exception) -> ConfigError:
        return ConfigError(f"{self.name!r}: {name} could not be fetched ({type(error).__name__}: {error}).")


Location: TypeAlias = "Folder | Repository"


def locate(name: str, revision: str | None = None) -> Location:
    """Return the folder of this name if it exists, else the hub's repository.

    Raises:
        ConfigError: The system cannot look for the folder: the path is too long, or may not be read.
    """
    path = Path(name)
    try:
        return Folder(path) if path.is_dir() else Repository(name, revision)
    except OSError as error:
        raise ConfigError(
            f"model={values.short(name)} cannot be looked up as a folder ({error.strerror}). "
            "Pass the name of a model or of a hub repository, or the path of a checkpoint folder."
        ) from None


def optional_json(location: Location, name: str) -> Any:
    """Return the content of a checkpoint's JSON file; None where it has no such file.

    Raises:
        ConfigError: The file cannot be read or fetched.
    """
    try:
        file = location.find(name)
        return None if file is None else json.loads(file.read_text(encoding="utf-8"))
    except ConfigError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{str(location)!r}: {name} cannot be read ({type(error).__name__}: {error}).") from None


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a checkpoint's JSON file.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(loaded, dict):
            raise ValueError(f"got a {type(loaded).__name__}, expected an object")
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{str(path)!r} cannot be read ({error}); a checkpoint folder holds a config.json.") from None
    return loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """The hub as this process uses it.

    Attributes:
        endpoint: Its address.
        folder: Where downloads are kept.
        is_offline: Whether downloads are switched off.
    """

    endpoint: str
    folder: Path
    is_offline: bool

    def cached(self) -> list[str]:
        """Return the names of the models in the cache, which have at least one revision there."""
        folders = sorted(self.folder.glob("models--*"))
        return [path.name for path in folders if any((path / "snapshots").glob("*/*"))]

    def holds(self, repository: str) -> bool:
        """Return whether the cache has a whole model, in its newest revision: config.json and all of its weights."""
        folder = self.folder / f"models--{repository.replace('/', '--')}"
        try:
            commit = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
            found = Folder(folder / "snapshots" / commit)
            index = optional_json(found, "model.safetensors.index.json") or {}
            shards = set(index.get("weight_map", {}).values())
            names = shards or {path.name for path in found.path.glob("*") if path.suffix in (".safetensors", ".bin")}
        except (OSError, ConfigError, AttributeError, TypeError):  # no such folder, or files that nobody can read
            return False
        return bool(names) and all(found.find(name) for name in ("config.json", *names))


def hub() -> Hub:
    """Return the hub as huggingface_hub's environment variables have it."""
    from huggingface_hub import constants

    return Hub(
        endpoint=constants.ENDPOINT, folder=Path(constants.HF_HUB_CACHE), is_offline=bool(constants.HF_HUB_OFFLINE)
    )


@lru_cache(maxsize=64)
def _downloaded(repository: str, name: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(repository, name, revision=revision))
