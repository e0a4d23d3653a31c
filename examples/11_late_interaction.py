"""Two-stage retrieval in Qdrant: embeddings find candidates, all their tokens rank them, in one query.

One index per framework in one embedded Qdrant; with url="http://localhost:6333" the same lines use a server.

Run: python examples/11_late_interaction.py   (needs qdrant-client)
With a GPU and the real weights: MODEL = "jinaai/jina-embeddings-v4", whose multi-vectors were trained for this.
"""

from langchain_core.documents import Document
from llama_index.core.schema import TextNode
from qdrant_client import QdrantClient, models

from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.demo.drawing import draw
from vllm_jina_embed.langchain import LateInteractionRetriever as LangChainRetriever
from vllm_jina_embed.langchain import image_document
from vllm_jina_embed.late_interaction import LateInteractionIndex
from vllm_jina_embed.llama_index import LateInteractionRetriever as LlamaIndexRetriever
from vllm_jina_embed.llama_index import image_node

MODEL = "demo"
TEXTS = {"diary": "Ein wunderschöner Sonnenuntergang am Strand", "catalogue": "a green table"}


def with_langchain(embedder: JinaEmbedder, client: QdrantClient) -> None:
    index = LateInteractionIndex(embedder, "langchain", client=client)
    retriever = LangChainRetriever(index=index, k=1)
    documents = [Document(text, metadata={"source": source}) for source, text in TEXTS.items()]
    logo = image_document(draw("blue star", seed=3, size=(240, 180)), metadata={"source": "logo"})
    retriever.add_documents([*documents, logo])
    retriever.add_documents([logo])  # the same document has the same id, so it is stored once
    print("LangChain:", index.count(), "items")
    image = image_document(draw("blue star", seed=8, size=(120, 160)))
    for query in ("浜辺に沈む美しい夕日", "ein grüner Tisch", image.page_content):
        print("LangChain:", query[:12], "->", retriever.invoke(query)[0].metadata["source"])
    only = models.Filter(must=[models.FieldCondition(key="metadata.source", match=models.MatchValue(value="logo"))])
    print("LangChain: filtered ->", retriever.invoke("ein grüner Tisch", filter=only)[0].metadata["source"])


def with_llama_index(embedder: JinaEmbedder, client: QdrantClient) -> None:
    retriever = LlamaIndexRetriever(LateInteractionIndex(embedder, "llama", client=client), similarity_top_k=1)
    nodes = [TextNode(text=text, id_=source) for source, text in TEXTS.items()]
    retriever.insert_nodes([*nodes, image_node(draw("blue star", seed=3, size=(240, 180)), id_="logo")])
    image = retriever.image_query(draw("blue star", seed=8, size=(120, 160)))
    for query in ("浜辺に沈む美しい夕日", "ein grüner Tisch", image):
        (best,) = retriever.retrieve(query)
        print("LlamaIndex:", str(query) or "an image", "->", best.node.node_id)


def main() -> None:
    client = QdrantClient(":memory:")
    with JinaEmbedder(MODEL) as embedder:
        with_langchain(embedder, client)
        with_llama_index(embedder, client)
        scores = embedder.score(["ein blauer Stern"], list(TEXTS.values()), multi_vector=True)
        print("MaxSim without an index:", scores.round(1).tolist())
    client.close()


if __name__ == "__main__":
    main()
