"""LangChain: texts and images in one vector store, searched by words and by image.

An image is a document whose content is a string, so any vector store takes it.

Run: python examples/02_langchain_one_store.py
With a GPU and the real weights: MODEL = "jinaai/jina-embeddings-v4-vllm-retrieval", and image_document("photo.jpg").
"""

from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore

from vllm_jina_embed.demo.drawing import draw
from vllm_jina_embed.langchain import VllmJinaEmbeddings, image_document

MODEL = "demo"


def main() -> None:
    with VllmJinaEmbeddings(model=MODEL) as embeddings:
        store = InMemoryVectorStore(embeddings)  # or Chroma, Qdrant, FAISS, LanceDB, PGVector, ...
        store.add_documents(
            [
                Document("Ein wunderschöner Sonnenuntergang am Strand", metadata={"source": "diary.txt"}),
                Document("a red circle", metadata={"source": "shapes.txt"}),
                image_document(draw("blue star", seed=1, size=(200, 200)), caption="Logo", metadata={"source": "logo"}),
                image_document(draw("forest", seed=2, size=(320, 240)), metadata={"source": "walk"}),
            ]
        )
        retriever = store.as_retriever(search_kwargs={"k": 1})
        for question in ("浜辺に沈む美しい夕日", "ein blauer Stern"):
            print(f"{question} -> {retriever.invoke(question)[0].metadata['source']}")
        image = image_document(draw("forest", seed=3, size=(240, 300)))  # a query by image is its string
        print(f"another forest -> {retriever.invoke(image.page_content)[0].metadata['source']}")


if __name__ == "__main__":
    main()
