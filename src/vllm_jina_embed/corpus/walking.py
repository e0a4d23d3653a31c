"""Which files of a folder are read."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
TEXTS = (".txt", ".md", ".markdown", ".rst")
PDF = ".pdf"
TEXT_BYTES = 64 * 1024 * 1024
"""Largest text file; it is held in memory while it is cut into pieces."""


def walk(root: Path, suffixes: Collection[str], *, skip: Path | None) -> Iterator[tuple[Path, OSError | None]]:
    """Yield the files and links below ``root`` with these suffixes, sorted; with its error a folder that has one.

    Hidden files and folders are passed over, and links to folders; there is no recursion, however deep they are.
    """
    waiting = [root]
    while waiting:
        path = waiting.pop()
        if path == skip:
            continue
        if path != root and (path.is_symlink() or not path.is_dir()):
            if path.suffix.lower() in suffixes:
                yield path, None
            continue
        try:
            names = sorted(os.listdir(path), reverse=True)  # noqa: PTH208  (names, of which some are passed over)
        except OSError as error:
            yield path, error
            continue
        waiting += [path / name for name in names if not name.startswith(".")]
