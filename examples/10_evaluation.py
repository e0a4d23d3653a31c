"""Evaluation with mteb: recall over the demo's images offline, or a whole benchmark with the real weights.

Run: python examples/10_evaluation.py   (needs mteb)
With a GPU and the real weights, which downloads the benchmark's pages:
     python examples/10_evaluation.py jinaai/jina-embeddings-v4-vllm-retrieval "ViDoRe(v1)"
     python examples/10_evaluation.py jinaai/jina-embeddings-v4-vllm-retrieval JinaVDR
"""

import sys
from typing import Any

import mteb
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata

from vllm_jina_embed.demo.corpus import demo_corpus
from vllm_jina_embed.mteb import VllmJinaEncoder

MAX_PIXELS = 37_788_800  # as for the paper's figures; the model's default is 602112


class DemoImages(AbsTaskRetrieval):
    """Questions in five languages to 77 drawings, one right answer each."""

    metadata = TaskMetadata(
        name="DemoImages",
        description="Questions in five languages to drawings.",
        type="DocumentUnderstanding",
        category="t2i",
        modalities=["text", "image"],
        dataset={"path": "none", "revision": "none"},
        eval_splits=["test"],
        eval_langs=["eng-Latn", "deu-Latn", "jpn-Jpan", "spa-Latn", "zho-Hans"],
        main_score="recall_at_1",
    )

    def load_data(self, **_: Any) -> None:
        corpus = demo_corpus()
        images = [item for item in corpus.items if item.is_image]
        queries = [query for query in corpus.queries if not query.is_image]
        data = {
            "queries": Dataset.from_list([{"id": query.name, "text": query.content} for query in queries]),
            "corpus": Dataset.from_dict(
                {"id": [item.name for item in images], "image": [item.content for item in images]}
            ),
            "relevant_docs": {q.name: {p.name: 1 for p in images if p.concept == q.concept} for q in queries},
            "top_ranked": None,
        }
        self.dataset = {"default": {"test": data}}
        self.data_loaded = True


def main(model: str = "demo", benchmark: str = "") -> None:
    settings = {"max_pixels": MAX_PIXELS} if benchmark else {}
    tasks = mteb.get_benchmark(benchmark).tasks if benchmark else [DemoImages()]
    with VllmJinaEncoder(model, **settings) as encoder:
        results = mteb.evaluate(encoder, tasks, cache=None if not benchmark else mteb.ResultCache())
    for result in results.task_results:
        print(f"{result.task_name}: {result.get_score():.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
