"""What a row or a caller says and nobody would obey is refused, not left out without a word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.unigram import make_unigram
from tests.support.wordpiece import make_wordpiece
from vllm_jina_embed import Layout, Model, Slot, Special
from vllm_jina_embed.checkpoints.registry import ROWS, checked
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.prompts.plain import plain_tokenizer
from vllm_jina_embed.settings import check

OWN = Model(
    name="own",
    layouts=(Layout(architecture="XLMRobertaModel"),),
    pooling="first_token",
    kind="unigram",
    templates={("any", "text"): (Special("<s>"), Slot.TEXT, Special("</s>"))},
    max_length=512,
)


def prompt(*pieces: Any) -> dict[tuple[str, str], Any]:
    return {("any", "text"): pieces}


@pytest.mark.parametrize(
    "changes",
    [
        {"templates": prompt("\ud800", Slot.TEXT)},
        {"templates": prompt(Special("\ud800"), Slot.TEXT)},
        {"templates": prompt(Special(""), Slot.TEXT)},
        {"templates": prompt(Special(5), Slot.TEXT)},  # type: ignore[arg-type]
        {"padding": Special("")},
        {"score": "maxsim", "token_vectors": False},
        {"architecture": "JinaV4VisionSpanModel", "vllm_architecture": "XLMRobertaModel"},
        {"overrides": {"architectures": ["XLMRobertaModel"]}},
        *({"arguments": {name: "x"}} for name in ("model", "tokenizer", "hf_overrides")),
    ],
    ids=str,
)
def test_a_row_says_nothing_that_is_not_obeyed(changes: dict[str, Any]) -> None:
    assert checked(OWN) is OWN
    with pytest.raises(ConfigError, match=f"row='own' has {'|'.join(changes)}=.*; expected "):
        checked(replace(OWN, **changes))


@pytest.mark.parametrize("name", ["model", "tokenizer", "hf_overrides"])
def test_an_engine_gets_no_argument_that_is_left_out(name: str) -> None:
    with pytest.raises(ConfigError, match=f"engine_kwargs: {name} would be ignored"):
        check(model="demo", engine_kwargs={name: {"a": 1}})


def test_a_special_token_in_a_plain_text_is_named() -> None:
    """It would be the letters of its name, and the vector another one."""
    for row in (
        replace(OWN, templates=prompt("<s>", Slot.TEXT, "</s>")),
        replace(OWN, templates=prompt(Special("<s>"), Slot.TEXT, " </s>")),
    ):
        with pytest.raises(ConfigError, match=r"row='own' has '.*' in a plain text .*Special\('</?s>'\)"):
            plain_tokenizer(row, make_unigram().to_str().encode(), origin="here")
    plain_tokenizer(replace(OWN, templates=prompt("s: ", Slot.TEXT)), make_unigram().to_str().encode(), origin="here")
    instruction = replace(ROWS["snowflake-arctic-embed"], name="own", templates=prompt("[CLS]", Slot.TEXT))
    with pytest.raises(ConfigError, match=r"Special\('\[CLS\]'\)"):
        plain_tokenizer(instruction, make_wordpiece().to_str().encode(), origin="here")
