"""A LlamaIndex agent that sees the images it finds.

The chat model here follows a script, so that this runs offline. The tool, the agent and the engine are real.

Run: python examples/08_llama_index_agent.py
With a GPU and the real weights: MODEL = "jinaai/jina-embeddings-v4-vllm-retrieval", and llm = any multimodal LLM that
calls functions.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, ToolCallBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.node_parser import SentenceSplitter

from vllm_jina_embed.demo.drawing import draw
from vllm_jina_embed.llama_index import VllmJinaEmbedding, image_document, image_retriever_tool, unified_retriever

MODEL = "demo"
SEEN: list[str] = []


def script(messages: Sequence[ChatMessage], **_: Any) -> ChatMessage:
    """Call the tool, then answer; record what the tool returned."""
    if messages[-1].role != "tool":
        call = ToolCallBlock(
            tool_call_id="1", tool_name="search_texts_and_images", tool_kwargs={"query": "a blue star"}
        )
        return ChatMessage(role="assistant", blocks=[call])
    for block in messages[-1].blocks:
        text = f"<image {block.image_mimetype}>" if isinstance(block, ImageBlock) else block.text
        SEEN.append(text)
    return ChatMessage(role="assistant", content="The logo is a blue star [1].")


async def ask(embedding: VllmJinaEmbedding, index: VectorStoreIndex) -> str:
    tool = image_retriever_tool(unified_retriever(index, similarity_top_k=2), embedding=embedding)
    agent = FunctionAgent(tools=[tool], llm=MockFunctionCallingLLM(response_generator=script), streaming=False)
    return str(await agent.run("What does our logo look like?"))


def main() -> None:
    with VllmJinaEmbedding(MODEL) as embedding:
        documents = [
            image_document(draw("blue star", seed=1, size=(200, 200)), caption="Our logo", metadata={"source": "logo"}),
            image_document(draw("forest", seed=2, size=(320, 240)), metadata={"source": "walk"}),
            Document(text="a red circle"),
        ]
        steps = [SentenceSplitter(), embedding]
        index = VectorStoreIndex.from_documents(documents, transformations=steps, embed_model=embedding)
        answer = asyncio.run(ask(embedding, index))
    print(*SEEN, f"answer: {answer}", sep="\n")


if __name__ == "__main__":
    main()
