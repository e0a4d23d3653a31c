"""Rerankers: Qwen3's of texts and of images, bge and jina-reranker-m0. Each field's source stands in its row."""

from __future__ import annotations

from ..heads import Layers, YesNo
from ..layout import Layout
from ..prompt_pieces import Slot, Special, Template, TokenId
from ..ranking import RankingCheckpoint, RankingModel

ROWS = CHECKPOINTS = ()
TURN, END = Special("<|im_start|>"), Special("<|im_end|>")
FIRST, LAST = Special("<s>"), Special("</s>")
IMAGE: Template = (Special("<|vision_start|>"), Special("<|image_pad|>"), Special("<|vision_end|>"))
JUDGE = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the "
    'answer can only be "yes" or "no".'
)

QWEN3_RERANKER = RankingModel(
    name="qwen3-reranker",
    # Every chat model of this size has the architecture, so the name must say what it is.
    layouts=(Layout(architecture="Qwen3ForCausalLM", modules=(), adapters="ignored", pooling_decides=True),),
    known_as=("Qwen3-Reranker",),
    pooling="last_token",
    kind="bpe",
    template=(
        TURN,
        f"system\n{JUDGE}",
        END,
        "\n",
        TURN,
        "user\n<Instruct>: ",
        Slot.INSTRUCTION,
        "\n<Query>: ",
        Slot.QUERY,
        "\n<Document>: ",
        Slot.DOCUMENT,
        END,
        "\n",
        TURN,
        "assistant\n",
        Special("<think>", marked=False),
        "\n\n",
        Special("</think>", marked=False),
        "\n\n",
    ),
    instruction="Given a web search query, retrieve relevant passages that answer the query",
    head=YesNo(yes="yes", no="no"),
    attention="causal",
    splits_prompts=True,
    max_length=8192,
    source={
        "layouts": "config.json of Qwen/Qwen3-Reranker-*",
        "pooling": "card of Qwen/Qwen3-Reranker-0.6B, compute_logits: logits[:, -1, :]",
        "template": "card of Qwen/Qwen3-Reranker-0.6B, prefix, suffix and format_instruction",
        "instruction": "card of Qwen/Qwen3-Reranker-0.6B, format_instruction",
        "head": "card of Qwen/Qwen3-Reranker-0.6B, compute_logits: softmax over the tokens no and yes",
        "attention": "transformers, modeling_qwen3.py, Qwen3ForCausalLM",
        "splits_prompts": "causal attention: a state depends on what stands before it alone",
        "max_length": "card of Qwen/Qwen3-Reranker-0.6B, max_length",
    },
)

QWEN3_VL_RERANKER = RankingModel(
    name="qwen3-vl-reranker",
    # That of Qwen/Qwen3-VL-*, and of its embeddings, has the same architecture.
    layouts=(
        Layout(architecture="Qwen3VLForConditionalGeneration", modules=(), adapters="ignored", pooling_decides=True),
    ),
    known_as=("Qwen3-VL-Reranker",),
    pooling="last_token",
    kind="bpe",
    template=(
        TURN,
        f"system\n{JUDGE}",
        END,
        "\n",
        TURN,
        "user\n<Instruct>: ",
        Slot.INSTRUCTION,
        "<Query>:",
        Slot.QUERY,
        "\n<Document>:",
        Slot.DOCUMENT,
        END,
        "\n",
        TURN,
        "assistant\n",
    ),
    instruction="Given a search query, retrieve relevant candidates that answer the query.",
    modalities=("text", "image", "both"),
    image=IMAGE,
    head=YesNo(yes="yes", no="no"),
    token_side=32,
    attention="causal",
    splits_prompts=True,
    min_pixels=4 * 32 * 32,
    max_pixels=1280 * 32 * 32,
    max_length=8192,
    source={
        "layouts": "config.json of Qwen/Qwen3-VL-Reranker-*",
        "pooling": "scripts/qwen3_vl_reranker.py of Qwen/Qwen3-VL-Reranker-2B, compute_scores",
        # No space and no line stands in front of `<Query>:`, as in the script.
        "template": "scripts/qwen3_vl_reranker.py, format_mm_instruction and format_mm_content: images before texts; "
        "the chat: chat_template.json of Qwen/Qwen3-VL-*",
        "instruction": "scripts/qwen3_vl_reranker.py, default_instruction",
        "modalities": "scripts/qwen3_vl_reranker.py, format_mm_content",
        "image": "chat_template.json of Qwen/Qwen3-VL-*",
        "head": "scripts/qwen3_vl_reranker.py, get_binary_linear and compute_scores",
        "token_side": "preprocessor_config.json of Qwen/Qwen3-VL-*: patches of 16 pixels, merged 2 by 2",
        "attention": "transformers, modeling_qwen3_vl.py, a decoder",
        "splits_prompts": "causal attention: a state depends on what stands before it alone",
        "min_pixels": "scripts/qwen3_vl_reranker.py, MIN_PIXELS",
        "max_pixels": "scripts/qwen3_vl_reranker.py, MAX_PIXELS",
        # The script drops other tokens of a longer prompt too; here the document alone is cut.
        "max_length": "scripts/qwen3_vl_reranker.py, MAX_LENGTH",
    },
)

BGE_RERANKER = RankingModel(
    name="bge-reranker",
    # Every classifier of texts over XLM-RoBERTa has the architecture, so the name must say what it is.
    layouts=(
        Layout(
            architecture="XLMRobertaForSequenceClassification",
            config={"position_embedding_type": "absolute"},
            modules=(),
            adapters="ignored",
            pooling_decides=True,
        ),
    ),
    known_as=("bge-reranker-v2-m3", "bge-reranker-base", "bge-reranker-large"),
    pooling="first_token",
    kind="unigram",
    template=(FIRST, Slot.QUERY, LAST, LAST, Slot.DOCUMENT, LAST),
    head=Layers(names=("classifier.dense", "classifier.out_proj"), activation="tanh"),
    attention="both",
    positions="after_padding",
    max_length=None,
    source={
        "layouts": "config.json of BAAI/bge-reranker-v2-m3",
        "pooling": "transformers, modeling_xlm_roberta.py, XLMRobertaClassificationHead: features[:, 0, :]",
        "template": "card of BAAI/bge-reranker-v2-m3, tokenizer(pairs); both ends: tokenizer.json, for pairs",
        "head": "transformers, modeling_xlm_roberta.py, XLMRobertaClassificationHead; the sigmoid: card of "
        "BAAI/bge-reranker-v2-m3, normalize=True",
        "attention": "transformers, modeling_xlm_roberta.py, an encoder",
        "positions": "transformers, modeling_xlm_roberta.py, create_position_ids_from_input_ids",
        "max_length": "config.json of BAAI/bge-reranker-v2-m3: 8194 positions, counted from the padding token's id + 1",
    },
)

JINA_RERANKER_M0 = RankingModel(
    name="jina-reranker-m0",
    layouts=(Layout(architecture="JinaVLForRanking", modules=(), adapters="ignored"),),
    known_as=("jina-reranker-m0",),
    pooling="last_token",
    kind="bpe",
    template=("**Document**:\n", Slot.DOCUMENT, "\n**Query**:\n", Slot.QUERY, TokenId(100)),
    modalities=("text", "image"),
    image=IMAGE,
    head=Layers(names=("score.0", "score.2"), activation="relu", minus=2.65),
    images_reversed=True,
    attention="causal",
    splits_prompts=True,
    min_pixels=3136,
    max_pixels=602112,
    max_length=10240,
    source={
        "layouts": "config.json of jinaai/jina-reranker-m0",
        "pooling": "modeling.py of jinaai/jina-reranker-m0, forward: hidden_states[:, -1]",
        "template": "modeling.py of jinaai/jina-reranker-m0, formatting_prompts_func, and score_token_id",
        "modalities": "modeling.py of jinaai/jina-reranker-m0, query_type and doc_type",
        "image": "modeling.py of jinaai/jina-reranker-m0, formatting_prompts_func",
        "head": "modeling.py of jinaai/jina-reranker-m0, score and LOGIT_BIAS",
        # vLLM's score() has the query's image first, and its prompt the document's.
        "images_reversed": "vLLM 0.32, jina_vl.py, JinaVLMultiModalProcessor",
        "attention": "transformers, modeling_qwen2_vl.py, a decoder",
        "splits_prompts": "causal attention: a state depends on what stands before it alone",
        "min_pixels": "modeling.py of jinaai/jina-reranker-m0, compute_score",
        "max_pixels": "modeling.py of jinaai/jina-reranker-m0, compute_score",
        "max_length": "modeling.py of jinaai/jina-reranker-m0, compute_score",
    },
)

RANKING_ROWS = (QWEN3_RERANKER, QWEN3_VL_RERANKER, BGE_RERANKER, JINA_RERANKER_M0)
REPOSITORIES = {
    "Qwen/Qwen3-Reranker-0.6B": (QWEN3_RERANKER, 8192),
    "Qwen/Qwen3-Reranker-4B": (QWEN3_RERANKER, 8192),
    "Qwen/Qwen3-Reranker-8B": (QWEN3_RERANKER, 8192),
    "Qwen/Qwen3-VL-Reranker-2B": (QWEN3_VL_RERANKER, 8192),
    "Qwen/Qwen3-VL-Reranker-8B": (QWEN3_VL_RERANKER, 8192),
    "BAAI/bge-reranker-v2-m3": (BGE_RERANKER, 8192),
    "BAAI/bge-reranker-base": (BGE_RERANKER, 512),
    "BAAI/bge-reranker-large": (BGE_RERANKER, 512),
    "jinaai/jina-reranker-m0": (JINA_RERANKER_M0, 10240),
}
"""By the repository, its row and the most tokens of a pair."""
RANKING_CHECKPOINTS = tuple(
    RankingCheckpoint.published(name, row, max_length=length) for name, (row, length) in REPOSITORIES.items()
)
