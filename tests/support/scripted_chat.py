"""A chat model of LangChain that follows a script and keeps what it was sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

Step = Callable[[Sequence[BaseMessage]], AIMessage]


def asks(tool: str, **arguments: Any) -> AIMessage:
    """The model's message that calls a tool."""
    return AIMessage("", tool_calls=[{"name": tool, "args": arguments, "id": f"call {tool}", "type": "tool_call"}])


class ScriptedChat(BaseChatModel):
    """Answers with one step of the script after the other.

    Attributes:
        steps: What it does, given all messages so far.
        heard: The messages that it was sent, one list per step.
        tools: What was bound to it.
    """

    steps: list[Step]
    heard: list[list[BaseMessage]] = Field(default_factory=list)
    tools: list[Any] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> ScriptedChat:  # type: ignore[override]
        self.tools.extend(tools)
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self.heard.append(list(messages))
        message = self.steps[len(self.heard) - 1](messages)
        return ChatResult(generations=[ChatGeneration(message=message)])
