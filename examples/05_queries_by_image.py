"""Queries by image in Chroma and Qdrant, through LangChain's own wrappers.

Run: python examples/05_queries_by_image.py   (needs langchain-chroma and langchain-qdrant)
With a GPU and the real weights: MODEL = "jinaai/jina-embeddings-v4-vllm-retrieval", and paths of your own images.
"""

import tempfile
from pathlib import Path
from uuid import uuid4

import chromadb
from langchain_chroma import Chroma
from langchain_qdrant import QdrantVectorStore

from vllm_jina_embed import MediaPolicy
from vllm_jina_embed.demo.drawing import draw
from vllm_jina_embed.langchain import VllmJinaEmbeddings, image_document

MODEL = "demo"
CONCEPTS = ("red circle", "blue star", "forest", "green table")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for seed, concept in enumerate(CONCEPTS):
            draw(concept, seed=seed, size=(240, 180)).save(root / f"{concept}.png")
        # With mode="reference" the stores hold a short string per image; the files stay where they are.
        media = MediaPolicy(allowed_root=root)
        documents = [image_document(file, mode="reference", media=media) for file in sorted(root.glob("*.png"))]
        ids = [str(uuid4()) for _ in documents]
        query = draw("forest", seed=77, size=(180, 240))
        with VllmJinaEmbeddings(model=MODEL, media=media) as embeddings:
            chroma = Chroma("images", embeddings, client=chromadb.EphemeralClient())
            chroma.add_documents(documents, ids=ids)
            qdrant = QdrantVectorStore.from_documents(documents, embeddings, location=":memory:", ids=ids)
            for name, store in (("Chroma", chroma), ("Qdrant", qdrant)):
                asked = image_document(query).page_content  # embed_image would give it a passage's prompt
                by_string = store.similarity_search(asked, k=1)[0]
                by_vector = store.similarity_search_by_vector(embeddings.embed_query(asked), k=1)[0]
                print(f"{name}: {by_string.metadata['image_path']}, {by_vector.metadata['image_path']}")
                print(f"{name}: {store.similarity_search('ein blauer Stern', k=1)[0].metadata['image_path']}")
            qdrant.client.close()


if __name__ == "__main__":
    main()
