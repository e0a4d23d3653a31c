"""Limits on images and on the places that they come from."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPolicy:
    """Limits on what images may cost and where they may come from.

    Attributes:
        allow_local_files: Whether strings and paths may name files.
        allowed_root: Folder that files must lie in (links resolved), and that references are relative to; None allows
            every file and no reference.
        max_bytes: Largest encoded image, in bytes.
        max_pixels: Largest decoded image, in pixels (guards against decompression bombs). It replaces Pillow's own
            limit, which stays as it is.
        max_memory: Most bytes that opening one image may hold beside its RGB pixels (3 bytes each), estimated from
            its format, mode and size before it is decoded. None allows 400 MiB, or 4.1 bytes for each of ``max_pixels``
            where that is more: enough for 96 megapixels of JPEG or PNG in any mode, and for about 30 of WebP, which
            holds 16 bytes a pixel while it is decoded. All images that are decoded at the same time share 1 GB;
            further ones wait.
    """

    allow_local_files: bool = True
    allowed_root: str | os.PathLike[str] | None = None
    max_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 100_000_000
    max_memory: int | None = None

    @property
    def memory(self) -> int:
        """Most bytes that opening one image may hold beside its RGB pixels."""
        return max(400 * 2**20, 41 * self.max_pixels // 10) if self.max_memory is None else self.max_memory
