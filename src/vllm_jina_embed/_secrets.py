"""Values that are used but never shown: API keys, and the user names and passwords in URLs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote, urlsplit

from .errors import ConfigError

HIDDEN = "***"


class Secret:
    """A string that no ``repr``, message, ``asdict`` or pickle shows; ``reveal`` gives it.

    A copy within the process keeps it. One that went through a pickle is empty, and says so when it is needed.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str | None) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the string.

        Raises:
            ConfigError: It was left behind when this object was pickled.
        """
        if self._value is None:
            raise ConfigError("an API key or password does not travel in a pickle; pass it again where it is used.")
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __repr__(self) -> str:
        return f"Secret('{HIDDEN}')"

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Secret, (None,)


def split_login(url: object) -> tuple[str, Secret | None]:
    """Return a server's URL without user name and password, and these two as they stand in it.

    Raises:
        ConfigError: Not an http URL with a host; the message shows nothing that stands before an ``@``.
    """
    if isinstance(url, str) and url.isprintable() and re.fullmatch(r"https?://[^\s/?#\\]+(/[^\s?#@]*)?", url):
        try:
            parts = urlsplit(url)
            if parts.hostname and (parts.port is None or parts.port > 0):
                login, _, place = parts.netloc.rpartition("@")
                return f"{parts.scheme}://{place}{parts.path}", Secret(login) if login else None
        except ValueError:
            pass  # a port out of range, or half an IPv6 address
    raise ConfigError(f"server {without_login(url)} is no URL; expected one such as 'http://gpu-box:8000'.")


def without_login(url: object) -> str:
    """Return ``repr(url)``, shortened, without what may be a user name and a password: all before the last ``@``."""
    if isinstance(url, str) and "@" in url:
        url = f"{HIDDEN}@{url.rpartition('@')[2]}"
    return f"{url!r:.200}"


def hide(body: bytes, secrets: Iterable[str]) -> bytes:
    """Return ``body`` with ``***`` in place of each secret; those under four characters would hide what is not one."""
    for secret in secrets:
        if len(secret) >= 4:
            body = body.replace(secret.encode(), HIDDEN.encode())
    return body


def user_and_password(login: Secret) -> tuple[str, str]:
    """Return both parts of ``user:password``, percent-decoded."""
    user, _, password = login.reveal().partition(":")
    return unquote(user), unquote(password)
