"""Secrets that are used but never shown: API keys, and user names and passwords in URLs."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable
from functools import cached_property, lru_cache, partial
from typing import Any
from urllib.parse import unquote, urlsplit

from .errors import ConfigError

HIDDEN = "***"


class Secret:
    """A string that no ``repr``, message, ``asdict`` or pickle shows; ``reveal`` returns it.

    A copy within the process keeps the string. An unpickled secret is empty, and ``reveal`` raises, unless it was made
    with ``is_pickled=True``: then whoever reads the pickle reads the string.
    """

    __slots__ = ("_is_pickled", "_value")

    def __init__(self, value: str | None, *, is_pickled: bool = False) -> None:
        self._value, self._is_pickled = value, is_pickled

    def reveal(self) -> str:
        """Return the string.

        Raises:
            ConfigError: This object was unpickled, which loses the string.
        """
        if self._value is None:
            raise ConfigError(
                "an API key or password is not pickled, so this copy has none. Make the embedder where it is used, by "
                "JinaEmbedder.from_server(..., api_key=...); or pass pickle_api_key=True to from_server before it is "
                "pickled: then everybody who can read the pickle can read the key."
            )
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
        return partial(Secret, is_pickled=self._is_pickled), (self._value if self._is_pickled else None,)


def check_key(api_key: str | None) -> str | None:
    """Return ``api_key`` itself.

    Raises:
        ConfigError: It cannot stand in an HTTP header; the message does not show it.
    """
    if api_key is not None and not (isinstance(api_key, str) and re.fullmatch(r"[!-~]+", api_key)):
        raise ConfigError("api_key must be a string of ASCII letters, digits and punctuation, without spaces.")
    return api_key


def split_login(url: object, *, is_pickled: bool = False) -> tuple[str, Secret | None]:
    """Return a server's URL without user name and password, and these two as in the URL.

    Args:
        url: The URL.
        is_pickled: Whether a pickle holds the user name and the password.

    Raises:
        ConfigError: It is not an http URL with a host; the message hides everything before an ``@``.
    """
    if isinstance(url, str) and url.isprintable() and re.fullmatch(r"https?://[^\s/?#\\]+(/[^\s?#@]*)?", url):
        try:
            parts = urlsplit(url)
            if parts.hostname and (parts.port is None or parts.port > 0):
                login, _, place = parts.netloc.rpartition("@")
                return f"{parts.scheme}://{place}{parts.path}", Secret(login, is_pickled=is_pickled) if login else None
        except ValueError:
            pass  # a port out of range, or half an IPv6 address
    raise ConfigError(f"server {without_login(url)} is not a URL; expected one such as 'http://gpu-box:8000'.")


def without_login(url: object) -> str:
    """Return ``repr(url)``, shortened, without what may be a user name and a password: all before the last ``@``."""
    if isinstance(url, str) and "@" in url:
        url = f"{HIDDEN}@{url.rpartition('@')[2]}"
    return f"{url!r:.200}"


class Hider:
    """Replaces secrets by ``***``, also as they are written in JSON, URLs and HTML, and quoted again.

    Secrets under four characters stay: they would also match other text.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return ``text`` without the secrets; overlapping secrets are hidden as one."""
        if not self._secrets:
            return text
        parts: list[str] = []
        end = 0
        for match in self._pattern.finditer(text):
            start, stop = match.span(1)
            if start >= end:
                parts += [text[end:start], HIDDEN]
            end = max(end, stop)
        return "".join([*parts, text[end:]])

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        written = ["".join(map(_written, re.sub(r"\\+", r"\\", secret))) for secret in self._secrets]
        return re.compile(f"(?=({'|'.join(written)}))")  # a lookahead also finds overlapping secrets


@lru_cache(maxsize=256)
def _written(letter: str) -> str:
    """Return a pattern of a letter in all its encodings; JSON in JSON has several backslashes before it."""
    code, utf8, utf16 = ord(letter), letter.encode(), letter.encode("utf-16-be").hex()
    json = "".join(rf"\\{{1,8}}u{utf16[place : place + 4]}" for place in range(0, len(utf16), 4))
    quoted = "".join(rf"\\{{1,8}}x{byte:02x}" for byte in utf8)
    percent = "".join(f"%(?:25)*{byte:02x}" for byte in utf8)
    escaped = "|".join({json, quoted, percent, f"&#0*{code};", f"&#x0*{code:x};", html.escape(letter)} - {letter})
    if letter == "\\":
        return rf"(?:(?i:{escaped})|\\{{1,16}}+)"
    lost = "|\ufffd+" if code > 127 else ""  # in an answer decoded with another encoding
    return rf"(?:(?i:{escaped})|\\{{0,8}}{re.escape(letter)}{lost})"


def user_and_password(login: Secret) -> tuple[str, str]:
    """Return both parts of ``user:password``, percent-decoded."""
    user, _, password = login.reveal().partition(":")
    return unquote(user), unquote(password)


def basic(login: Secret) -> str:
    """Return the credentials of HTTP's basic authentication."""
    return base64.b64encode(":".join(user_and_password(login)).encode()).decode()


def shown_by(login: Secret) -> list[str]:
    """Return every form of ``login`` that a server may repeat in an answer; for ``Hider``."""
    user, password = user_and_password(login)
    token = basic(login).rstrip("=")
    return [user, password, f"{user}:{password}", token, token.translate(str.maketrans("+/", "-_"))]
