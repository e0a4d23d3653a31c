"""A base class for objects with ``close``: it adds ``with``, ``async with`` and ``aclose``."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Closing:
    """Calls ``close``, which a subclass defines, at the end of a ``with`` block."""

    def close(self) -> None:
        """Release the object's resources; further calls do nothing."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Await ``close`` without blocking the loop."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        """Return the object itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()

    async def __aenter__(self) -> Self:
        """Return the object itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Close."""
        await self.aclose()
