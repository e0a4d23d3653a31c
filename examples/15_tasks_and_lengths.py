"""Tasks, prompts by input type, short vectors, and long texts.

Run: python examples/15_tasks_and_lengths.py [MODEL [LENGTH]]
With a GPU and the real weights: MODEL = "jinaai/jina-embeddings-v3" with LENGTH = 32. vLLM by itself computes all of
its tasks by the last adapter; "BAAI/bge-m3" has one length, and says so.
"""

import sys

from vllm_jina_embed import ConfigError, JinaEmbedder

MODEL = "demo"
LONG = "A long report, which nobody will read to its end. " * 200


def main(model: str = MODEL, length: str = "32") -> None:
    with JinaEmbedder(model) as embedder:
        print("tasks:", ", ".join(embedder.checkpoint.tasks))
        by_task = {task: embedder.embed_queries(["a green table"], task=task) for task in embedder.checkpoint.tasks}
        for task, vector in by_task.items():
            print(f"  {task}: {vector.shape[1]} numbers, the first {vector[0, 0]:+.4f}")
        same = embedder.embed(["a green table"], input_type="search_query") == embedder.embed_queries(["a green table"])
        print("input_type='search_query' is the query's prompt:", bool(same.all()))
        try:
            print("short:", embedder.embed(["a green table"], dimensions=int(length)).shape)
        except ConfigError as error:
            print("refused:", error)
    for options in ({"truncate": "END"}, {"truncate": "START"}, {"long_text": "chunks"}):
        with JinaEmbedder(model, max_length=64, **options) as embedder:
            print(options, embedder.embed_passages([LONG])[0, :3].round(4).tolist())


if __name__ == "__main__":
    main(*sys.argv[1:])
