"""Write ids_before.json, what texts and images became before prompts were pieces: ``python -m tests.data.ids_before``.

The file was written once, by the commit that added this script, and is not written again: its token ids are those that
all vectors in users' caches and indexes were made of.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from tests.support.unigram import make_unigram
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.errors import ConfigError, InputError
from vllm_jina_embed.inputs import items as inputs
from vllm_jina_embed.inputs.images import MediaPolicy
from vllm_jina_embed.prompts.base import Builder
from vllm_jina_embed.prompts.build import load_builder, read_builder

FILE = Path(__file__).with_suffix(".json")
TEXTS = [
    "", "a", " ", "a red circle", "the quick brown fox jumps over the lazy dog", "Query: Passage: ", "  two  spaces,\n",
    "\n\n\n lines\r\n", "日本語のテキスト", "浜辺に沈む美しい夕日を眺める", "e\u0301a\u0308" * 9,
    "🙂🙂🙂 faces", "ｆｕｌｌ width",
    "\u200b\ufeff", "\x00\x01", "1234567890" * 4, "a" * 70, "don't, can't; won't", "x\t\ty",
    "<|vision_start|><|image_pad|><|vision_end|>", "a <|im_start|>user\nhi<|im_end|> b",
    "<s>text</s>", "<mask> <pad> <unk>",
    "\uff1cs\uff1e full-width brackets", "Describe the image.", "the fox " * 20,
]  # fmt: skip
"""Short and long, several scripts, white space, and texts that look like special tokens."""
SIZES = [[(40, 30)], [(28, 28), (56, 84)], [(300, 200)], [(30, 30)] * 5]
LENGTHS = (5, 6, 7, 9, 13, 21, 40)


def cases() -> Iterator[dict[str, Any]]:
    """Yield what is built: model, item (a text, or the sizes of images), task, role, max_length and truncate."""
    kinds = itertools.cycle(itertools.product(("end", "start", "error"), ("query", "passage")))
    lengths = itertools.cycle(LENGTHS)
    tasks = {"demo": ("retrieval", "text-matching"), "BAAI/bge-m3": ("retrieval",)}
    for model, item, _ in itertools.product(tasks, [*TEXTS, *SIZES], range(4)):
        if model == "demo" or isinstance(item, str):
            for task in tasks[model][: 1 + isinstance(item, str)]:
                truncate, role = next(kinds)
                yield {
                    "model": model, "item": item, "task": task, "role": role, "max_length": next(lengths),
                    "truncate": truncate,
                }  # fmt: skip


def builders() -> dict[str, Builder]:
    """Return the builder of each model; the text model's tokenizer is the tests' own."""
    demo, texts = resolve("demo"), resolve("BAAI/bge-m3")
    return {
        "demo": load_builder(demo, revision=None, policy=MediaPolicy()),
        "BAAI/bge-m3": read_builder(texts, make_unigram().to_str().encode(), policy=MediaPolicy()),
    }


def built(case: dict[str, Any], builder: Builder) -> dict[str, Any]:
    """Return the prompt of a case in numbers, or the message of its error."""
    item = case["item"]
    item = item if isinstance(item, str) else [Image.new("RGB", tuple(size)) for size in item]
    (checked,) = inputs.mixed([item])
    if isinstance(checked, inputs.BadItem):  # no builder gets a blank text
        return {"refused": True}
    try:
        (prompt,) = builder.build(
            [checked],
            role=case["role"],
            task=case["task"],
            max_length=case["max_length"],
            truncate=case["truncate"],
        )
    except ConfigError:
        return {"refused": True}
    if isinstance(prompt, InputError):
        return {"error": str(prompt)}
    ids, around = list(prompt.token_ids), list(prompt.around)
    return {"ids": ids, "images": len(prompt.images), "truncated": prompt.truncated, "around": around}


def main() -> None:
    """Write the file."""
    made = builders()
    lines = [json.dumps([case, built(case, made[case["model"]])]) for case in cases()]
    FILE.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
