"""Text models over decoders: gte-Qwen2, e5-mistral, Qwen2-7B-Instruct-embed-base. Sources stand in the rows.

Whether a token that a prompt ends in is added differs between versions of the tokenizers, so it is a piece of the row.
"""

from __future__ import annotations

from ..checkpoint import Checkpoint
from ..description import Model
from ..layout import Layout
from ..prompt_pieces import Slot, Special

INSTRUCTED_QUERY = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "
"""With a space behind the colon, other than Qwen3-Embedding's."""
INSTRUCTED_PROMPTS = {"query": INSTRUCTED_QUERY, "document": ""}
CAUSAL, BOTH_WAYS = {"is_causal": True}, {"is_causal": False}
SPLITS = "causal attention: a state depends on what stands before it alone"

# --- gte-Qwen2 --------------------------------------------------------------------------------------------------------

END_OF_TEXT = Special("<|endoftext|>")

GTE_QWEN2 = Model(
    name="gte-qwen2",
    layouts=(
        # Every chat model of this size has the architecture, so the other files or the name must say what it is.
        Layout(
            architecture="Qwen2ForCausalLM",
            config=BOTH_WAYS,
            prompts=INSTRUCTED_PROMPTS,
            adapters="ignored",
            pooling_decides=True,
        ),
        # Trained further and saved by sentence-transformers, without the head that gives words.
        Layout(
            architecture="Qwen2Model",
            config=BOTH_WAYS,
            prompts=INSTRUCTED_PROMPTS,
            adapters="ignored",
            pooling_decides=True,
        ),
    ),
    known_as=("gte-Qwen2",),
    pooling="last_token",
    kind="bpe",
    templates={
        ("query", "text"): (INSTRUCTED_QUERY, Slot.TEXT, END_OF_TEXT),
        ("passage", "text"): (Slot.TEXT, END_OF_TEXT),
    },
    attention="both",
    # Older copies have no is_causal in their config.json: vLLM would compute them causally.
    overrides=BOTH_WAYS,
    max_length=32768,
    source={
        "layouts": "config.json, modules.json, 1_Pooling/config.json and config_sentence_transformers.json of "
        "Alibaba-NLP/gte-Qwen2-*-instruct",
        "pooling": "cards of Alibaba-NLP/gte-Qwen2-*-instruct, last_token_pool",
        "templates": "cards of Alibaba-NLP/gte-Qwen2-*-instruct, get_detailed_instruct; mteb 2.26, gte_models.py, "
        "instruction_template, apply_instruction_to_passages=False and add_eos_token=True; the last token: "
        "add_eos_token of tokenizer_config.json, which only the tokenizer's own code obeys",
        # Of the 1.5B this is open: its code computed causally whatever config.json said, until commit 42e43ef of May
        # 2025, and what its weights were trained with is not told. Its files today, and its card, say both ways.
        "attention": "cards of Alibaba-NLP/gte-Qwen2-*-instruct, bidirectional attention; config.json, is_causal: "
        "false (vllm-project/vllm#14609); 7B: embeddings-benchmark/mteb#4935; 1.5B: vllm-project/vllm#18683 and "
        "huggingface/text-embeddings-inference#762, but vllm-project/vllm#10184",
        "overrides": "config.json of Alibaba-NLP/gte-Qwen2-*-instruct, is_causal",
        "matryoshka_sizes": "none: the cards name one size",
        "max_length": "cards of Alibaba-NLP/gte-Qwen2-*-instruct, max input tokens 32k; mteb 2.26, gte_models.py, "
        "max_tokens",
    },
)

# --- e5-mistral -------------------------------------------------------------------------------------------------------

E5_MISTRAL = Model(
    name="e5-mistral",
    layouts=(
        Layout(
            architecture="MistralModel",
            config=CAUSAL,
            prompts=INSTRUCTED_PROMPTS,
            other_prompts={
                "sts_query": "Instruct: Retrieve semantically similar text.\nQuery: ",
                "summarization_query": "Instruct: Given a news summary, retrieve other semantically similar summaries\n"
                "Query: ",
                "bitext_query": "Instruct: Retrieve parallel sentences.\nQuery: ",
            },
            adapters="ignored",
            pooling_decides=True,
        ),
    ),
    known_as=("e5-mistral-7b-instruct",),
    pooling="last_token",
    kind="bpe",
    templates={
        ("query", "text"): (Special("<s>"), INSTRUCTED_QUERY, Slot.TEXT, Special("</s>")),
        ("passage", "text"): (Special("<s>"), Slot.TEXT, Special("</s>")),
    },
    attention="causal",
    splits_prompts=True,
    max_length=4096,
    source={
        "layouts": "config.json, modules.json, 1_Pooling/config.json and config_sentence_transformers.json "
        "(web_search_query and three others) of intfloat/e5-mistral-7b-instruct@07163b7",
        "pooling": "card of intfloat/e5-mistral-7b-instruct, last_token_pool; 1_Pooling/config.json",
        "templates": "card of intfloat/e5-mistral-7b-instruct, get_detailed_instruct; its "
        "config_sentence_transformers.json, web_search_query; both ends: mteb 2.26, e5_instruct.py, add_bos_token and "
        "add_eos_token, with the reason why tokenizer.json adds the first alone",
        "attention": "transformers, modeling_mistral.py, unchanged by the model",
        "splits_prompts": SPLITS,
        "matryoshka_sizes": "none: the card names one size",
        # config.json has 32768 positions and attends to the last 4096 of them.
        "max_length": "card of intfloat/e5-mistral-7b-instruct: max_length = 4096, and longer inputs are not "
        "recommended",
    },
)

# --- Qwen2-7B-Instruct-embed-base -------------------------------------------------------------------------------------

QWEN2_EMBED_BASE = Model(
    name="qwen2-embed-base",
    layouts=(Layout(architecture="Qwen2Model", config=CAUSAL, adapters="ignored", pooling_decides=True),),
    known_as=("Qwen2-7B-Instruct-embed-base",),
    pooling="mean",
    kind="bpe",
    templates={("any", "text"): (Slot.TEXT,)},
    attention="causal",
    splits_prompts=True,
    max_length=None,
    source={
        # It has no modules.json and no 1_Pooling/config.json: its 1_Pooling/1_Pooling_config.json, which names the last
        # token and 4096 numbers, is read by nobody, and is not what the card computes.
        "layouts": "config.json and the list of files of ssmits/Qwen2-7B-Instruct-embed-base@e86f50b",
        "pooling": "card of ssmits/Qwen2-7B-Instruct-embed-base, mean_pooling; vLLM 0.32, docs, embed.md: mean by hand",
        "templates": "card of ssmits/Qwen2-7B-Instruct-embed-base, which adds nothing; tokenizer.json, Qwen2's",
        "attention": "vllm-project/vllm#10184: no bidirectional attention; transformers, modeling_qwen2.py",
        "splits_prompts": SPLITS,
        "matryoshka_sizes": "none: it was not trained at all",
        "max_length": "config.json, max_position_embeddings: that of Qwen/Qwen2-7B-Instruct, 32768",
    },
)

ROWS = (GTE_QWEN2, E5_MISTRAL, QWEN2_EMBED_BASE)
REPOSITORIES = {
    "Alibaba-NLP/gte-Qwen2-1.5B-instruct": (GTE_QWEN2, 1536, 32768),
    "Alibaba-NLP/gte-Qwen2-7B-instruct": (GTE_QWEN2, 3584, 32768),
    "intfloat/e5-mistral-7b-instruct": (E5_MISTRAL, 4096, 4096),
    "ssmits/Qwen2-7B-Instruct-embed-base": (QWEN2_EMBED_BASE, 3584, 32768),
}
"""By the repository, its row, the length of its embeddings and most tokens. Source of the lengths: hidden_size of
config.json. (mteb 2.26, gte_models.py, has 8960 for the 1.5B: its intermediate_size.)"""
CHECKPOINTS = tuple(
    Checkpoint.published(name, row, sizes=(size,), max_length=length)
    for name, (row, size, length) in REPOSITORIES.items()
)
