"""A LangChain agent that sees the images it finds.

The chat model here follows a script, so that this runs offline. The tool, the agent and the engine are real.

Run: python examples/07_langchain_agent.py   (needs langchain)
With a GPU and the real weights: MODEL = "jinaai/jina-embeddings-v4-vllm-retrieval", and CHAT = any multimodal chat
model that calls tools, as init_chat_model(...) returns.
"""

from typing import Any

from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.vectorstores import InMemoryVectorStore

from vllm_jina_embed.demo.drawing import draw
from vllm_jina_embed.langchain import VllmJinaEmbeddings, image_document, image_retriever_tool

MODEL = "demo"


class Scripted(GenericFakeChatModel):
    """Calls the tool, then answers."""

    def bind_tools(self, tools: Any, **_: Any) -> "Scripted":  # type: ignore[override]
        return self


def call(query: str) -> AIMessage:
    arguments = {"name": "search_texts_and_images", "args": {"query": query}, "id": "1"}
    return AIMessage("", tool_calls=[arguments])


CHAT = Scripted(messages=iter([call("a blue star"), AIMessage("The logo is a blue star [1].")]))


def main() -> None:
    with VllmJinaEmbeddings(model=MODEL) as embeddings:
        store = InMemoryVectorStore(embeddings)
        store.add_documents(
            [
                image_document(
                    draw("blue star", seed=1, size=(200, 200)), caption="Our logo", metadata={"source": "logo"}
                ),
                image_document(draw("forest", seed=2, size=(320, 240)), metadata={"source": "walk"}),
                Document("a red circle", metadata={"source": "shapes.txt"}),
            ]
        )
        tool = image_retriever_tool(store.as_retriever(search_kwargs={"k": 2}))  # bounded number and size of images
        agent = create_agent(CHAT, tools=[tool])
        messages = agent.invoke({"messages": [HumanMessage("What does our logo look like?")]})["messages"]
    for message in messages:
        if isinstance(message, ToolMessage):  # what the chat model sees
            for block in message.content_blocks:
                print(block["text"] if block["type"] == "text" else f"<{block['type']} {block['mime_type']}>")
    print(f"answer: {messages[-1].content}")


if __name__ == "__main__":
    main()
