"""Handlers of LlamaIndex's events and spans that keep what they are sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from pydantic import Field

Handler = TypeVar("Handler")


class Recorder(BaseEventHandler):
    """Keeps the events."""

    seen: list[Any] = Field(default_factory=list)

    @classmethod
    def class_name(cls) -> str:
        return "Recorder"

    def handle(self, event: Any, **kwargs: Any) -> None:
        self.seen.append(event)


class Spans(SimpleSpanHandler):
    """Keeps the names of the spans."""

    names: list[str] = Field(default_factory=list)

    def new_span(self, id_: str, *args: Any, **kwargs: Any) -> Any:
        self.names.append(id_.partition("-")[0].partition(".")[2])
        return super().new_span(id_, *args, **kwargs)


def attached(handler: Handler, handlers: list[Any]) -> Iterator[Handler]:
    """Yield a handler that is one of ``handlers`` meanwhile."""
    handlers.append(handler)
    yield handler
    handlers.remove(handler)
