"""``/pooling`` of rows that take images: multi-vectors of a served engine are those of the engine in this process."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from tests.real.test_server_vision import FIRST, LIMIT, ROLES, of, parts, worst
from tests.support.hostile_bodies import chat
from tests.support.servers import served
from tests.support.vision import given
from tests.support.vision_rows import make_vision
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.checkpoints.registry import ROWS

pytestmark = [pytest.mark.real, pytest.mark.wide]


@pytest.fixture(
    scope="module", params=[FIRST, *(pytest.param(name, marks=pytest.mark.models) for name in ("dse-qwen2", "e5-v"))]
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A row, what the local engine gives, and after that a server of one vector per token."""
    row, folder = ROWS[request.param], make_vision(request.param, tmp_path_factory.mktemp("vision"))
    items = [given(*item) for item in of(row)]
    with JinaEmbedder(folder, engine_kwargs={"dtype": "float32"}) as local:
        multi = {role: local.embed_multi_vector(items, prompt_name=role) for role in ROLES}
        vectors = {role: local.embed(items, prompt_name=role) for role in ROLES}
    options = ("--dtype", "float32", "--multi-vector")
    with served(str(folder), tmp_path_factory.mktemp("server") / "log", *options) as server:
        yield SimpleNamespace(row=row, items=items, multi=multi, vectors=vectors, url=server.url)


@pytest.mark.parametrize("role", ROLES)
def test_a_client_gets_both_kinds_of_vectors(case: SimpleNamespace, role: Any) -> None:
    """One row per token, the patches of images among them; embeddings are pooled by the client."""
    with JinaEmbedder.from_server(case.url, timeout=600) as client:
        got = client.embed_multi_vector(case.items, prompt_name=role)
        assert [one.shape for one in got] == [one.shape for one in case.multi[role]]
        assert max(map(worst, got, case.multi[role])) <= LIMIT
        assert worst(client.embed(case.items, prompt_name=role), case.vectors[role]) <= LIMIT
        other = ROLES[1 - ROLES.index(role)]
        if case.row.template("text", role, "retrieval") != case.row.template("text", other, "retrieval"):
            assert worst(client.embed(case.items[:1], prompt_name=other), case.vectors[role][:1]) > 1000 * LIMIT


@pytest.mark.parametrize("role", ROLES)
def test_any_client_gets_multi_vectors_by_input_type(case: SimpleNamespace, role: str) -> None:
    """Texts as strings, and every item as a message; as numbers and as base64."""
    with httpx.Client(base_url=case.url, timeout=600) as wire:
        items = of(case.row)
        texts = [text for text, images in items if not images]
        told = wire.post("/pooling", json={"input": texts, "input_type": role}).raise_for_status().json()
        for one, wanted in zip(told["data"], case.multi[role], strict=False):
            assert worst(one["data"], wanted) <= LIMIT
        for item, wanted in zip(items, case.multi[role], strict=True):
            body = chat(*parts(*item)) | {"model": None, "input_type": role, "encoding_format": "base64"}
            (one,) = wire.post("/pooling", json=body).raise_for_status().json()["data"]
            rows = np.frombuffer(base64.b64decode(one["data"]), dtype="<f4").reshape(-1, wanted.shape[1])
            assert worst(rows, wanted) <= LIMIT


def test_the_path_of_embeddings_says_what_is_served(case: SimpleNamespace) -> None:
    told = httpx.post(f"{case.url}/v2/embed", json={"texts": ["a"], "input_type": "query"}, timeout=60)
    assert told.status_code == 400
    assert "one vector per token, at /pooling" in told.json()["message"]
