"""Keep the journal of a corpus: what it is made with, which shards are done, and which items have no vector.

    manifest.json          what decides the vectors and the items, as the first run wrote it
    part-00000.parquet     the rows of a shard (``parquet_parts``), or nothing of the kind in another store
    errors/part-00000.jsonl  its items without a vector: id, source, page, kind, message
    done/00000.json        written last: the shard is done

A shard is the entries from ``number * rows_per_file`` on, bad ones included. It is computed again if the digest of its
entries is another than the one in its done file, or if its part is not as long as it says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .._closing import Closing
from ..errors import ConfigError, VllmJinaError, WriteError
from .entries import Entry
from .files import commit, read_json, sync_folder, temporary, write_json
from .work import Result

MANIFEST, DONE, ERRORS = "manifest.json", "done", "errors"
FORMAT = 1


class Digest:
    """The digest of a shard's entries: their ids, and what tells another content."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, entry: Entry) -> None:
        """Add an entry."""
        parts = [entry.id.encode("utf-8", "surrogatepass"), b"" if entry.error is None else entry.error.kind.encode()]
        for part in [*parts, entry.signature]:
            self._hash.update(b"%d:" % len(part))
            self._hash.update(part)

    def text(self) -> str:
        """Return it in hexadecimal."""
        return self._hash.hexdigest()


class Journal(Closing):
    """The journal of a corpus in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._errors: Any = None
        self._number = -1

    # --- the manifest -----------------------------------------------------------------------------------------------

    def manifest(self) -> dict[str, Any] | None:
        """Return the manifest; None where there is none.

        Raises:
            ConfigError: It is broken, or of another version.
        """
        try:
            found = read_json(self.folder / MANIFEST)
        except FileNotFoundError:
            return None
        if found.get("format") != FORMAT:
            raise ConfigError(
                f"{str(self.folder / MANIFEST)!r} has format {found.get('format')!r}; expected {FORMAT}. It was "
                "written by another version."
            )
        return found

    def start(self, manifest: Mapping[str, Any]) -> None:
        """Make the folders and write the manifest, unless there is one already.

        Raises:
            WriteError: They cannot be written.
        """
        with self.writing():
            if not (self.folder / MANIFEST).exists():  # before anything else: without it this is not a corpus
                write_json(self.folder / MANIFEST, {"format": FORMAT, **manifest})
            for name in (DONE, ERRORS):
                (self.folder / name).mkdir(exist_ok=True)

    def clear(self) -> None:
        """Remove the journal; nothing where there is none.

        Raises:
            WriteError: They cannot be removed.
        """
        if self.manifest() is None:
            return
        with self.writing():
            for pattern in (f"{DONE}/*.json", f"{ERRORS}/part-*.jsonl"):
                for path in self.folder.glob(pattern):
                    path.unlink()
            sync_folder(self.folder)
            for name in (DONE, ERRORS):
                with suppress(OSError):  # it holds somebody's file
                    (self.folder / name).rmdir()
            (self.folder / MANIFEST).unlink()
            sync_folder(self.folder)

    # --- shards -----------------------------------------------------------------------------------------------------

    def done(self, number: int) -> dict[str, Any] | None:
        """Return what the done file of a shard says; None where it is not done.

        Raises:
            ConfigError: The file is broken; says how to go on.
        """
        path = self._done(number)
        try:
            return read_json(path)
        except FileNotFoundError:
            return None
        except ConfigError as error:
            raise ConfigError(f"{error} Delete it, and the shard is computed again.") from None

    def numbers(self) -> list[int]:
        """Return the numbers of the shards that are done, ascending."""
        if not (self.folder / DONE).is_dir():
            return []
        return sorted(int(path.stem) for path in (self.folder / DONE).glob("[0-9]*.json") if path.stem.isdigit())

    def begin(self, number: int) -> None:
        """Begin a shard: it is not done any more, and its errors are noted.

        Raises:
            WriteError: The disk is full, for example.
        """
        with self.writing():
            self.forget(number)
            for pattern in (f"{ERRORS}/.part-{number:05d}.jsonl.*.tmp", f"{DONE}/.{number:05d}.json.*.tmp"):
                for old in self.folder.glob(pattern):  # of a process that was killed
                    old.unlink(missing_ok=True)
            self._number = number
            self._errors = temporary(self._errors_of(number)).open("w", encoding="utf-8")

    def note(self, result: Result) -> None:
        """Note an item without a vector."""
        assert result.error is not None
        line = {
            "id": result.entry.id,
            "source": result.entry.source,
            "page": result.entry.page,
            "kind": result.error.kind,
            "message": str(result.error),
        }
        with self.writing():
            text = json.dumps(line, ensure_ascii=False)
            self._errors.write(text.encode("utf-8", "backslashreplace").decode() + "\n")

    def finish(self, number: int, record: Mapping[str, Any]) -> None:
        """Write the errors and then the done file of the shard that was begun."""
        with self.writing():
            path = self._errors_of(number)
            self._errors.close()
            self._errors = None
            commit(temporary(path), path)
            write_json(self._done(number), record)

    def forget(self, number: int) -> None:
        """Take back that a shard is done."""
        self._done(number).unlink(missing_ok=True)
        sync_folder(self.folder / DONE)

    def remove(self, number: int) -> None:
        """Remove what is known of a shard that there is no more."""
        self.forget(number)
        self._errors_of(number).unlink(missing_ok=True)

    def errors(self, number: int) -> Iterator[dict[str, Any]]:
        """Yield what was noted of the bad items of a shard that is done."""
        with self._errors_of(number).open(encoding="utf-8") as file:
            yield from map(json.loads, file)

    def close(self) -> None:
        """Give up the shard that was begun."""
        if self._errors is not None:
            with suppress(OSError):
                self._errors.close()
            self._errors = None
            with suppress(OSError):
                temporary(self._errors_of(self._number)).unlink()

    def writing(self) -> Writing:
        """Return a block in which a failed write is an error that says where and why."""
        return Writing(self.folder)

    def _done(self, number: int) -> Path:
        return self.folder / DONE / f"{number:05d}.json"

    def _errors_of(self, number: int) -> Path:
        return self.folder / ERRORS / f"part-{number:05d}.jsonl"


class Writing:
    """Turns an OSError into a ``WriteError`` with what was kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        """Raise the error of this package."""
        if isinstance(error, OSError) and not isinstance(error, VllmJinaError):
            raise WriteError(
                f"the corpus {str(self._folder)!r} cannot be written ({error.strerror or error}). Every finished shard "
                "is kept: make room and run the same command again."
            ) from error


def differences(stored: Mapping[str, Any], own: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return the settings that differ, as ``dimensions=512 (here 1024)``; empty where none does."""
    return ", ".join(
        f"{name}={stored.get(name)!r} (here {own.get(name)!r})" for name in names if stored.get(name) != own.get(name)
    )
