"""Text models over encoders with a table of positions: multilingual-e5, snowflake-arctic-embed. Sources in the rows."""

from __future__ import annotations

from dataclasses import replace

from ..checkpoint import Checkpoint
from ..description import Model
from ..layout import Layout
from ..prompt_pieces import Slot, Special

START, END = Special("<s>"), Special("</s>")
ABSOLUTE = {"position_embedding_type": "absolute"}
"""As each config.json has it; transformers 5 leaves it out, and vLLM does not start then unless it is told."""

# --- multilingual-e5 --------------------------------------------------------------------------------------------------

E5_QUERY, E5_PASSAGE = "query: ", "passage: "
E5_PROMPTS = {"query": E5_QUERY, "passage": E5_PASSAGE, "document": E5_PASSAGE}
E5_INSTRUCTION = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "
E5_SOURCE = {
    "layouts": "config.json, 1_Pooling/config.json and modules.json of intfloat/multilingual-e5-*: these have no "
    "config_sentence_transformers.json, so without their name nothing tells them from other models with a mean",
    "pooling": "microsoft/unilm, e5/model_config.py, MODEL_NAME_TO_POOL_TYPE: avg; cards, average_pool",
    "templates": "cards of intfloat/multilingual-e5-*, FAQ 1; mteb 2.26, e5_models.py, model_prompts; both ends: "
    "tokenizer.json",
    "attention": "transformers, modeling_xlm_roberta.py and modeling_bert.py, encoders",
    "max_length": "cards of intfloat/multilingual-e5-*: long texts are cut at 512 tokens",
}

MULTILINGUAL_E5 = Model(
    name="multilingual-e5",
    layouts=(
        Layout(
            architecture="XLMRobertaModel",
            config=ABSOLUTE,
            prompts=E5_PROMPTS,
            prompts_unpublished=True,
            adapters="ignored",
            pooling_decides=True,
        ),
    ),
    known_as=("multilingual-e5",),
    pooling="mean",
    kind="unigram",
    templates={
        ("query", "text"): (START, E5_QUERY, Slot.TEXT, END),
        ("passage", "text"): (START, E5_PASSAGE, Slot.TEXT, END),
    },
    attention="both",
    positions="after_padding",
    max_length=512,
    source={**E5_SOURCE, "positions": "transformers, modeling_xlm_roberta.py, create_position_ids_from_input_ids"},
)

MULTILINGUAL_E5_SMALL = replace(
    MULTILINGUAL_E5,
    name="multilingual-e5-small",
    # The tokenizer is XLM-RoBERTa's all the same; other models of this architecture have WordPiece.
    layouts=(replace(MULTILINGUAL_E5.layouts[0], architecture="BertModel"),),
    known_as=("multilingual-e5-small",),
    positions="all",
    source={**E5_SOURCE, "positions": "config.json of intfloat/multilingual-e5-small: a BertModel, pad_token_id 0"},
)

MULTILINGUAL_E5_INSTRUCT = replace(
    MULTILINGUAL_E5,
    name="multilingual-e5-instruct",
    layouts=(replace(MULTILINGUAL_E5.layouts[0], prompts={"query": E5_INSTRUCTION}),),
    known_as=("multilingual-e5-large-instruct",),
    templates={
        ("query", "text"): (START, E5_INSTRUCTION, Slot.TEXT, END),
        ("passage", "text"): (START, Slot.TEXT, END),
    },
    source={
        **MULTILINGUAL_E5.source,
        "layouts": "config.json, 1_Pooling/config.json and modules.json of intfloat/multilingual-e5-large-instruct; "
        "its config_sentence_transformers.json names versions alone",
        "pooling": "card of intfloat/multilingual-e5-large-instruct, average_pool",
        # The card's own instruction for a web search, with the space that its code puts behind `Query:`.
        "templates": "card of intfloat/multilingual-e5-large-instruct, get_detailed_instruct; mteb 2.26, "
        "e5_instruct.py, E5_INSTRUCTION and apply_instruction_to_passages=False",
        "max_length": "card of intfloat/multilingual-e5-large-instruct: long texts are cut at 512 tokens",
    },
)

# --- snowflake-arctic-embed -------------------------------------------------------------------------------------------

ARCTIC_QUERY = "Represent this sentence for searching relevant passages: "
ARCTIC_V2_QUERY = "query: "
CLASS, SEPARATOR = Special("[CLS]"), Special("[SEP]")

ARCTIC_EMBED = Model(
    name="snowflake-arctic-embed",
    layouts=(
        Layout(
            architecture="BertModel",
            config=ABSOLUTE,
            prompts={"query": ARCTIC_QUERY},
            adapters="ignored",
            pooling_decides=True,
        ),
    ),
    known_as=("snowflake-arctic-embed",),
    pooling="first_token",
    kind="wordpiece",
    templates={
        ("query", "text"): (CLASS, ARCTIC_QUERY, Slot.TEXT, SEPARATOR),
        ("passage", "text"): (CLASS, Slot.TEXT, SEPARATOR),
    },
    attention="both",
    max_length=512,
    source={
        "layouts": "config.json, modules.json, 1_Pooling/config.json and config_sentence_transformers.json of "
        "Snowflake/snowflake-arctic-embed-{xs,s,m,l,m-v1.5}",
        "pooling": "1_Pooling/config.json of Snowflake/snowflake-arctic-embed-*: cls; cards, model(**tokens)[0][:, 0]",
        "templates": "config_sentence_transformers.json of Snowflake/snowflake-arctic-embed-*, prompts; both ends: "
        "tokenizer.json, BERT's",
        "attention": "transformers, modeling_bert.py, an encoder",
        # A folder of m-v1.5, whose vectors may be 256 long too, looks like those of the others.
        "matryoshka_sizes": "card of Snowflake/snowflake-arctic-embed-m-v1.5: 256; no other of these was trained so",
        "max_length": "sentence_bert_config.json of Snowflake/snowflake-arctic-embed-*: 512; mteb 2.26, "
        "arctic_models.py, max_tokens",
    },
)

ARCTIC_EMBED_L_V2 = Model(
    name="snowflake-arctic-embed-l-v2.0",
    layouts=(
        Layout(
            architecture="XLMRobertaModel",
            config=ABSOLUTE,
            prompts={"query": ARCTIC_V2_QUERY},
            adapters="ignored",
            pooling_decides=True,
        ),
    ),
    known_as=("snowflake-arctic-embed-l-v2.0",),
    pooling="first_token",
    kind="unigram",
    templates={
        ("query", "text"): (START, ARCTIC_V2_QUERY, Slot.TEXT, END),
        ("passage", "text"): (START, Slot.TEXT, END),
    },
    attention="both",
    matryoshka_sizes=(256,),
    positions="after_padding",
    max_length=8192,
    source={
        "layouts": "config.json, modules.json and config_sentence_transformers.json of "
        "Snowflake/snowflake-arctic-embed-l-v2.0",
        "pooling": "card of Snowflake/snowflake-arctic-embed-l-v2.0, model(**tokens)[0][:, 0]",
        "templates": "card of Snowflake/snowflake-arctic-embed-l-v2.0, query_prefix; both ends: tokenizer.json",
        "attention": "transformers, modeling_xlm_roberta.py, an encoder",
        "matryoshka_sizes": "card of Snowflake/snowflake-arctic-embed-l-v2.0: 256",
        "positions": "transformers, modeling_xlm_roberta.py, create_position_ids_from_input_ids",
        "max_length": "mteb 2.26, arctic_models.py, max_tokens; config.json: 8194 positions, so 8192",
    },
)

ROWS = (MULTILINGUAL_E5, MULTILINGUAL_E5_SMALL, MULTILINGUAL_E5_INSTRUCT, ARCTIC_EMBED, ARCTIC_EMBED_L_V2)
REPOSITORIES = {
    "intfloat/multilingual-e5-small": (MULTILINGUAL_E5_SMALL, 512, (384,)),
    "intfloat/multilingual-e5-base": (MULTILINGUAL_E5, 512, (768,)),
    "intfloat/multilingual-e5-large": (MULTILINGUAL_E5, 512, (1024,)),
    "intfloat/multilingual-e5-large-instruct": (MULTILINGUAL_E5_INSTRUCT, 512, (1024,)),
    "Snowflake/snowflake-arctic-embed-xs": (ARCTIC_EMBED, 512, (384,)),
    "Snowflake/snowflake-arctic-embed-s": (ARCTIC_EMBED, 512, (384,)),
    "Snowflake/snowflake-arctic-embed-m": (ARCTIC_EMBED, 512, (768,)),
    "Snowflake/snowflake-arctic-embed-m-v1.5": (ARCTIC_EMBED, 512, (256, 768)),
    "Snowflake/snowflake-arctic-embed-l": (ARCTIC_EMBED, 512, (1024,)),
    "Snowflake/snowflake-arctic-embed-l-v2.0": (ARCTIC_EMBED_L_V2, 8192, (256, 1024)),
}
"""By the repository, its row, most tokens and the lengths of its embeddings. Source of the last: mteb 2.26,
e5_models.py, e5_instruct.py and arctic_models.py, embed_dim."""
CHECKPOINTS = tuple(
    Checkpoint.published(name, row, sizes=sizes, max_length=length)
    for name, (row, length, sizes) in REPOSITORIES.items()
)
