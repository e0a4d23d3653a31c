"""What is told of the requests to a server: a span that continues the client's trace, and how long it took."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .._instruments import is_on
from .._telemetry import Call, add_tokens, common, current, served
from ..checkpoints.ranking import RankingCheckpoint
from .bodies import Message, Send

PATHS = {
    "/v1/embeddings", "/pooling", "/v2/embed", "/invocations",
    "/score", "/v1/score", "/rerank", "/v1/rerank", "/v2/rerank",
}  # fmt: skip
"""Paths that compute."""
ROUTE = "http.route"


@contextmanager
def observed(state: Any, scope: Message, path: str) -> Iterator[Callable[[Send], Send]]:
    """Tell of a request when the block ends, if its path computes.

    Args:
        state: vLLM's application state.
        scope: That of the request.
        path: Where it goes.

    Yields:
        What turns ``send`` into one that notes the status of the answer.
    """
    if not is_on() or path not in PATHS:
        yield lambda send: send
        return
    status: list[int] = []

    def noting(send: Send) -> Send:
        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                status.append(message["status"])
            await send(message)

        return noted

    checkpoint = state.jina_facts.checkpoint
    operation = "rerank" if isinstance(checkpoint, RankingCheckpoint) else "embeddings"
    call = Call(common=common(operation, checkpoint.name, **{ROUTE: path}))
    with served(call, {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}, status):
        yield noting


def count_item(prompt: Any) -> None:
    """Count an item that the engine is asked for: one of text, or one with images."""
    if (call := current()) is not None:
        places = prompt.get("mm_placeholders") if isinstance(prompt, Mapping) else None
        images = len((places or {}).get("image", ()))
        call.count_prompt("image" if images else "text", images)


def count_answer(output: Any) -> None:
    """Count the tokens of the prompt that the engine has answered."""
    add_tokens(len(output.prompt_token_ids))
