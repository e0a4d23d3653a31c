"""Text models over encoders with rotary positions: gte, arctic-embed-m-v2.0, jina-embeddings-v3, nomic-embed-text.

Each field's source stands in its row.
"""

from __future__ import annotations

from ..adapted_ids import vocabulary_size
from ..checkpoint import Checkpoint
from ..description import Model
from ..layout import Layout
from ..prompt_pieces import Slot, Special

START, END = Special("<s>"), Special("</s>")
PLAIN = (START, Slot.TEXT, END)
CLASS, SEPARATOR = Special("[CLS]"), Special("[SEP]")

# --- gte-multilingual-base, and snowflake-arctic-embed-m-v2.0, which was trained from it ------------------------------

GTE_MULTILINGUAL = Model(
    name="gte-multilingual",
    layouts=(
        # The language models of this kind have a head, so another architecture.
        Layout(architecture="NewModel", config={"position_embedding_type": "rope"}, pooling_decides=True),
    ),
    known_as=("gte-multilingual-base",),
    pooling="first_token",
    kind="unigram",
    templates={("any", "text"): PLAIN},
    vllm_architecture="GteNewModel",
    remote_code="its class NewConfig, in configuration.py of Alibaba-NLP/new-impl, with which vLLM reads config.json",
    attention="both",
    matryoshka_sizes=(128, 256, 512),
    min_dimensions=128,
    max_length=8192,
    source={
        "layouts": "config.json of Alibaba-NLP/gte-multilingual-base, as models trained from it keep it",
        "pooling": "card of Alibaba-NLP/gte-multilingual-base, last_hidden_state[:, 0]; arXiv:2407.19669, section 3",
        "templates": "card of Alibaba-NLP/gte-multilingual-base: queries need no prompt; mteb 2.26, gte_models.py, "
        "use_instructions=False; both ends: tokenizer.json",
        "vllm_architecture": "vLLM 0.32, docs/models/supported_models.md, and registry.py",
        "remote_code": "vLLM 0.32, models/config.py, GteNewModelConfig: asserts this name",
        "attention": "modeling.py of Alibaba-NLP/new-impl, an encoder",
        # Any length in between was trained, the card says; these are the usual ones.
        # The usual ones; any in between was trained too.
        "matryoshka_sizes": "card of Alibaba-NLP/gte-multilingual-base: elastic, from 128 to 768",
        "min_dimensions": "card of Alibaba-NLP/gte-multilingual-base: elastic, from 128 to 768",
        "max_length": "card of Alibaba-NLP/gte-multilingual-base; mteb 2.26, gte_models.py, max_tokens",
    },
)

ARCTIC_QUERY = "query: "
ARCTIC_EMBED_M_V2 = Model(
    name="snowflake-arctic-embed-m-v2.0",
    layouts=(Layout(architecture="GteModel", prompts={"query": ARCTIC_QUERY}, pooling_decides=True),),
    known_as=("snowflake-arctic-embed-m-v2.0",),
    pooling="first_token",
    kind="unigram",
    templates={("query", "text"): (START, ARCTIC_QUERY, Slot.TEXT, END), ("passage", "text"): PLAIN},
    attention="both",
    matryoshka_sizes=(256,),
    max_length=8192,
    source={
        "layouts": "config.json and config_sentence_transformers.json of Snowflake/snowflake-arctic-embed-m-v2.0",
        "pooling": "card of Snowflake/snowflake-arctic-embed-m-v2.0, model(**tokens)[0][:, 0]",
        "templates": "card of Snowflake/snowflake-arctic-embed-m-v2.0, query_prefix; both ends: tokenizer.json",
        "attention": "transformers, modeling_gte.py, an encoder",
        "matryoshka_sizes": "card of Snowflake/snowflake-arctic-embed-m-v2.0: 256; config.json, matryoshka_dimensions",
        "max_length": "mteb 2.26, arctic_models.py, max_tokens; config.json, max_position_embeddings",
    },
)

# --- nomic-embed-text-v1.5 --------------------------------------------------------------------------------------------

NOMIC_PROMPTS = {
    "query": "search_query: ",
    "passage": "search_document: ",
    "document": "search_document: ",
    "clustering": "clustering: ",
    "classification": "classification: ",
}
NOMIC_EMBED = Model(
    name="nomic-embed-text-v1.5",
    layouts=(
        Layout(
            architecture="NomicBertModel",
            config={"activation_function": "swiglu", "rotary_scaling_factor": None},
            absent=("num_experts",),
            prompts=NOMIC_PROMPTS,
            prompts_unpublished=True,
            pooling_decides=True,
        ),
    ),
    known_as=("nomic-embed-text-v1.5",),
    pooling="mean",
    layer_norm=True,
    kind="wordpiece",
    templates={
        ("query", "text"): (CLASS, "search_query: ", Slot.TEXT, SEPARATOR),
        ("passage", "text"): (CLASS, "search_document: ", Slot.TEXT, SEPARATOR),
        ("clustering", "text"): (CLASS, "clustering: ", Slot.TEXT, SEPARATOR),
        ("classification", "text"): (CLASS, "classification: ", Slot.TEXT, SEPARATOR),
    },
    config_names={
        "hidden_size": "n_embd",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
        "intermediate_size": "n_inner",
    },
    attention="both",
    tasks=("retrieval", "clustering", "classification"),
    matryoshka_sizes=(64, 128, 256, 512),
    max_length=2048,
    source={
        "layouts": "config.json and modules.json of nomic-ai/nomic-embed-text-v1.5, as models trained from it keep it",
        "pooling": "card of nomic-ai/nomic-embed-text-v1.5, mean_pooling",
        "layer_norm": "card of nomic-ai/nomic-embed-text-v1.5, F.layer_norm before the cut; mteb 2.26, "
        "nomic_models.py, NomicWrapper",
        "templates": "card of nomic-ai/nomic-embed-text-v1.5, task instruction prefixes; mteb 2.26, nomic_models.py, "
        "model_prompts; both ends: tokenizer.json, BERT's",
        # transformers' own class, which vLLM takes without remote code, reads other names and has defaults for these.
        "config_names": "config.json of nomic-ai/nomic-embed-text-v1.5; transformers, configuration_nomic_bert.py",
        "attention": "config.json of nomic-ai/nomic-embed-text-v1.5: causal=false",
        "tasks": "card of nomic-ai/nomic-embed-text-v1.5, task instruction prefixes",
        "matryoshka_sizes": "card of nomic-ai/nomic-embed-text-v1.5, table of dimensions",
        # Longer texts need another scaling of positions, which config.json does not switch on.
        "max_length": "config.json of nomic-ai/nomic-embed-text-v1.5, max_trained_positions",
    },
)

# --- jina-embeddings-v3 -----------------------------------------------------------------------------------------------

V3_ADAPTERS = ("retrieval.query", "retrieval.passage", "separation", "classification", "text-matching")
V3_QUERY = "Represent the query for retrieving evidence documents: "
V3_PASSAGE = "Represent the document for retrieval: "
V3_PLACES = {
    ("query", "retrieval"): 0,
    ("passage", "retrieval"): 1,
    ("any", "separation"): 2,
    ("any", "classification"): 3,
    ("any", "text-matching"): 4,
}
JINA_V3 = Model(
    name="jina-v3",
    layouts=(
        Layout(
            architecture="XLMRobertaModel",
            config={"position_embedding_type": "rotary", "lora_adaptations": list(V3_ADAPTERS)},
            present=("lora_adaptations",),
            prompts={"query": V3_QUERY, "passage": V3_PASSAGE},
        ),
    ),
    known_as=("jina-embeddings-v3",),
    pooling="mean",
    kind="unigram",
    templates={
        ("query", "text"): (START, V3_QUERY, Slot.TEXT, END),
        ("passage", "text"): (START, V3_PASSAGE, Slot.TEXT, END),
        ("separation", "text"): PLAIN,
        ("classification", "text"): PLAIN,
        ("text-matching", "text"): PLAIN,
    },
    vllm_architecture="StackedAdaptersXLMRobertaModel",
    config_names={"jina_vocabulary": "vocab_size"},
    adapters=V3_PLACES,
    attention="both",
    overrides={"vocab_size": vocabulary_size(V3_PLACES.values())},
    tasks=("retrieval", "text-matching", "separation", "classification"),
    matryoshka_sizes=(32, 64, 128, 256, 512, 768),
    max_length=8192,
    source={
        "layouts": "config.json, modules.json and config_sentence_transformers.json of jinaai/jina-embeddings-v3",
        "pooling": "card of jinaai/jina-embeddings-v3, mean_pooling; arXiv:2409.10173, section 4",
        "templates": "config.json of jinaai/jina-embeddings-v3, task_instructions; mteb 2.26, jina_models.py, "
        "jina_task_to_prompt; both ends: tokenizer.json",
        # vLLM's own class merges the last adapter into the weights, whatever is asked.
        "vllm_architecture": "the plugin's, which computes each prompt with the adapter that its ids name",
        "adapters": "config.json of jinaai/jina-embeddings-v3, lora_adaptations; modeling_lora.py of "
        "jinaai/xlm-roberta-flash-implementation; mteb 2.26, jina_models.py, model_prompts",
        "attention": "modeling_xlm_roberta.py of jinaai/xlm-roberta-flash-implementation, an encoder",
        "tasks": "card of jinaai/jina-embeddings-v3, the options of task",
        "matryoshka_sizes": "config.json of jinaai/jina-embeddings-v3, matryoshka_dimensions",
        "max_length": "card of jinaai/jina-embeddings-v3; mteb 2.26, jina_models.py, max_tokens",
    },
)

ROWS = (GTE_MULTILINGUAL, ARCTIC_EMBED_M_V2, NOMIC_EMBED, JINA_V3)
REPOSITORIES = {
    "Alibaba-NLP/gte-multilingual-base": (GTE_MULTILINGUAL, 8192, 768),
    "Snowflake/snowflake-arctic-embed-m-v2.0": (ARCTIC_EMBED_M_V2, 8192, 768),
    "nomic-ai/nomic-embed-text-v1.5": (NOMIC_EMBED, 2048, 768),
    "jinaai/jina-embeddings-v3": (JINA_V3, 8192, 1024),
}
"""By the repository, its row, most tokens and length of an embedding. Source of the last: mteb 2.26, gte_models.py,
arctic_models.py, nomic_models.py and jina_models.py, embed_dim."""
CHECKPOINTS = tuple(
    Checkpoint.published(name, row, sizes=(*row.matryoshka_sizes, size), max_length=length)
    for name, (row, length, size) in REPOSITORIES.items()
)
