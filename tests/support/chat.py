"""A chat model of LlamaIndex that follows a script and keeps what it was sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM

Step = Callable[[Sequence[ChatMessage]], ChatMessage]


def asks(tool: str, **arguments: Any) -> ChatMessage:
    """The model's message that calls a tool."""
    return ChatMessage(
        role="assistant",
        blocks=[ToolCallBlock(tool_call_id=f"call-{tool}", tool_name=tool, tool_kwargs=arguments)],
    )


def says(text: str) -> ChatMessage:
    """The model's last message."""
    return ChatMessage(role="assistant", content=text)


class ScriptedChat:
    """Answers with one step of the script after the other.

    Attributes:
        llm: To be given to an agent.
        heard: The messages that it was sent, one list per step.
    """

    def __init__(self, *steps: Step) -> None:
        self.heard: list[list[ChatMessage]] = []
        left = iter(steps)

        def answer(messages: Sequence[ChatMessage], **_: Any) -> ChatMessage:
            self.heard.append(list(messages))
            return next(left)(messages)

        self.llm = MockFunctionCallingLLM(response_generator=answer)
