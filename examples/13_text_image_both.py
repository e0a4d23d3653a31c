"""A text, an image, and both as one item: the three inputs of vLLM's own example of multimodal embeddings.

Run: python examples/13_text_image_both.py [MODEL]
With a GPU and the real weights: MODEL = "royokong/e5-v", "Qwen/Qwen3-VL-Embedding-2B", or a folder with a merged
TIGER-Lab/VLM2Vec-Qwen2VL-2B; the prompts, which vLLM's example writes by hand, are the model's own here.
"""

import sys

from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.demo.drawing import draw

MODEL = "demo"
THINGS = ("blue star", "red circle", "green table")


def main(model: str = MODEL) -> None:
    images = [draw(thing, seed=1, size=(160, 160)) for thing in THINGS]
    # The demo was not trained with both together: it gets the mean of the two vectors, because it is asked for.
    with JinaEmbedder(model, fusion="mean" if model == MODEL else None) as embedder:
        inputs = {
            "text": [f"a {thing}" for thing in THINGS],
            "image": images,
            "text + image": [
                {"text": f"a {thing}", "image": image} for thing, image in zip(THINGS, images, strict=True)
            ],
        }
        questions = embedder.embed_queries(inputs["text"])
        for name, items in inputs.items():
            vectors = embedder.embed(items)
            print(f"{name}: {vectors.shape[0]} vectors of {vectors.shape[1]} numbers")
            for thing, best in zip(THINGS, (questions @ vectors.T).argmax(axis=1), strict=True):
                print(f"  a {thing} -> {THINGS[best]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
