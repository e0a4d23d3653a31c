"""What Qdrant and its client raise is an error of ours, that shows no password."""

from __future__ import annotations

import traceback
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient

from tests.support.fake_servers import RawServer
from vllm_jina_embed.errors import ConfigError, EngineError
from vllm_jina_embed.late_interaction.qdrant_client import Caller

pytestmark = [pytest.mark.fire, pytest.mark.filterwarnings("ignore:Failed to obtain server version")]

HEAD = b"Content-Type: application/json\r\nConnection: close\r\n\r\n"
EXISTS = "/collections/items/exists"


def caller(**places: Any) -> Caller:
    wanted = {"client": None, "async_client": None, "path": None, "url": None, "api_key": None, **places}
    return Caller(**wanted)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n" + HEAD + b"[" * 200_000,
        b"HTTP/1.1 200 OK\r\n" + HEAD + b"null",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n" + HEAD + b"garbage",
        b"HTTP/1.1 429 Slow\r\nRetry-After: soon\r\n" + HEAD,
        b"HTTP/1.1 500 Bad\r\n" + HEAD + b"\xff\x1b[2J",
        b"no HTTP at all",
        b"",
    ],
)
@pytest.mark.parametrize("awaited", [False, True])
async def test_an_answer_that_is_none_is_our_error(answer: bytes, awaited: bool) -> None:
    """It names the server and the call; what the client raised is its cause."""
    server = RawServer(EXISTS, lambda: [answer])
    made = caller(url=server.url.replace("http://", "http://user:pass-word@"))

    async def call() -> None:
        if awaited:
            await made.acall("collection_exists", collection_name="items")
        else:
            made.call("collection_exists", collection_name="items")

    try:
        with pytest.raises(EngineError, match=r"Qdrant at '.*@127\.0\.0\.1:\d+': collection_exists failed") as caught:
            await call()
    finally:
        await made.aclose()
        server.close()
    assert caught.value.__cause__ is not None
    assert str(caught.value).isprintable()
    assert "pass-word" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
@pytest.mark.parametrize("places", [{"login": "user:pass-word@"}, {"api_key": "pass-word"}])
def test_an_answer_that_repeats_the_request_shows_no_secret(places: dict[str, str]) -> None:
    """Neither in the message nor in the traceback, which shows the cause's."""
    token = b64encode(b"user:pass-word")
    body = b"HTTP/1.1 403 Forbidden\r\n" + HEAD + b'{"sent": "pass\\u002dword"} pass-word'
    body += b" " + token if "login" in places else b""
    server = RawServer(EXISTS, lambda: [body])
    url = server.url.replace("http://", f"http://{places.get('login', '')}")
    made = caller(url=url, api_key=places.get("api_key"))
    with closing(server), closing(made), pytest.raises(EngineError, match=r"403.*\*\*\*") as caught:
        made.call("collection_exists", collection_name="items")
    shown = "".join(traceback.format_exception(caught.value))
    assert not [one for one in ("pass-word", r"pass\u002dword", token.decode()) if one in shown]


def test_a_password_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Qdrant's own client would drop it in silence."""
    made: list[dict[str, Any]] = []
    for kind in (QdrantClient, AsyncQdrantClient):
        begin = kind.__init__
        note = lambda self, begin=begin, **given: made.append(given) or begin(self, **given)  # noqa: E731
        monkeypatch.setattr(kind, "__init__", note)
    caller(url="http://user:p%40ss@127.0.0.1:1").close()
    assert [(given["url"], given["auth"]) for given in made] == [("http://127.0.0.1:1", ("user", "p@ss"))] * 2


@pytest.mark.parametrize("url", ["http://user:pass-word@a:99999", "ftp://user:pass-word@a", "http://user:pass/-word@a"])
def test_a_url_that_is_none_shows_no_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        caller(url=url)
    assert "-word" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://a:99999", "ftp://a", "http://[::1"])
def test_a_url_that_qdrant_refuses_is_named(url: str) -> None:
    with pytest.raises(ConfigError, match="Qdrant cannot be used at"):
        caller(url=url)


def test_a_folder_that_is_in_use_is_named(tmp_path: Path) -> None:
    """The embedded Qdrant takes one client at a time."""
    first = caller(path=tmp_path)
    with pytest.raises(ConfigError, match=r"Qdrant cannot be used at .*already accessed"):
        caller(path=tmp_path)
    first.close()
    with pytest.raises(ConfigError, match="Qdrant cannot be used at"):
        caller(path="a\0b")
