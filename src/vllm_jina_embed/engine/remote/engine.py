"""The engine over HTTP: one vLLM server or several behind it.

The only file that imports httpx. ``server.py`` sends requests to one server, ``server_checks.py`` checks what it
serves, ``balancer.py`` chooses between several.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from ..._arrays import Floats
from ..._secrets import HIDDEN, Hider, Secret, basic, shown_by, without_login
from ..._telemetry import trace_headers
from ...errors import ConfigError, EngineError, InputError, MissingExtraError
from ...prompts.base import Prompt
from ..config import RemoteConfig
from ..loop import LoopThread, Result
from ..protocol import TokenStates
from ..two_requests import both
from . import http, messages
from .any_server import AT_ONCE, AnyServer
from .balancer import Balancer, LostError
from .batching import Answers, Batches
from .http import Reply
from .messages import VectorRequest
from .ranking_facts import RankingFacts
from .ranking_server import RankingServer
from .server import Server
from .server_checks import compare_before
from .server_facts import ServerFacts

try:
    import httpx
except ModuleNotFoundError as error:
    if error.name != "httpx":
        raise
    raise MissingExtraError("client", "httpx") from None

CONNECT = 10.0
"""Seconds for a connection to come up."""
ENVIRONMENT = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"}
"""Variables that httpx reads, in small letters or capitals."""
PLACE = 500_000
"""Pixels that count as much in a server's load as one text."""


class HttpConnection:
    """Requests to one server over kept-alive connections; see ``http.Connection``."""

    def __init__(
        self, url: str, config: RemoteConfig, transport: httpx.AsyncBaseTransport | None, login: Secret | None = None
    ) -> None:
        self._url, self._timeout = url, config.timeout
        self._connect = min(CONNECT, config.timeout)
        self._client = _client(
            url,
            # Compressed, vectors are hardly smaller; and what is never unpacked cannot fill the memory.
            headers={"content-type": "application/json", "accept": "application/json", "accept-encoding": "identity"},
            timeout=httpx.Timeout(config.timeout, connect=self._connect),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=2 * AT_ONCE),
            transport=transport,
        )
        # After all that can fail with them among the variables of its frame.
        self.hide: Callable[[str], str] = _authorize(self._client, config, login)

    async def send(self, method: str, path: str, body: bytes | None, *, most: int) -> Reply:
        """Return the answer.

        Raises:
            LostError: There is none within the timeout, however much of it has come.
            EngineError: It is larger than ``most`` bytes, or cannot be decompressed.
        """
        begin = time.monotonic()
        try:
            request = self._client.stream(method, path, content=body, headers=trace_headers())
            async with asyncio.timeout(self._timeout), request as response:
                return await _reply(response, most, f"{self._url}{path}")
        except EngineError:
            raise
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise LostError(self._reason(error), took=time.monotonic() - begin) from error
        except (httpx.TimeoutException, TimeoutError) as error:
            raise LostError(f"no answer within timeout={self._timeout:g} s ({type(error).__name__})") from error
        except Exception as error:  # httpx's, and what slips through it from ssl, sockets and cookies
            reason = self._reason(error)
            # What it quotes of an answer that is not HTTP may be the request, and a traceback shows the cause.
            raise LostError(reason) from (error if HIDDEN not in reason else None)

    def _reason(self, error: Exception) -> str:
        """Return what went wrong, with what caused it where the error itself does not say."""
        return self.hide(f"{type(error).__name__}: {str(error) or repr(error.__cause__)}"[:4000])[:500]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class RemoteEngine:
    """One or several vLLM servers as one ``Engine``. Start-up waits until one of them answers."""

    in_flight = 512
    both = both

    def __init__(self, config: RemoteConfig, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Meet the servers.

        Args:
            config: Their URLs among it.
            transport: What carries the requests; None takes the network.

        Raises:
            ConfigError: A server serves something else, or refuses the API key.
            EngineDeadError: None of them answers.
        """
        self._config = config
        self._thread = LoopThread("vllm-jina-embed-server")
        self._balancer: Balancer[Any] | None = None  # of the servers of one kind
        start = self.run(self._start(transport))
        try:
            start.result()
        except BaseException:  # Ctrl-C included
            start.cancel()
            self.close()
            raise

    def run(self, job: Coroutine[object, object, Result]) -> concurrent.futures.Future[Result]:
        """See ``Engine.run``."""
        return self._thread.run(job)

    async def embed(
        self, prompt: Prompt, *, dimensions: int, task: str, urgent: bool = False, normalize: bool = True
    ) -> Floats:
        """See ``Engine.embed``; ``ConfigError`` where no server gives embeddings."""
        request = VectorRequest(kind="embed", task=task, dimensions=dimensions, urgent=urgent, normalize=normalize)
        return await self._batches.ask(request, prompt)

    async def multi_vector(self, prompt: Prompt, *, task: str, urgent: bool = False) -> Floats:
        """See ``Engine.multi_vector``; ``ConfigError`` where no server gives multi-vectors."""
        return await self._batches.ask(VectorRequest(kind="multi", task=task, urgent=urgent), prompt)

    async def token_states(self, prompt: Prompt, *, task: str) -> TokenStates:
        """See ``Engine.token_states``; ``ConfigError`` where no server gives them."""
        states = await self._batches.ask(VectorRequest(kind="states", task=task), prompt)
        ids = messages.expanded(prompt, **self._config.image_sizes)
        if len(ids) != len(states):
            raise EngineError(f"got {len(states)} states of an item whose images' tokens are counted as {len(ids)}.")
        return TokenStates(token_ids=ids, states=states)

    async def token_weights(self, prompt: Prompt, *, task: str) -> Floats:
        """Refuse: vLLM's requests have no place for it.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            "a server gives no token weights. Use JinaEmbedder in the process that needs them (embed_sparse)."
        )

    async def logit(self, prompt: Prompt, *, urgent: bool = False) -> float:
        """See ``Engine.logit``."""
        return float((await self._batches.ask(VectorRequest(kind="logit", task="", urgent=urgent), prompt))[0])

    def facts(self) -> tuple[ServerFacts | RankingFacts, bytes]:
        """Return what the servers tell: their facts, and the tokenizer.json that goes with them.

        Raises:
            ConfigError: None of them tells any: they are plain vLLM servers. Or they serve something else than what
                the configuration was made for.
            EngineDeadError: The one that tells them does not answer any more.
        """
        told = [(server.facts.tasks, server) for server in self._servers if server.facts is not None]
        if not told:
            raise ConfigError(
                f"{', '.join(self._config.servers)}: a plain vLLM server does not tell what it serves. Pass its "
                "checkpoint (a folder or a published name) as model=, or start it by 'vllm-jina-embed serve'."
            )
        _, server = max(told, key=lambda one: one[0])
        assert server.facts is not None
        if self._config.location:
            facts = [one.facts for one in self._servers if one.facts is not None]
            compare_before(self._config, facts, all_told=len(facts) == len(self._servers))
        assert self._balancer is not None
        job = self._balancer.call(AnyServer.tokenizer, can=lambda one: one is server)
        return server.facts, self.run(job).result()

    def close(self) -> None:
        """See ``Engine.close``."""
        if self._balancer is not None:
            servers, self._balancer = self._servers, None
            with contextlib.suppress(Exception):  # closed before, or in a fork
                self.run(_close(servers)).result()
        self._thread.close()

    @property
    def _servers(self) -> tuple[Any, ...]:
        return () if self._balancer is None else self._balancer.members

    async def _start(self, transport: httpx.AsyncBaseTransport | None) -> None:
        config = self._config
        places = zip(config.servers, config.logins or [None] * len(config.servers), strict=True)
        kind: type[Any] = RankingServer if config.ranks else Server
        servers = [kind(url, config, HttpConnection(url, config, transport, login)) for url, login in places]
        for server in servers:
            server.peers = servers
        self._balancer = Balancer(servers)
        self._batches: Batches[VectorRequest] = Batches(self._send)
        for error in await asyncio.gather(*(_met(server) for server in servers), return_exceptions=True):
            if error is not None:
                raise error
        if not any(server.known for server in servers):
            await self._balancer.call(AnyServer.meet)
        self.max_tokens = min(server.max_tokens for server in servers if server.known)

    async def _send(self, request: VectorRequest, prompts: list[Prompt]) -> Answers:
        """Return an array or an error per prompt; refused together, they are asked one by one."""
        if self._balancer is None:
            raise ConfigError("the engine is closed.")
        question = messages.Question(prompts)

        def job(server: Server | RankingServer) -> Coroutine[object, object, Answers]:
            return server.answer(request, prompts, question)

        try:
            return await self._balancer.call(job, weight=_weight(prompts), can=lambda server: server.can(request))
        except InputError as error:
            if len(prompts) == 1:
                return [error]
        parts = await asyncio.gather(*(self._send(request, [prompt]) for prompt in prompts))
        return [answer for part in parts for answer in part]


def _client(url: str, **options: Any) -> httpx.AsyncClient:
    """Return httpx's client for one server.

    Raises:
        ConfigError: The URL, or a variable of the environment that says how to get there, cannot be used. No message
            of httpx's about a URL is repeated: it may show a part of a proxy's password.
    """
    try:
        httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigError(f"server {url!r} is no URL ({error}).") from None
    try:
        return httpx.AsyncClient(base_url=url, **options)
    except Exception as error:  # of ssl, of sockets, and of reading URLs
        named = [f"{name}={without_login(value)}" for name, value in os.environ.items() if name.lower() in ENVIRONMENT]
        reason = type(error).__name__ + f": {error}" * isinstance(error, OSError | ImportError)
    raise ConfigError(
        f"server {url!r}: no connection can be made with {', '.join(named) or 'the proxies of this system'} "
        f"({reason}). Correct what is wrong there, or unset it."
    )


def _authorize(client: httpx.AsyncClient, config: RemoteConfig, login: Secret | None) -> Hider:
    """Let requests show what the server wants to be shown, and return what hides that."""
    if login is not None:
        client.headers["authorization"] = f"Basic {basic(login)}"
        return Hider(shown_by(login))
    if not isinstance(config.api_key, Secret):
        return Hider([])
    client.headers["authorization"] = f"Bearer {config.api_key.reveal()}"
    return Hider([config.api_key.reveal()])


async def _reply(response: httpx.Response, most: int, where: str) -> Reply:
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if response.is_stream_consumed:  # by a transport in memory, which has unpacked it
        chunks, encoding = response.aiter_bytes(), ""
    else:
        chunks = response.aiter_raw()
    if response.status_code >= 300:
        body = await http.read_error(chunks, encoding=encoding)
    else:
        body = await http.read(chunks, encoding=encoding, most=most, where=where)
    return Reply(status=response.status_code, headers=response.headers, body=body)


async def _met(server: AnyServer) -> None:
    """Meet a server; one that is lost is tried again when it is needed."""
    try:
        await server.meet()
    except LostError as error:
        server.failed(error)
    else:
        server.succeeded()


async def _close(servers: Sequence[AnyServer]) -> None:
    for server in servers:
        await server.close()


def _weight(prompts: Sequence[Prompt]) -> int:
    return len(prompts) + sum(image.width * image.height // PLACE for prompt in prompts for image in prompt.images)
