"""The end of a life: what has ``close`` gets ``with``, ``async with`` and ``aclose``."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Closing:
    """Closes when its ``with`` block ends; a subclass says how by ``close``."""

    def close(self) -> None:
        """Give back what this object holds; further calls do nothing."""
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
