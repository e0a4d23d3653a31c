"""Call Qdrant's clients from any thread and any event loop; their errors become errors of this package."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .._extras import require
from .._secrets import HIDDEN, Hider, shown_by, split_login, user_and_password, without_login
from ..errors import ConfigError, EngineError

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient, QdrantClient


class Caller:
    """Calls a ``QdrantClient``, and an ``AsyncQdrantClient`` where there is one.

    The embedded Qdrant is plain Python over one SQLite connection, so its calls wait for each other.
    """

    def __init__(
        self,
        *,
        client: QdrantClient | None,
        async_client: AsyncQdrantClient | None,
        path: str | os.PathLike[str] | None,
        url: str | None,
        api_key: str | None,
    ) -> None:
        require("qdrant", "qdrant_client")
        places = {"client": client, "path": path, "url": url}
        names = [name for name, value in places.items() if value is not None]
        if len(names) > 1:
            raise ConfigError(f"{' and '.join(names)} each say where Qdrant is; pass one of them, or none for memory.")
        if async_client is not None and client is None:
            raise ConfigError("async_client goes with client=..., which makes the collection; pass both.")
        if api_key is not None and url is None:
            raise ConfigError("api_key goes with url=...; a client that you pass has its own.")
        login = split_login(url)[1] if isinstance(url, str) and "@" in url else None
        self._hide = Hider([api_key or "", *(shown_by(login) if login is not None else ())])
        self._own = client is None
        self._place = "Qdrant" if url is None else f"Qdrant at {without_login(url)}"
        self._client, self._async = (client, async_client) if client is not None else _clients(path, url, api_key)
        options = self._client.init_options
        embedded = options.get("location") == ":memory:" or options.get("path") is not None
        self._lock: contextlib.AbstractContextManager[Any] = threading.Lock() if embedded else contextlib.nullcontext()

    @property
    def client(self) -> QdrantClient:
        """The client; a caller of an embedded one takes care that no other thread calls it."""
        return self._client

    def call(self, name: str, **arguments: Any) -> Any:
        """Return the result of the client's method ``name``.

        Raises:
            EngineError: It fails; the client's own error is the cause, unless it would show a secret.
        """
        with self._translated(name), self._lock:
            return getattr(self._client, name)(**arguments)

    async def acall(self, name: str, **arguments: Any) -> Any:
        """Await ``call``."""
        if self._async is not None:
            with self._translated(name):
                return await getattr(self._async, name)(**arguments)
        return await asyncio.to_thread(self.call, name, **arguments)

    @contextlib.contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # qdrant-client's, httpx's, pydantic's, and those of its embedded store
            message = self._hide(str(error)[:8000])
            cause = error if HIDDEN not in message else None  # a traceback would show the secret
            message = " ".join(message.split())[:500]
            raise EngineError(f"{self._place}: {name} failed: {type(error).__name__}: {message}") from cause

    def close(self) -> None:
        """Close the clients that were created here; those that were passed in stay open."""
        if self._own:
            with self._lock:
                self._client.close()

    async def aclose(self) -> None:
        """Await ``close``."""
        if self._own and self._async is not None:
            await self._async.close()
        await asyncio.to_thread(self.close)


def _clients(
    path: str | os.PathLike[str] | None, url: str | None, api_key: str | None
) -> tuple[QdrantClient, AsyncQdrantClient | None]:
    """Return new clients.

    Raises:
        ConfigError: Qdrant's client refuses the URL or path; the message does not show the URL's password.
    """
    from qdrant_client import AsyncQdrantClient, QdrantClient

    options: dict[str, Any] = {}
    try:
        if url is not None:
            if "@" in url:  # the client would silently drop the user name
                url, login = split_login(url)
                options = {} if login is None else {"auth": user_and_password(login)}
            # Only the first client compares the versions, so that one warning is given.
            return QdrantClient(url=url, api_key=api_key, **options), AsyncQdrantClient(
                url=url, api_key=api_key, check_compatibility=False, **options
            )
        if path is not None:  # the lock above takes the place of SQLite's check
            return QdrantClient(path=os.fspath(path), force_disable_check_same_thread=True), None
        return QdrantClient(":memory:", force_disable_check_same_thread=True), None
    except ConfigError:
        raise
    except Exception as error:  # ValueError, RuntimeError, OSError and urllib3's own
        place = without_login(url) if url is not None else repr(path)
        raise ConfigError(f"Qdrant cannot be used at {place}: {type(error).__name__}: {error}") from error
