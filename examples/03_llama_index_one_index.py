"""LlamaIndex: one ordinary index that ranks texts and images together.

The embedding is also the last transformation: it sees whole nodes, so images are embedded as images.

Run: python examples/03_llama_index_one_index.py
With a GPU and the real weights: MODEL = "jinaai/jina-embeddings-v4-vllm-retrieval", and image_document("photo.jpg").
"""

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter

from vllm_jina_embed.demo.drawing import draw
from vllm_jina_embed.llama_index import VllmJinaEmbedding, image_document, unified_retriever

MODEL = "demo"


def main() -> None:
    with VllmJinaEmbedding(MODEL) as embedding:
        documents = [
            Document(text="Ein wunderschöner Sonnenuntergang am Strand", doc_id="diary"),
            Document(text="a red circle", doc_id="shapes"),
            image_document(draw("blue star", seed=1, size=(200, 200)), caption="Logo", doc_id="logo"),
            image_document(draw("forest", seed=2, size=(320, 240)), doc_id="walk"),
        ]
        index = VectorStoreIndex.from_documents(
            documents, transformations=[SentenceSplitter(), embedding], embed_model=embedding
        )
        retriever = unified_retriever(index, similarity_top_k=1)
        for question in ("浜辺に沈む美しい夕日", "ein blauer Stern"):
            print(f"{question} -> {retriever.retrieve(question)[0].node.ref_doc_id}")
        query = embedding.image_query(draw("forest", seed=3, size=(240, 300)))
        print(f"another forest -> {retriever.retrieve(query)[0].node.ref_doc_id}")


if __name__ == "__main__":
    main()
