"""jina-embeddings-v5-text: small, a Qwen3 decoder, and nano, an EuroBERT encoder; each with an adapter per task.

Each field's source stands in its row. Files of -text-nano were read in oaustegard/jina-v5-nano-mirror@f5a878b, an
unchanged copy of 8a7f00a; what is told of -text-small@dd76d53 and measured of both tokenizers, in cohere-ai/rcp-ndcg,
rcp_ndcg_vllm/recipes/jina-embeddings-v5-text/family.yaml@274b63f. The repositories with one task merged
(-text-small-retrieval and the like) have no row: their files could not be read.
"""

from __future__ import annotations

from ..checkpoint import Checkpoint
from ..description import Model
from ..layout import Layout
from ..prompt_pieces import Slot, Special

ARCHITECTURE = "JinaEmbeddingsV5Model"
TASKS = ("retrieval", "text-matching", "clustering", "classification")
PROMPTS = {"query": "Query: ", "document": "Document: "}
QUERY, DOCUMENT = PROMPTS["query"], PROMPTS["document"]
END_OF_TEXT = Special("<|end_of_text|>")
NANO_DOCUMENT = (DOCUMENT, Slot.TEXT, END_OF_TEXT)

LAYOUTS = (
    "config.json, modules.json and config_sentence_transformers.json of jinaai/jina-embeddings-v5-text-nano@8a7f00a; "
    "is_decoder, which -small leaves out: vLLM 0.32, models/config.py, JinaEmbeddingsV5ModelConfig"
)
POOLING = "modeling_jina_embeddings_v5.py, encode: the state of the last token; card, last-token pooling"
TEMPLATES = (
    "modeling_jina_embeddings_v5.py, encode, and config_sentence_transformers.json; tasks other than retrieval: mteb "
    "2.26, jina_models.py, JinaV5TextWrapper, and the card's prompt_name='document'"
)
SIZES = "card, Matryoshka dimensions; mteb 2.26, jina_models.py, embed_dim"

JINA_V5_SMALL = Model(
    name="jina-v5-small",
    layouts=(Layout(architecture=ARCHITECTURE, config={"is_decoder": True}, prompts=PROMPTS, adapters="by_task"),),
    known_as=("jina-embeddings-v5-text-small",),
    pooling="last_token",
    kind="bpe",
    templates={
        ("query", "text"): (QUERY, Slot.TEXT),
        ("passage", "text"): (DOCUMENT, Slot.TEXT),
        ("text-matching", "text"): (DOCUMENT, Slot.TEXT),
        ("clustering", "text"): (DOCUMENT, Slot.TEXT),
        ("classification", "text"): (DOCUMENT, Slot.TEXT),
    },
    vllm_architecture="Qwen3Model",
    attention="causal",
    splits_prompts=True,
    tasks=TASKS,
    matryoshka_sizes=(32, 64, 128, 256, 512, 768),
    max_length=32768,
    source={
        "layouts": LAYOUTS,
        "pooling": POOLING,
        # No token stands at either end: add_special_tokens changes no ids (measured in cohere-ai/rcp-ndcg).
        "templates": TEMPLATES,
        # vLLM's own class merges one task's adapter into the weights, and needs the checkpoint's own code.
        "vllm_architecture": "modeling_jina_embeddings_v5.py of -small, Qwen3Model; vLLM 0.32, jina.py, "
        "JinaEmbeddingsV5DecoderModel; vLLM's LoRA adds the adapter of a request's task",
        "attention": "transformers, modeling_qwen3.py, unchanged by the model",
        "splits_prompts": "causal attention: a state depends on what stands before it alone",
        "tasks": "config.json, task_names; the folders below adapters",
        "matryoshka_sizes": SIZES,
        "max_length": "config.json, max_position_embeddings; mteb 2.26, jina_models.py, max_tokens",
    },
)

JINA_V5_NANO = Model(
    name="jina-v5-nano",
    layouts=(
        Layout(
            architecture=ARCHITECTURE,
            config={"is_decoder": False},
            present=("is_decoder",),
            prompts=PROMPTS,
            adapters="by_task",
        ),
    ),
    known_as=("jina-embeddings-v5-text-nano",),
    pooling="last_token",
    kind="bpe",
    templates={
        ("query", "text"): (QUERY, Slot.TEXT, END_OF_TEXT),
        ("passage", "text"): NANO_DOCUMENT,
        ("text-matching", "text"): NANO_DOCUMENT,
        ("clustering", "text"): NANO_DOCUMENT,
        ("classification", "text"): NANO_DOCUMENT,
    },
    vllm_architecture="LlamaModel",
    attention="both",
    overrides={"is_causal": False},
    tasks=TASKS,
    matryoshka_sizes=(32, 64, 128, 256, 512),
    max_length=8192,
    source={
        "layouts": LAYOUTS,
        "pooling": POOLING,
        # The tokenizer ends a text in <|end_of_text|> and puts nothing in front: measured in cohere-ai/rcp-ndcg;
        # ggml-org/llama.cpp, the conversion of JinaEmbeddingsV5Model, add_add_bos_token(False).
        "templates": TEMPLATES,
        "vllm_architecture": "vLLM 0.32, jina.py, JinaEmbeddingsV5EncoderModel: EuroBERT is a Llama with attention to "
        "both sides; vLLM's LoRA adds the adapter of a request's task",
        "attention": "config.json, is_decoder: false; transformers, modeling_eurobert.py, an encoder",
        "overrides": "vLLM 0.32, models/config.py, JinaEmbeddingsV5ModelConfig",
        "tasks": "config.json, task_names; the folders below adapters",
        "matryoshka_sizes": SIZES,
        "max_length": "config.json, max_position_embeddings; mteb 2.26, jina_models.py, max_tokens",
    },
)

ROWS = (JINA_V5_SMALL, JINA_V5_NANO)
REPOSITORIES = {
    "jinaai/jina-embeddings-v5-text-small": (JINA_V5_SMALL, 1024),
    "jinaai/jina-embeddings-v5-text-nano": (JINA_V5_NANO, 768),
}
"""By the repository, its row and the length of its embeddings. Source of the last: mteb 2.26, jina_models.py."""
CHECKPOINTS = tuple(
    Checkpoint(
        name=name,
        location=name,
        row=row,
        tasks=row.tasks,
        hidden_size=size,
        matryoshka_sizes=(*row.matryoshka_sizes, size),
        token_dimensions=size,
        has_adapters=True,
        min_pixels=row.min_pixels,
        max_pixels=row.max_pixels,
        max_length=row.max_length or 0,
    )
    for name, (row, size) in REPOSITORIES.items()
)
