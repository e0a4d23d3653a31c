"""The form for the key, and who typed it in: a cookie that holds a random word, never the key."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from html import escape
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

FORM_BYTES = 4096
"""Longest body of the form."""
MOST = 256
"""People who are let in at the same time; who came first must type the key again."""
SECONDS_AFTER_A_WRONG_KEY = 0.5
FORM = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Key - vllm-jina-embed</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 24rem; padding: 15vh 1rem }}
input, button {{ font: inherit; padding: .6rem; width: 100%; box-sizing: border-box; margin: .4rem 0 }}
:focus-visible {{ outline: 3px solid #2f7de1; outline-offset: 2px }}
</style></head><body><main><h1>Key</h1><form method="post" action="key">
<label for="key">This page is open to people who know its key.</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<p role="alert">{problem}</p>
<button>Open</button></form></main></body></html>
"""
CSP = b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
# Under no-referrer a browser sends "Origin: null" with a form, which the guard refuses.
HEADERS = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", CSP),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
]


class Login:
    """Lets in browsers in which the key was typed, and programs that send it as ``Authorization: Bearer KEY``."""

    def __init__(self, api_key: str, *, seconds: float = SECONDS_AFTER_A_WRONG_KEY) -> None:
        """Take the key.

        Args:
            api_key: The key.
            seconds: How long the answer to a wrong key takes.
        """
        self._digest, self._seconds = digest(api_key), seconds
        # Cookies do not tell ports apart: two pages of one machine have names of their own.
        self._name = f"ui_{secrets.token_hex(6)}"
        self._words: OrderedDict[str, None] = OrderedDict()

    def is_in(self, scope: Any) -> bool:
        """Tell whether a request has the cookie or the key."""
        cookies = [value for name, value in scope["headers"] if name.lower() == b"cookie"]
        keys = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
        for value in cookies:
            try:
                morsel = SimpleCookie(value.decode("latin-1")).get(self._name)
            except CookieError:
                continue
            if morsel is not None and digest(morsel.value) in self._words:
                return True
        scheme, _, key = (keys[0] if len(keys) == 1 else b"").partition(b" ")
        return scheme.lower() == b"bearer" and self._is_key(key.strip().decode("latin-1"))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request of somebody who is not in: the form, or what the form sent."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["path"] == "/key" and scope["method"] == "POST":
            key = await self._sent_key(receive)
            if key is not None and self._is_key(key):
                await self._let_in(scope, send)
                return
            await asyncio.sleep(self._seconds)
            await self._answer(send, 401, "That is not the key.")
        elif scope["path"] == "/":
            await self._answer(send, 401, "")
        else:
            await self._answer(send, 401, "Type in the key first.")

    async def _sent_key(self, receive: Any) -> str | None:
        body = b""
        while len(body) <= FORM_BYTES:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        try:
            (key,) = parse_qs(body[: FORM_BYTES + 1].decode(), max_num_fields=4)["key"]
        except (ValueError, KeyError):  # not a form, or not one key
            return None
        return key.strip() if len(body) <= FORM_BYTES else None

    async def _let_in(self, scope: Any, send: Any) -> None:
        word = secrets.token_urlsafe(32)
        self._words[digest(word)] = None
        while len(self._words) > MOST:
            self._words.popitem(last=False)
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        cookie = f"{self._name}={word}; Path=/; HttpOnly; SameSite=Strict{secure}"
        headers = [(b"location", b"./"), (b"set-cookie", cookie.encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _answer(self, send: Any, status: int, problem: str) -> None:
        await send({"type": "http.response.start", "status": status, "headers": HEADERS})
        await send({"type": "http.response.body", "body": FORM.format(problem=escape(problem)).encode()})

    def _is_key(self, key: str) -> bool:
        """Tell whether it is the key; the time does not depend on it."""
        return secrets.compare_digest(digest(key), self._digest)


def digest(text: str) -> str:
    """Return a fingerprint of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
