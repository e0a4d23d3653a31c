"""What is told of calls, engines and servers by OpenTelemetry, for whatever SDK the application has set up.

Where nothing has imported ``opentelemetry`` there is no SDK, so nothing is told and nothing imported; a call then looks
into ``sys.modules`` and goes on. Neither texts, images, vectors nor messages of errors are told: a message may quote a
text, so an error is told by the name of its type.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ._instruments import (
    ADDRESS,
    EMBEDDINGS,
    ERROR,
    FAILED,
    HITS,
    IMAGES,
    ITEMS,
    MISSES,
    MODALITY,
    MODEL,
    OPERATION,
    PORT,
    PROVIDER,
    RESTART,
    RESULT,
    STATUS,
    TOKENS,
    Attributes,
    extracted,
    injected,
    instruments,
    is_on,
    mark,
    spanned,
    timed,
)


@dataclass(slots=True, kw_only=True)
class Call:
    """One call, told when it ends.

    Attributes:
        common: Attributes of its span and of each of its metrics; see ``common``.
        kind: Further ones of its span and its duration.
        own: Further ones of its span alone.
        items: How many items of each modality it has; "" where the modality is not known.
        failed: How many of them have no result, by modality and type of error; None until that is known.
        images: How many images the items hold.
        tokens: Tokens of the prompts that were answered, images expanded.
        hits: Items that a cache had.
        misses: Items that a cache did not have.
    """

    common: Attributes
    kind: Attributes = field(default_factory=dict)
    own: Attributes = field(default_factory=dict)
    items: Counter[str] = field(default_factory=Counter)
    failed: Counter[tuple[str, str]] | None = None
    images: int = 0
    tokens: int = 0
    hits: int = 0
    misses: int = 0

    def count_prompt(self, modality: str, images: int) -> None:
        """Count one item of a server, which knows its items as they come."""
        self.items[modality] += 1
        self.images += images

    def fail(self, error: str) -> None:
        """Let all items have no result, unless it is known which."""
        if self.failed is None:
            self.failed = Counter({(modality, error): count for modality, count in self.items.items()})

    @property
    def name(self) -> str:
        """The span's name."""
        return f"{self.common[OPERATION]} {self.common[MODEL]}"

    @property
    def counts(self) -> dict[str, int]:
        """What its span tells at the end."""
        failed = 0 if self.failed is None else self.failed.total()
        counts = {ITEMS: self.items.total(), FAILED: failed, IMAGES: self.images, TOKENS: self.tokens}
        return counts | ({HITS: self.hits, MISSES: self.misses} if self.hits or self.misses else {})

    def tell(self) -> None:
        """Add what was counted to the metrics."""
        to, left = instruments(), self.items.copy()
        for (modality, error), count in (self.failed or {}).items():
            left[modality] -= count
            to.items.add(count, {**self.common, **_modality(modality), ERROR: error})
        for modality, count in (+left).items():
            to.items.add(count, {**self.common, **_modality(modality)})
        if self.images:
            to.images.add(self.images, self.common)
        if self.tokens:
            tokens = to.embeddings_tokens if self.common[OPERATION] == EMBEDDINGS else to.tokens
            tokens.record(self.tokens, self.common)
        for result, count in (("hit", self.hits), ("miss", self.misses)):
            if count:
                to.lookups.add(count, {**self.common, RESULT: result})


_CALL: ContextVar[Call | None] = ContextVar("vllm_jina_embed_call", default=None)
"""The call that runs in this context; tasks and threads that begin with a copy of the context add to it."""


def current() -> Call | None:
    """Return the call that runs in this context."""
    return _CALL.get()


def add_tokens(count: int) -> None:
    """Count the tokens of a prompt that was answered, where its call is told."""
    if (call := _CALL.get()) is not None:
        call.tokens += count


def add_lookups(hits: int, misses: int) -> None:
    """Count the items that a cache had, and those that it did not have, where the call is told."""
    if (call := _CALL.get()) is not None:
        call.hits += hits
        call.misses += misses


def common(operation: str, model: str, **own: str) -> dict[str, Any]:
    """Return the attributes that the span and the metrics of a call have in common; ``own`` are names of ours."""
    return {OPERATION: operation, PROVIDER: "vllm", MODEL: model, **own}


def address(urls: Sequence[str]) -> dict[str, Any]:
    """Return the attributes of a server; none of several, as it is not known which one will answer."""
    if len(urls) != 1:
        return {}
    parts = urlsplit(urls[0])
    return {ADDRESS: parts.hostname or "", PORT: parts.port or (443 if parts.scheme == "https" else 80)}


@contextmanager
def told(call: Call) -> Iterator[Call]:
    """Tell of a call when the block ends: its span, its duration, and what was counted in it."""
    token = _CALL.set(call)
    try:
        attributes = {**call.common, **call.kind}
        with timed(call.name, _duration(attributes), attributes, own=call.own, kind="CLIENT") as span:
            try:
                yield call
            except BaseException as error:
                call.fail(type(error).__name__)
                raise
            finally:
                span.set_attributes(call.counts)
    finally:
        _CALL.reset(token)
        call.tell()


@contextmanager
def compared(attributes: Attributes) -> Iterator[None]:
    """Tell of a call that is made of several, each of which is told too: its span and its duration."""
    if not is_on():
        yield
        return
    name = f"{attributes[OPERATION]} {attributes[MODEL]}"
    with timed(name, _duration(attributes), attributes, own={}, kind="INTERNAL"):
        yield


@contextmanager
def served(call: Call, headers: Mapping[str, str], status: Sequence[int]) -> Iterator[None]:
    """Tell of a request to this server when the block ends; its span continues the client's trace.

    Args:
        call: What is counted.
        headers: Those of the request.
        status: HTTP statuses, of which the last is that of the answer. Without one it is told as 500 after an error,
            and else as 499: the client has left.
    """
    token, begin = _CALL.set(call), time.perf_counter()
    try:
        with spanned(call.name, {**call.common, **call.own}, kind="SERVER", parent=extracted(headers)) as span:
            code = 499
            try:
                yield
            except BaseException:
                code = 500
                raise
            finally:
                code = status[-1] if status else code
                ended = {STATUS: code} | ({ERROR: str(code)} if code >= 400 else {})
                if code >= 400:
                    call.fail(str(code))
                if code >= 500:
                    mark(span)
                span.set_attributes({**call.counts, **ended})
                instruments().served.record(time.perf_counter() - begin, {**call.common, **ended})
    finally:
        _CALL.reset(token)
        call.tell()


@contextmanager
def engine_start(attributes: Attributes, *, restart: bool = False) -> Iterator[None]:
    """Tell how long an engine took to start; the prompts of its self-check count in no call."""
    token = _CALL.set(None)
    try:
        if is_on():
            with timed("engine start", "start", {**attributes, RESTART: restart}, own={}, kind="INTERNAL"):
                yield
        else:
            yield
    finally:
        _CALL.reset(token)


def server_lost(url: str) -> None:
    """Tell that a server did not answer."""
    if is_on():
        instruments().losses.add(1, address([url]))


def trace_headers() -> dict[str, str]:
    """Return the headers that carry the trace of this context to a server; none without a trace."""
    return injected()


def _duration(attributes: Attributes) -> str:
    """Return the histogram of a call: the conventions have one for embeddings, and one for operations without."""
    return EMBEDDINGS if attributes[OPERATION] == EMBEDDINGS else "duration"


def _modality(modality: str) -> dict[str, str]:
    return {MODALITY: modality} if modality else {}
