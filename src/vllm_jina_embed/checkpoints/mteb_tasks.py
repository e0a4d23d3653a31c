"""The task of a row for each of mteb's types of tasks, as mteb's own wrapper of the model chooses it.

Source: mteb 2.26, model_implementations/jina_models.py (model_prompts of jina_embeddings_v3, of jina_embeddings_v4, and
of jina_embeddings_v5_text_small and _nano) and nomic_models.py (model_prompts).
"""

from __future__ import annotations

JINA_V5 = {
    "Clustering": "clustering",
    "Classification": "classification",
    "MultilabelClassification": "classification",
    "STS": "text-matching",
    "PairClassification": "text-matching",
    "BitextMining": "text-matching",
    "Summarization": "text-matching",
}
TASKS_OF_TYPES: dict[str, dict[str, str]] = {
    "jina-v4": {"STS": "text-matching", "PairClassification": "text-matching"},
    "jina-v3": {
        "Clustering": "separation",
        "Reranking": "separation",
        "Classification": "classification",
        "MultilabelClassification": "classification",
        "PairClassification": "classification",
        "STS": "text-matching",
        "BitextMining": "text-matching",
        "Summarization": "text-matching",
    },
    "jina-v5-small": JINA_V5,
    "jina-v5-nano": JINA_V5,
    "nomic-embed-text-v1.5": {
        "Clustering": "clustering",
        "Classification": "classification",
        "MultilabelClassification": "classification",
        "PairClassification": "classification",
        "Reranking": "classification",
        "STS": "classification",
        "Summarization": "classification",
    },
}
"""By the name of a row, its task by mteb's type; a type that is not named is a search."""
