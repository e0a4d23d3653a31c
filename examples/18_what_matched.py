"""What each stage of a search thought of a hit, and which part of the image each word matched.

Run: python examples/18_what_matched.py   (needs qdrant-client; writes matched.png)
With a GPU and the real weights: MODEL = "jinaai/jina-embeddings-v4".
"""

from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.demo.drawing import draw
from vllm_jina_embed.late_interaction import LateInteractionIndex, maxsim_map

MODEL = "demo"
QUESTION = "a blue star"
CONCEPTS = ("green table", "blue star", "red circle")
IMAGES = {concept: draw(concept, seed=3, size=(280, 196)) for concept in CONCEPTS}


def main() -> None:
    with JinaEmbedder(MODEL) as embedder:
        index = LateInteractionIndex(embedder)
        index.add(IMAGES.values(), payloads=[{"name": name} for name in IMAGES])
        for hit in index.search(QUESTION, k=3):
            print(hit.payload["name"], {stage: round(score, 2) for stage, score in hit.scores.items()})
        for stages in (["embedding"], ["maxsim"]):
            (best,) = index.search(QUESTION, k=1, stages=stages)
            print(f"by {stages[0]} alone:", best.payload["name"])

        found = maxsim_map(embedder, QUESTION, IMAGES["blue star"])
        print("patches:", "{} x {}".format(*found.grid))
        for match in found.matches:
            where = "the prompt" if match.patch is None else f"patch {match.patch}"
            print(f"{match.token!r} matches {where} by {match.value:.2f}")
        found.picture().save("matched.png")
        (best,) = index.search(QUESTION, k=1)
        print("the sum is the score:", abs(found.score - best.score) < 0.01)


if __name__ == "__main__":
    main()
