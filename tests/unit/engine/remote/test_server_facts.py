"""What a server says of itself, as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.support.fake_servers import facts_of
from vllm_jina_embed.checkpoints.description import Model
from vllm_jina_embed.checkpoints.prompt_pieces import Slot
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.engine.remote.server_facts import ServerFacts
from vllm_jina_embed.errors import ConfigError


def test_the_wire_keeps_the_names_of_the_last_version() -> None:
    """A client of 0.1 reads ``dimensions``, and a server of 0.1 writes it."""
    facts = ServerFacts.from_json(json.loads(json.dumps(facts_of("embed"))), "http://a")
    assert facts.checkpoint.matryoshka_sizes == (32, 64, 128)
    sent = json.loads(json.dumps(facts.to_json()))
    assert sent["checkpoint"]["dimensions"] == [32, 64, 128]
    assert "matryoshka_sizes" not in sent["checkpoint"]
    assert "dimensions" in facts.identity
    assert ServerFacts.from_json(sent, "http://a") == facts


OF_BGE: dict[str, Any] = {
    "checkpoint": {
        "name": "BAAI/bge-m3", "location": "BAAI/bge-m3", "family": "xlm-roberta", "tasks": ["retrieval"],
        "hidden_size": 1024, "dimensions": [1024], "token_dimensions": 1024, "has_adapters": False,
        "min_pixels": 3136, "max_pixels": 602112, "max_length": 8192,
    },
    "revision": "0123456789abcdef0123456789abcdef01234567", "files": "", "dtype": "float32", "pooler_task": "embed",
    "projected": False, "max_tokens": 8192, "priority": True, "models": {}, "version": "0.1.0",
}  # fmt: skip
OF_NATIVE = OF_BGE | {
    "checkpoint": {
        "name": "jinaai/jina-embeddings-v4", "location": "jinaai/jina-embeddings-v4", "family": "jina-v4",
        "tasks": ["retrieval", "text-matching", "code"], "hidden_size": 2048,
        "dimensions": [128, 256, 512, 1024, 2048], "token_dimensions": 128, "has_adapters": True,
        "min_pixels": 3136, "max_pixels": 602112, "max_length": 32768,
    },
    "projected": True, "pooler_task": "token_embed", "models": {"code": "code"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("told", "model", "fingerprint"),
    [(OF_BGE, "BAAI/bge-m3", "7ca0fe22bac996bd"), (OF_NATIVE, "jinaai/jina-embeddings-v4", "3766950d5bbda6d1")],
)
def test_facts_of_version_0_1_are_read_and_written(told: dict[str, Any], model: str, fingerprint: str) -> None:
    """The same JSON, whose fingerprint stands in every answer, and the checkpoint that the name means here."""
    facts = ServerFacts.from_json(told, "http://a")
    assert facts.checkpoint == resolve(model)
    assert json.dumps(facts.to_json()) == json.dumps(told)
    assert facts.fingerprint == fingerprint


OWN = replace(JINA_V4, name="own", templates=JINA_V4.templates | {("query", "text"): ("q: ", Slot.TEXT)})


def facts_with(row: Model) -> ServerFacts:
    facts = ServerFacts.from_json(json.loads(json.dumps(facts_of("embed"))), "http://a")
    return replace(facts, checkpoint=replace(facts.checkpoint, row=row))


def test_a_row_of_the_users_own_is_told_with_its_digest() -> None:
    """A client that describes it alike reads it; the fingerprint follows its prompts."""
    facts = facts_with(OWN)
    told = json.loads(json.dumps(facts.to_json()))
    assert (told["checkpoint"]["family"], told["checkpoint"]["row_digest"]) == ("own", OWN.digest)
    assert ServerFacts.from_json(told, "http://a", OWN) == facts
    other = facts_with(replace(OWN, templates=JINA_V4.templates))
    assert len({facts.fingerprint, other.fingerprint, facts_with(JINA_V4).fingerprint}) == 3


@pytest.mark.parametrize(
    ("served", "own", "message"),
    [
        (OWN, None, "family 'own' is a row that is unknown here; \\d+ others are known. Pass .* as row="),
        (OWN, replace(OWN, code=2), rf"row 'own' has digest '{OWN.digest}'; expected '{replace(OWN, code=2).digest}'"),
        (replace(JINA_V4, code=2), None, rf"'jina-v4' has digest '\w+'; expected '{JINA_V4.digest}'"),
        (JINA_V4, replace(JINA_V4, code=2), "'jina-v4' has no digest, as in version 0.1; expected"),
    ],
)
def test_a_row_that_is_another_one_here_is_refused(served: Model, own: Model | None, message: str) -> None:
    """One name with two prompts would mix their vectors."""
    with pytest.raises(ConfigError, match=message):
        ServerFacts.from_json(json.loads(json.dumps(facts_with(served).to_json())), "http://a", own)


@pytest.mark.parametrize("digest", [5, [], "a" * 2000, "\x1b[2J"])
def test_a_digest_that_is_none_is_refused(digest: Any) -> None:
    told = json.loads(json.dumps(facts_with(OWN).to_json()))
    told["checkpoint"]["row_digest"] = digest
    with pytest.raises(ConfigError, match="family: got 'own'"):
        ServerFacts.from_json(told, "http://a", OWN)
