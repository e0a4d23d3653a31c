"""A second look at what any store found: MaxSim over all tokens, with no other model, in both frameworks.

Run: python examples/17_second_look.py   (needs langchain-classic)
With a GPU and the real weights: MODEL = "jinaai/jina-embeddings-v4", whose multi-vectors were trained for this.
"""

from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode

from vllm_jina_embed import JinaEmbedder, langchain, llama_index
from vllm_jina_embed.demo.drawing import draw

MODEL = "demo"
TEXTS = {"diary": "Ein wunderschöner Sonnenuntergang am Strand", "catalogue": "a green table"}
QUESTIONS = ("浜辺に沈む美しい夕日", "ein grüner Tisch", "una estrella azul")


def with_langchain(embedder: JinaEmbedder) -> None:
    store = InMemoryVectorStore(langchain.VllmJinaEmbeddings(embedder=embedder))
    documents = [Document(text, metadata={"source": source}) for source, text in TEXTS.items()]
    logo = langchain.image_document(draw("blue star", seed=3, size=(240, 180)), metadata={"source": "logo"})
    store.add_documents([*documents, logo])
    second = ContextualCompressionRetriever(
        base_retriever=store.as_retriever(search_kwargs={"k": 3}),
        base_compressor=langchain.MaxSimReranker(embedder=embedder, top_n=1),
    )
    for question in QUESTIONS:
        (best,) = second.invoke(question)
        print("LangChain:", question, "->", best.metadata["source"], f"{best.metadata['relevance_score']:.1f}")


def with_llama_index(embedder: JinaEmbedder) -> None:
    embedding = llama_index.VllmJinaEmbedding(embedder=embedder)
    nodes = [TextNode(text=text, id_=source) for source, text in TEXTS.items()]
    logo = llama_index.image_node(draw("blue star", seed=3, size=(240, 180)), id_="logo")
    index = VectorStoreIndex(embedding([*nodes, logo]), embed_model=embedding)
    retriever = llama_index.unified_retriever(index, similarity_top_k=3)
    reranker = llama_index.MaxSimReranker(embedder=embedding, top_n=1)  # or node_postprocessors=[reranker] of an engine
    for question in QUESTIONS:
        (best,) = reranker.postprocess_nodes(retriever.retrieve(question), query_str=question)
        print("LlamaIndex:", question, "->", best.node.node_id, f"{best.score:.1f}")


def main() -> None:
    with JinaEmbedder(MODEL) as embedder:
        with_langchain(embedder)
        with_llama_index(embedder)


if __name__ == "__main__":
    main()
