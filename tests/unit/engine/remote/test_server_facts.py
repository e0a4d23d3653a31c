"""What a server says of itself, as JSON."""

from __future__ import annotations

import json

from tests.support.fake_servers import facts_of
from vllm_jina_embed.engine.remote.server_facts import ServerFacts


def test_the_wire_keeps_the_names_of_the_last_version() -> None:
    """A client of 0.1 reads ``dimensions``, and a server of 0.1 writes it."""
    facts = ServerFacts.from_json(json.loads(json.dumps(facts_of("embed"))), "http://a")
    assert facts.checkpoint.matryoshka_sizes == (32, 64, 128)
    sent = json.loads(json.dumps(facts.to_json()))
    assert sent["checkpoint"]["dimensions"] == [32, 64, 128]
    assert "matryoshka_sizes" not in sent["checkpoint"]
    assert "dimensions" in facts.identity
    assert ServerFacts.from_json(sent, "http://a") == facts
