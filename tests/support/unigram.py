"""A small tokenizer in the layout of XLM-RoBERTa's tokenizer.json; needs neither torch nor transformers.

Layout: a sentencepiece unigram model whose vocabulary also holds ``<s>``, ``<pad>``, ``</s>``, ``<unk>`` (ids 0 to 3)
and, last, ``<mask>``, each with the best score of all. Source: transformers, tokenization_xlm_roberta.py.
"""

from __future__ import annotations

import json
import math
from functools import cache
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
MASK = "<mask>"
CORPUS = [
    "the quick brown fox jumps over the lazy dog and a question is answered by a document",
    "ein wunderschöner Sonnenuntergang am Strand über dem Meer",
    "浜辺に沈む美しい夕日 夕日 浜辺",
    "un magnifique coucher de soleil sur la plage",
    "<s> </s> <unk> <pad> <mask> s /s unk pad mask , . ! ? : ; ( ) [ ] 0 1 2 3 4 5 6 7 8 9",
    "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ ▁",
]


def make_unigram() -> Tokenizer:
    """Return a new tokenizer, always the same; what it does not know becomes ``<unk>``."""
    return Tokenizer.from_str(_trained())


@cache
def _trained() -> str:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=SPECIAL, unk_token="<unk>", max_piece_length=8, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS * 20, trainer)
    content = json.loads(tokenizer.to_str())
    special, ordinary = content["model"]["vocab"][: len(SPECIAL)], content["model"]["vocab"][len(SPECIAL) :]
    ordinary.sort(key=lambda entry: (-round(entry[1], 6), entry[0]))  # the trainer leaves the order of equals to chance
    content["model"]["vocab"] = [*special, *ordinary, [MASK, 0.0]]
    last = {**content["added_tokens"][-1], "id": len(content["model"]["vocab"]) - 1, "content": MASK, "lstrip": True}
    content["added_tokens"].append(last)
    tokenizer = Tokenizer.from_str(json.dumps(content))
    ends = [("<s>", 0), ("</s>", 2)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=ends
    )
    return tokenizer.to_str()


def segment(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the ids of ``text`` without its ends, as sentencepiece finds them: the best path over ordinary pieces.

    Plain dynamic programming, apart from the tokenizers library; for texts whose characters are all known.
    """
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    pieces = {
        piece: (score, number) for number, (piece, score) in enumerate(model["vocab"]) if piece not in [*SPECIAL, MASK]
    }
    ids: list[int] = []
    for word in text.split():
        whole = "▁" + word
        best: list[tuple[float, list[int]]] = [(0.0, [])]
        for end in range(1, len(whole) + 1):
            ways = [
                (best[start][0] + pieces[whole[start:end]][0], [*best[start][1], pieces[whole[start:end]][1]])
                for start in range(end)
                if whole[start:end] in pieces
            ]
            best.append(max(ways, default=(-math.inf, [])))
        assert best[-1][0] > -math.inf, f"{word!r} has an unknown character"
        ids += best[-1][1]
    return ids
