"""API keys and passwords are used, and shown nowhere: not in repr, asdict, pickles, messages or logs."""

from __future__ import annotations

import base64
import copy
import html
import json
import logging
import pickle
import re
import time
import traceback
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

import httpx
import pytest

from tests.support.fake_servers import PATHS, FakeServers, RawServer, config_of
from vllm_jina_embed import ConfigError, JinaEmbedder, VllmJinaError
from vllm_jina_embed._secrets import Hider, Secret, split_login
from vllm_jina_embed.engine.pool import EnginePool
from vllm_jina_embed.engine.remote import balancer, discover
from vllm_jina_embed.engine.remote.engine import RemoteEngine

pytestmark = pytest.mark.fire

KEY, PASSWORD = "sk-very-secret", "p%40ss-word"
PLAIN = "p@ss-word"


class Remote(JinaEmbedder):
    """Reaches the servers of this test."""

    servers: ClassVar[FakeServers]


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServers]:
    servers = FakeServers()
    pool = EnginePool(lambda config: RemoteEngine(config, transport=servers.transport))
    monkeypatch.setattr(Remote, "_pool", pool)
    monkeypatch.setattr(balancer, "PATIENCE", 0.05)
    monkeypatch.setattr(balancer, "HURRY", 0.05)
    yield servers
    pool.close()


def places(embedder: JinaEmbedder, where: discover.Remote) -> list[str]:
    """Return all that might show a secret."""
    things = [embedder, embedder.settings, embedder.settings.engine, where]
    shown = [repr(one) for one in things] + [embedder.settings.fingerprint, str(vars(embedder))]
    shown += [repr(asdict(one)) for one in (embedder.settings, embedder.settings.engine, where)]
    return shown + [pickle.dumps(one).decode("latin-1") for one in (embedder.settings, where, asdict(where))]


def test_a_key_is_sent_and_shown_nowhere(servers: FakeServers) -> None:
    sent = set()
    servers.fail = lambda request: sent.add(request.headers["authorization"])  # type: ignore[func-returns-value]
    where = discover.remote("http://a", api_key=KEY, timeout=5)
    with Remote.from_server("http://a", api_key=KEY) as embedder:
        embedder.embed(["a"])
        assert not [shown for shown in places(embedder, where) if "very-secret" in shown]
    assert sent == {f"Bearer {KEY}"}


def test_a_password_in_a_url_is_sent_and_shown_nowhere(servers: FakeServers, caplog: pytest.LogCaptureFixture) -> None:
    """It is the user name and password of basic authentication, percent-decoded; logs have the bare URL."""
    sent = set()
    servers.fail = lambda request: sent.add(request.headers["authorization"])  # type: ignore[func-returns-value]
    url = f"http://user:{PASSWORD}@a:81/v1/"
    where = discover.remote(url, api_key=None, timeout=5)
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="httpx")  # other packages of a test run have it quieter
    with Remote.from_server(url) as embedder:
        embedder.embed(["a"])
        shown = [*places(embedder, where), caplog.text]
    assert "http://a:81/v1/embeddings" in caplog.text
    assert not [one for one in shown if "ss-word" in one or "user:" in one]
    assert sent == {"Basic " + base64.b64encode(f"user:{PLAIN}".encode()).decode()}
    assert where.urls == ("http://a:81",)


@pytest.mark.parametrize("code", [200, 400, 401, 404, 500, 503])
def test_an_error_that_repeats_the_request_shows_no_secret(servers: FakeServers, code: int) -> None:
    """A server, or a proxy's debugging page, may send back all that it was sent."""

    def echo(request: httpx.Request) -> httpx.Response | None:
        if request.url.path not in PATHS:
            return None
        return httpx.Response(code, text=f"{request.url} {dict(request.headers)}")

    servers.fail = echo
    for url, key in (("http://a", KEY), (f"http://user:{PASSWORD}@a", None)):
        with (
            Remote.from_server(url, api_key=key) as embedder,
            pytest.raises(VllmJinaError, match="http://a") as caught,
        ):
            embedder.embed(["a"])
        token = base64.b64encode(f"user:{PLAIN}".encode()).decode()
        assert not [one for one in ("very-secret", "ss-word", token[:-4]) if one in str(caught.value)]


HARD = 'p"a/ss\\w+ö<d'
"""A password that every format writes in its own way."""
WRITINGS = {
    "plain": HARD,
    "JSON": json.dumps(HARD),
    "JSON in JSON": json.dumps(json.dumps(HARD)),
    "JSON of PHP": json.dumps(HARD).replace("/", r"\/").replace('\\"', r"\u0022"),
    "JSON of .NET": json.dumps(HARD).replace("+", r"\u002B").replace("<", r"\u003C"),
    "all of it as numbers": "".join(rf"\u{ord(letter):04x}" for letter in HARD),
    "percent-encoded": quote(HARD, safe=""),
    "percent-encoded twice": quote(quote(HARD)),
    "a form": urlencode({"at": HARD}),
    "HTML": html.escape(HARD),
    "repr": repr(HARD),
    "repr of bytes": repr(HARD.encode()),
    "Basic": base64.b64encode(f"user:{HARD}".encode()).decode(),
    "Basic for URLs": base64.urlsafe_b64encode(f"user:{HARD}".encode()).decode().rstrip("="),
}


@pytest.mark.parametrize("writing", WRITINGS)
@pytest.mark.parametrize("code", [200, 400, 500])
def test_a_password_is_hidden_however_it_comes_back(servers: FakeServers, writing: str, code: int) -> None:
    """As text, as JSON, and as JSON whose message is decoded before it is shown."""
    sent = WRITINGS[writing]
    for text in (f"got [{sent}]", json.dumps({"error": {"message": f"got [{sent}]"}})):
        body = text if code >= 300 else f"page {text}"
        servers.fail = lambda request, body=body: (  # type: ignore[misc]
            httpx.Response(code, text=body) if request.url.path in PATHS else None
        )
        with (
            Remote.from_server(f"http://user:{quote(HARD, safe='')}@a") as embedder,
            pytest.raises(VllmJinaError, match="http://a") as caught,
        ):
            embedder.embed(["a"])
        assert sent not in str(caught.value)
        shown = str(caught.value).partition("got [")[2].partition("]")[0]
        assert re.sub(r"\*\*\*|[\\\"'b=]|at", "", shown) == ""


@pytest.mark.parametrize(
    ("secrets", "text", "hidden"),
    [
        (["pass", "passwords"], "[passwords]", "[***]"),
        (["passwords", "words-of"], "[passwords-of]", "[***]"),
        (["aaaa"], "[aaaaaa]", "[***]"),
        (["pass", "word"], "[password] pass", "[******] ***"),
        (["abc"], "[abc]", "[abc]"),
        ([], "[abc]", "[abc]"),
    ],
)
def test_secrets_that_overlap_leave_nothing(secrets: list[str], text: str, hidden: str) -> None:
    """Whatever their order; those under four characters are no secret that could be told from words."""
    assert Hider(secrets)(text) == Hider(secrets[::-1])(text) == hidden


@pytest.mark.parametrize("secret", ["a" * 500 + "b", "\\" * 40 + "x", "%&" * 40 + "x"])
@pytest.mark.parametrize("unit", ["a", "\\", "%25", "&amp;", "\\u0061", "%&"])
def test_hiding_takes_no_time(secret: str, unit: str) -> None:
    """Whatever a server sends: nothing in the pattern can match in many ways."""
    begin = time.thread_time()  # other work counts for nothing
    Hider([secret])(unit * (8000 // len(unit)))
    assert time.thread_time() - begin < 5


def test_an_answer_that_is_not_http_shows_no_key() -> None:
    """The library's message quotes what came; neither ours nor a traceback shows it."""
    server = RawServer("/jina/checkpoint", lambda: [f"Authorization: Bearer {KEY}\r\n\r\n".encode()])
    with closing(server), pytest.raises(VllmJinaError, match=r"RemoteProtocolError.*\*\*\*") as caught:
        RemoteEngine(config_of(server.url, api_key=Secret(KEY), timeout=5))
    assert "very-secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("HTTP_PROXY", "ftp://u:pass-word@proxy:1", r"HTTP_PROXY='\*\*\*@proxy:1'"),
        ("all_proxy", "http://u:pa/ss-word@proxy:1", r"all_proxy='\*\*\*@proxy:1'"),
        ("https_proxy", "http://[::1", "https_proxy='http://"),
        ("NO_PROXY", "http://[::1", "NO_PROXY='http://"),
        ("SSL_CERT_FILE", "/no/such/file", "SSL_CERT_FILE='/no/such/file' .FileNotFoundError"),
        ("SSL_CERT_FILE", __file__, "SSL_CERT_FILE=.*SSLError"),
    ],
)
def test_a_variable_that_nothing_connects_with_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    """By our error, without what may be a password."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=f"server 'http://a'.*{words}") as caught:
        RemoteEngine(config_of("http://a", api_key=Secret(KEY), timeout=1))
    assert "ss-word" not in "".join(traceback.format_exception(caught.value))


def test_no_frame_of_an_error_of_the_start_has_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Error reporters show the variables of each frame."""
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    with pytest.raises(ConfigError) as caught:
        RemoteEngine(config_of("http://a", api_key=Secret(KEY), timeout=1))
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    ours = [frame for frame in shown.stack if "vllm_jina_embed" in frame.filename]
    assert ours
    assert not [frame for frame in ours if "very-secret" in str(frame.locals)]


def test_a_dead_server_with_a_password_is_named_without_it(servers: FakeServers) -> None:
    def refuse(request: httpx.Request) -> httpx.Response | None:
        raise httpx.ConnectError("refused", request=request)

    servers.fail = refuse
    with pytest.raises(VllmJinaError, match="http://a: ConnectError") as caught:
        Remote.from_server(f"http://user:{PASSWORD}@a")
    assert "ss-word" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "user:pa/ss-word@a:8000",
        "ftp://user:pass-word@a",
        "http://user:pass-word@a?x",
        "http://user:pass-word@a#x",
        "http://user:pass-word@",
        "http://user:pass-word@a:99999",
        "http://user:pass-word@a:port",
        "http://user:pass-word@[::1",
        "http://user:pa/ss-word@a",
        "http://user:80/ss-word@a",
        "http://user:pass-word@a b",
        "http://user:pass-word@a\x00",
        "http://user:pass-word@a\\b",
        "http://user:pass-word\ud800@a",
    ],
)
def test_a_url_that_is_none_shows_no_password(servers: FakeServers, url: str) -> None:
    """Whatever is wrong with it."""
    with pytest.raises(ConfigError, match=r"is not a URL.*gpu-box") as caught:
        Remote.from_server(url)
    assert "ss-word" not in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("url", ["http://a:0", "http://:80", "http://", "http://xn--a", 7, None, "http://" + "a" * 300])
def test_a_url_of_no_host_is_told(monkeypatch: pytest.MonkeyPatch, url: Any) -> None:
    """By our error, whether Python's parser or httpx's finds it."""
    monkeypatch.setattr(balancer, "HURRY", 0.05)
    with pytest.raises(VllmJinaError):
        Remote.from_server([url], timeout=1)


def test_a_key_and_a_password_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="only one of them"):
        discover.remote("http://user:word@a", api_key="key", timeout=1)


@pytest.mark.parametrize("timeout", [10**400, float("inf"), float("nan"), 1e300, -1, "3", None])
def test_a_timeout_that_is_no_time_is_told(timeout: Any) -> None:
    with pytest.raises(ConfigError, match="timeout="):
        discover.remote("http://a", api_key=None, timeout=timeout)


def test_other_keys_and_passwords_are_other_engines(servers: FakeServers) -> None:
    """And equal ones share one."""
    urls = ["http://a", "http://u:1@a", "http://u:2@a", "http://u:1@a/"]
    configs = {config for url in urls for config in [discover.remote(url, api_key=None, timeout=1)]}
    assert len(configs) == 3
    assert len({replace(config_of(), api_key=key) for key in ("one", "two", "one")}) == 2


def test_two_logins_of_one_server_are_two_members() -> None:
    where = discover.remote(["http://u:1@a", "http://v:1@a", "http://u:1@a"], api_key=None, timeout=1)
    assert where.urls == ("http://a", "http://a")


def test_a_secret_stays_behind_in_a_pickle_and_says_so(servers: FakeServers) -> None:
    """A copy in this process has it; one from a pickle asks for it when it is needed."""
    config = config_of("http://a", api_key=KEY)
    for same in (copy.copy(config), copy.deepcopy(config), replace(config, timeout=3)):
        assert same.api_key == Secret(KEY)
    lost = pickle.loads(pickle.dumps(config))
    assert lost != config
    assert isinstance(lost.api_key, Secret)
    with pytest.raises(ConfigError, match="is not pickled"):
        RemoteEngine(lost, transport=servers.transport)


def test_a_secret_shows_itself_on_demand_alone() -> None:
    secret = Secret(KEY)
    assert secret.reveal() == KEY
    assert not [text for text in (str(secret), repr(secret), f"{secret!s:>99}") if KEY in text]
    assert secret == Secret(KEY) != Secret("other")
    assert secret != KEY


def test_a_login_is_split_from_its_url() -> None:
    assert split_login("https://host:1/p") == ("https://host:1/p", None)
    assert split_login("https://u:p:q@[::1]:1/p") == ("https://[::1]:1/p", Secret("u:p:q"))
