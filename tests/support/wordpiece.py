"""A small tokenizer in the layout of BERT's tokenizer.json; needs neither torch nor transformers.

Layout: bert-base-uncased, as Snowflake/snowflake-arctic-embed-* and nomic-ai/nomic-embed-text-v1.5 have it: the ids 0
and 100 to 103 are special, unused ones between them, and the file cuts and pads texts.
"""

from __future__ import annotations

import unicodedata

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = (
    "the quick brown fox jump ##s over lazy dog a question is answer ##ed by document sunset beach represent this "
    "sentence for search ##ing relevant passage query text match classification cluster cl sep mask pad un def add "
    "return ein am strand son ##nen wunder 夕 日 美 浜 ##ing ##er ##en ##ly"
)
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
MARKS = "[]().,:;!?_-+<>/|'\""


def make_wordpiece() -> Tokenizer:
    """Return a new tokenizer, always the same; what it does not know becomes ``[UNK]``."""
    words = ["[PAD]", *(f"[unused{number}]" for number in range(99)), *SPECIAL[1:]]
    words += [*dict.fromkeys([*MARKS, *LETTERS, *(f"##{one}" for one in LETTERS), *WORDS.split()])]
    tokenizer = Tokenizer(models.WordPiece({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(SPECIAL)
    ends = [(name, words.index(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=ends
    )
    tokenizer.enable_truncation(512)
    tokenizer.enable_padding(length=128)
    return tokenizer


def pieces(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the ids of ``text`` without its ends, as BERT finds them: the longest piece of each word, greedily.

    Plain loops, apart from the tokenizers library. Source: google-research/bert, tokenization.py.
    """
    vocabulary = tokenizer.get_vocab()
    ids: list[int] = []
    for word in _words(text):
        found, start = [], 0
        while start < len(word):
            mark = "##" if start else ""
            ends = [end for end in range(len(word), start, -1) if mark + word[start:end] in vocabulary]
            if not ends:
                found, start = [vocabulary["[UNK]"]], len(word)
                break
            found.append(vocabulary[mark + word[start : ends[0]]])
            start = ends[0]
        ids += [vocabulary["[UNK]"]] if len(word) > 100 else found
    return ids


def _words(text: str) -> list[str]:
    """Return the words: lower case, without accents, split at white space, marks and CJK letters."""
    split = ""
    for letter in unicodedata.normalize("NFD", text.lower()):
        category = unicodedata.category(letter)
        if category == "Mn" or (category in ("Cc", "Cf") and letter not in "\t\n\r"):
            continue
        ascii_mark = letter.isascii() and letter.isprintable() and not letter.isalnum() and letter != " "
        alone = ascii_mark or category.startswith("P") or 0x4E00 <= ord(letter) <= 0x9FFF
        split += f" {letter} " if alone else letter
    return split.split()
