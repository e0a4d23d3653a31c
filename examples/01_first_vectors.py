"""First vectors: texts and images in one space, with no framework.

Run: python examples/01_first_vectors.py
With a GPU and the real weights: MODEL = "jinaai/jina-embeddings-v4-vllm-retrieval", and paths of your own images.
"""

from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.demo.drawing import draw

MODEL = "demo"
ITEMS = {
    "a sunset (image)": draw("sunset at the beach", seed=1, size=(320, 240)),
    "a blue star (image)": draw("blue star", seed=2, size=(200, 200)),
    "a forest (image)": draw("forest", seed=3, size=(240, 320)),
    "a green table (German text)": "eine grüne Tabelle",
}
QUESTIONS = ["浜辺に沈む美しい夕日", "a blue star", "un bosque", "a green table"]


def main() -> None:
    with JinaEmbedder(MODEL) as embedder:  # the engine starts with the first call
        items = embedder.embed(list(ITEMS.values()))  # float32, (4, dimension), rows of L2 norm 1
        questions = embedder.embed_queries(QUESTIONS)
    scores = questions @ items.T  # cosines
    for question, row in zip(QUESTIONS, scores, strict=True):
        print(f"{question} -> {list(ITEMS)[row.argmax()]} ({row.max():.2f})")


if __name__ == "__main__":
    main()
