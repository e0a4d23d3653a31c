"""Text models over decoders: Qwen3-Embedding. Each field's source stands in its row."""

from __future__ import annotations

from ..checkpoint import Checkpoint
from ..description import Model
from ..layout import Layout
from ..prompt_pieces import Slot, Special

QWEN3_QUERY = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
QWEN3_SIZES = (32, 64, 128, 256, 512, 768, 1024, 1536, 2048, 2560, 3072, 4096)
QWEN3_REPOSITORIES = {
    "Qwen/Qwen3-Embedding-0.6B": QWEN3_SIZES[:7],
    "Qwen/Qwen3-Embedding-4B": QWEN3_SIZES[:10],
    "Qwen/Qwen3-Embedding-8B": QWEN3_SIZES,
}
"""By the repository, the lengths of its embeddings. Source of the last: mteb 2.26, qwen3_models.py, embed_dim."""
QWEN3_PROMPTS = {"query": QWEN3_QUERY, "document": ""}
END_OF_TEXT = Special("<|endoftext|>")

QWEN3_EMBEDDING = Model(
    name="qwen3-embedding",
    layouts=(
        # Every chat model of this size has the architecture, so the other files or the name must say what it is.
        Layout(architecture="Qwen3ForCausalLM", prompts=QWEN3_PROMPTS, adapters="ignored", pooling_decides=True),
        # Trained further and saved by sentence-transformers, without the head that gives words.
        Layout(architecture="Qwen3Model", prompts=QWEN3_PROMPTS, adapters="ignored", pooling_decides=True),
    ),
    known_as=("Qwen3-Embedding",),
    pooling="last_token",
    kind="bpe",
    templates={
        ("query", "text"): (QWEN3_QUERY, Slot.TEXT, END_OF_TEXT),
        ("passage", "text"): (Slot.TEXT, END_OF_TEXT),
    },
    attention="causal",
    splits_prompts=True,
    matryoshka_sizes=QWEN3_SIZES,
    min_dimensions=QWEN3_SIZES[0],
    max_length=32768,
    code=2,  # with truncate="start" the first letters of a query stayed in front: `:black` of `Query:black`
    source={
        "layouts": "config.json, 1_Pooling/config.json and config_sentence_transformers.json of Qwen/Qwen3-Embedding-*",
        "pooling": "card of Qwen/Qwen3-Embedding-0.6B, last_token_pool; mteb 2.26, qwen3_models.py",
        # The card's own instruction for a web search; no space stands behind `Query:`, as in its code.
        "templates": "config_sentence_transformers.json of Qwen/Qwen3-Embedding-*, prompts; the last token: "
        "tokenizer.json, and QwenLM/Qwen3-Embedding#54 and #122 (on purpose the token of padding)",
        "attention": "QwenLM/Qwen3-Embedding#9",
        "splits_prompts": "causal attention: a state depends on what stands before it alone",
        # The usual ones; any in between was trained too.
        "matryoshka_sizes": "keras-team/keras-hub#2455",
        "min_dimensions": "cards of Qwen/Qwen3-Embedding-*: any size from 32 to the full one",
        "max_length": "cards of Qwen/Qwen3-Embedding-*, sequence length 32K; mteb 2.26, qwen3_models.py, max_tokens",
    },
)

ROWS = (QWEN3_EMBEDDING,)
CHECKPOINTS = tuple(
    Checkpoint.published(name, QWEN3_EMBEDDING, sizes=sizes, max_length=32768)
    for name, sizes in QWEN3_REPOSITORIES.items()
)
