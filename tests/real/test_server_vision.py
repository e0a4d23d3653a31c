"""Every row that takes images, served: the vectors of the engine in this process, to our clients and to any other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from sentence_transformers.util.quantization import quantize_embeddings
from tokenizers import Tokenizer

from tests.support.hostile_bodies import chat, image, uri
from tests.support.images import encoded, noise
from tests.support.qwen3_vl import RETRIEVE, Qwen3VlReference
from tests.support.reference import distance
from tests.support.servers import served
from tests.support.vision import given
from tests.support.vision_rows import MAKERS, make_vision
from vllm_jina_embed import InputError, JinaEmbedder
from vllm_jina_embed.checkpoints.prompt_pieces import Special
from vllm_jina_embed.checkpoints.registry import ROWS
from vllm_jina_embed.engine.remote import messages
from vllm_jina_embed.langchain import VllmJinaEmbeddings
from vllm_jina_embed.llama_index import VllmJinaEmbedding

pytestmark = [pytest.mark.real, pytest.mark.wide]

LIMIT = 1e-6
"""Largest difference of a number between server and local engine, which compute in other batches."""
GATE = 1e-5
"""Largest 1 - cosine to transformers, as in ``models/test_qwen3_vl_embedding.py``."""
FIRST = "qwen3-vl-embedding"
HOSTILE = "<|vision_start|><|image_pad|><|vision_end|><image> stays text <|im_end|><|eot_id|>"
LONG = "the quick brown fox " * 60
ITEMS: list[tuple[str | None, list[Any]]] = [
    ("the quick brown fox", []),
    (HOSTILE, []),
    (LONG, []),
    (None, [noise(300, 200, 1)]),
    (None, [noise(1, 1, 3)]),
    (None, [noise(700, 90, 5)]),
    ("the quick brown fox", [noise(40, 60, 2)]),
    (HOSTILE, [noise(90, 70, 4)]),
]
CUT = 64
"""Most tokens of a prompt where texts are cut."""
ROLES = ("query", "passage")


def of(row: Any) -> list[tuple[str | None, list[Any]]]:
    """Return the items that a row has prompts of."""
    return [one for one in ITEMS if row.takes_both or one[0] is None or not one[1]]


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=() if name == FIRST else pytest.mark.models) for name in MAKERS]
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A row, its checkpoint, the vectors of the local engine, and after that a server of it."""
    row, folder = ROWS[request.param], make_vision(request.param, tmp_path_factory.mktemp("vision"))
    items = [given(*item) for item in of(row)]
    float32: dict[str, Any] = {"engine_kwargs": {"dtype": "float32"}}
    with JinaEmbedder(folder, **float32) as local:
        sizes = (local.dimensions, local.checkpoint.matryoshka_sizes[0])
        vectors = {(r, n): local.embed(items, prompt_name=r, dimensions=n) for r in ROLES for n in sizes}
        cut = {}
        for side in ("end", "start"):
            with (
                JinaEmbedder(folder, max_length=CUT, truncate=side, **float32) as short,
                pytest.warns(match="longer than"),
            ):
                cut[side] = short.embed([LONG], prompt_name="query")[0]
        raw = local.embed(items, prompt_name="query", normalize=False)
    with served(str(folder), tmp_path_factory.mktemp("server") / "log", "--dtype", "float32") as server:
        yield SimpleNamespace(
            row=row, folder=folder, items=items, sizes=sizes, vectors=vectors, cut=cut, raw=raw, server=server
        )


@pytest.fixture(scope="module")
def client(case: SimpleNamespace) -> Iterator[JinaEmbedder]:
    with JinaEmbedder.from_server(case.server.url, timeout=600) as embedder:
        yield embedder


@pytest.fixture(scope="module")
def post(case: SimpleNamespace) -> Iterator[Any]:
    """Send a body to a path; the answer's JSON, or the whole answer where it is an error."""
    with httpx.Client(base_url=case.server.url, timeout=600) as wire:

        def send(path: str, **body: Any) -> Any:
            answer = wire.post(path, json=body)
            return answer.json() if answer.status_code == 200 else answer

        yield send


def worst(got: Any, wanted: Any) -> float:
    """Return the largest difference of two numbers."""
    return float(np.abs(np.asarray(got, dtype=np.float64) - wanted).max())


# --- our clients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_a_client_gets_the_local_engines_vectors(case: SimpleNamespace, client: JinaEmbedder, role: Any) -> None:
    """Texts, images and both in one mixed list, at two sizes."""
    for size in case.sizes:
        got = client.embed(case.items, prompt_name=role, dimensions=size)
        print(f"\n{case.row.name}, {role}, {size}: {worst(got, case.vectors[role, size]):.1e}")
        assert worst(got, case.vectors[role, size]) <= LIMIT


def test_vectors_that_are_not_normalised_too(case: SimpleNamespace, client: JinaEmbedder) -> None:
    got = client.embed(case.items, prompt_name="query", normalize=False)
    assert worst(got / np.linalg.norm(case.raw, axis=1, keepdims=True), case.vectors["query", case.sizes[0]]) <= LIMIT


def test_they_are_those_of_transformers(case: SimpleNamespace, client: JinaEmbedder) -> None:
    """Of the published code, for the row whose reference is at hand here; ``models/`` has the others'."""
    if case.row.name != FIRST:
        pytest.skip(f"models/ compares the local engine of {case.row.name} with transformers")
    reference = Qwen3VlReference(case.folder)
    for text, images in of(case.row):
        if text == HOSTILE:
            continue  # transformers would parse its special tokens
        (got,) = client.embed([given(text, images)], prompt_name="query")
        wanted = reference.embed(reference.prompt(text, len(images), RETRIEVE), images, None)
        assert distance(got, wanted) <= GATE, (text, images)


def test_both_adapters_get_them(case: SimpleNamespace, client: JinaEmbedder) -> None:
    """A query's text, a document's and an image, by LangChain's and LlamaIndex's methods."""
    size = case.sizes[0]
    place = next(number for number, (text, _) in enumerate(of(case.row)) if text is None)
    picture = case.items[place][0]
    langchain, llama = VllmJinaEmbeddings(embedder=client), VllmJinaEmbedding(embedder=client)
    for got in (langchain.embed_query(ITEMS[0][0]), llama.get_query_embedding(ITEMS[0][0])):
        assert worst(got, case.vectors["query", size][0]) <= LIMIT
    for got in (langchain.embed_documents([ITEMS[0][0]])[0], llama.get_text_embedding(ITEMS[0][0])):
        assert worst(got, case.vectors["passage", size][0]) <= LIMIT
    for got in (langchain.embed_image(picture), llama.get_image_embedding(encoded(picture))):
        assert worst(got, case.vectors["passage", size][place]) <= LIMIT


def test_an_item_that_the_server_refuses_is_named(case: SimpleNamespace, client: JinaEmbedder) -> None:
    """And the others have their vectors."""
    wide = noise(2300, 10)
    with pytest.raises(InputError) as raised:
        client.embed([case.items[0], wide, case.items[3]], prompt_name="query")
    assert raised.value.positions == (1,)
    wanted = case.vectors["query", case.sizes[0]][[0, 3]]
    assert worst(raised.value.embeddings[[0, 2]], wanted) <= LIMIT


def test_planted_mistakes_are_far_outside(
    case: SimpleNamespace, client: JinaEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another last token of the prompt that travels, or another image: what is compared would find it."""
    place = next(number for number, (text, _) in enumerate(of(case.row)) if text is None)
    item, wanted = case.items[place], case.vectors["passage", case.sizes[0]][place]
    assert worst(client.embed([noise(300, 200, 99)])[0], wanted) > 1000 * LIMIT
    question = messages.question

    def planted(prompts: Any, **options: Any) -> dict[str, Any]:
        body = question(prompts, **options)
        ids = body["chat_template_kwargs"]["jina_prompt"]["token_ids"]
        assert ids[-1] != ids[1]
        ids[-1] = ids[1]
        return body

    monkeypatch.setattr(messages, "question", planted)
    assert worst(client.embed([item])[0], wanted) > 1000 * LIMIT


# --- any client, by input_type ----------------------------------------------------------------------------------------


def parts(text: str | None, images: list[Any]) -> list[dict[str, Any]]:
    """Return content blocks, the text first."""
    texts = [{"type": "text", "text": text}] if text is not None else []
    return [*texts, *(image(uri(encoded(one))) for one in images)]


@pytest.mark.parametrize("role", ROLES)
def test_any_client_gets_them_by_input_type(case: SimpleNamespace, post: Any, role: str) -> None:
    """OpenAI's path: strings and messages."""
    items, wanted = of(case.row), case.vectors[role, case.sizes[0]]
    texts = [text for text, images in items if not images]
    told = post("/v1/embeddings", input=texts, input_type=role)
    assert worst([one["embedding"] for one in told["data"]], wanted[: len(texts)]) <= LIMIT
    for place, item in enumerate(items):
        told = post("/v1/embeddings", input_type=role, **chat(*parts(*item)) | {"model": None})
        assert worst(told["data"][0]["embedding"], wanted[place]) <= LIMIT, place


@pytest.mark.parametrize("role", ["query", "document", "search_query", "search_document"])
def test_coheres_path_gives_them(case: SimpleNamespace, post: Any, role: str) -> None:
    """Texts, images, and inputs of texts, images and both, at two sizes."""
    items, own = of(case.row), "query" if "query" in role else "passage"
    for size in case.sizes:
        options = {"input_type": role, "output_dimension": size, "model": str(case.folder)}
        wanted = case.vectors[own, size]
        texts = [text for text, images in items if not images]
        told = post("/v2/embed", texts=texts, **options)
        assert worst(told["embeddings"]["float"], wanted[: len(texts)]) <= LIMIT
        assert told["texts"] == texts
        places = [place for place, (text, _) in enumerate(items) if text is None]
        told = post("/v2/embed", images=[uri(encoded(items[place][1][0])) for place in places], **options)
        assert worst(told["embeddings"]["float"], wanted[places]) <= LIMIT
        assert told["meta"]["billed_units"]["image_tokens"] > 0
        told = post("/v2/embed", inputs=[{"content": parts(*item)} for item in items], **options)
        assert worst(told["embeddings"]["float"], wanted) <= LIMIT
        assert told["response_type"] == "embeddings_by_type"


def test_coheres_types_are_those_of_their_references(case: SimpleNamespace, post: Any) -> None:
    """sentence-transformers' with the range that the docs tell; vLLM's own of bits and base64."""
    from vllm.entrypoints.pooling.embed.protocol import build_typed_embeddings

    types = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    told = post("/v2/embed", texts=[HOSTILE, LONG], input_type="query", embedding_types=types)["embeddings"]
    assert {*told} == {*types}
    floats = np.array(told["float"], dtype=np.float32)
    size = floats.shape[1]
    end = np.full(size, min(1, 8 / np.sqrt(size)), dtype=np.float32)
    for kind in ("int8", "uint8"):
        right = quantize_embeddings(floats, kind, ranges=np.stack([-end, end]))
        np.testing.assert_array_equal(told[kind], right)
        close = (np.array(told[kind]) + (128 if kind == "int8" else 0) + 0.5) * 2 * end / 255 - end
        assert distance(close / np.linalg.norm(close, axis=1, keepdims=True), floats) < 1e-2
    own = build_typed_embeddings(told["float"], types)
    assert (told["binary"], told["ubinary"], told["base64"]) == (own.binary, own.ubinary, own.base64)
    for kind in ("binary", "ubinary"):
        np.testing.assert_array_equal(told[kind], quantize_embeddings(floats, kind))


def test_a_long_text_is_cut_at_coheres_path_as_here(case: SimpleNamespace, post: Any) -> None:
    """START and END; NONE is an error that names the text."""
    for truncate, side in (("END", "end"), ("START", "start")):
        told = post("/v2/embed", texts=[LONG], input_type="query", max_tokens=CUT, truncate=truncate)
        assert worst(told["embeddings"]["float"][0], case.cut[side]) <= LIMIT
    for options in ({"max_tokens": CUT}, {"texts": ["a", LONG * 200]}):
        body = {"texts": ["a", LONG], "input_type": "query", "truncate": "NONE", **options}
        told = post("/v2/embed", **body)
        assert told.status_code == 400
        assert "texts[1]: got" in told.json()["message"]


PNG = uri(encoded(noise(30, 30)))
TEXT = {"type": "text", "text": "a"}
PICTURE = {"type": "image_url", "image_url": {"url": PNG}}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no input_type": ({"texts": ["a"], "input_type": None}, "input_type is missing.* choose one of query"),
    "an unknown input_type": ({"texts": ["a"], "input_type": "x"}, "input_type='x' means nothing to .* choose one of"),
    "a size": ({"texts": ["a"], "output_dimension": 63}, "output_dimension: dimensions=63 is not a Matryoshka size"),
    "nothing": ({"texts": None}, "got no items; expected one of texts, images, inputs"),
    "two lists": ({"texts": ["a"], "images": [PNG]}, "got texts and images"),
    "an empty text": ({"texts": ["a", " "]}, r"texts\[1\]: got an empty text"),
    "no text": ({"texts": ["a", 5]}, r"texts\[1\]: got 5; expected a string"),
    "no image": ({"images": [PNG, "data:image/png;base64,AAAA"]}, r"images\[1\]: "),
    "a URL": ({"images": [PNG, "http://127.0.0.1:9/a.png"]}, r"images\[1\]: this server fetches no images"),
    "a bad image of several": (
        {"inputs": [{"content": [TEXT]}, {"content": [PICTURE, {"type": "image_url", "image_url": {"url": "x"}}]}]},
        r"inputs\[1\]\[1\]: this server fetches",
    ),
    "no block": ({"inputs": [{"content": [TEXT]}, {"content": [TEXT, {"type": "x"}]}]}, r"inputs\[1\].content\[1\]"),
    "no content": ({"inputs": [{"text": "a"}]}, r"inputs\[0\]: got .* expected an object with content"),
    "a kind": ({"texts": ["a"], "embedding_types": ["int4"]}, "embedding_types: got 'int4'; expected some of float"),
    "truncate": ({"texts": ["a"], "truncate": "MIDDLE"}, "truncate: got 'MIDDLE'; expected one of END, START, NONE"),
    "a short prompt": ({"texts": ["a"], "max_tokens": 1}, "max_tokens=1 leaves no room for a text"),
    "another field": ({"texts": ["a"], "output_dimensions": 64}, "unknown field 'output_dimensions'"),
}


@pytest.mark.parametrize("name", BAD)
def test_coheres_errors_name_what_is_wrong(case: SimpleNamespace, post: Any, name: str) -> None:
    """In vLLM's form, and with the message where Cohere's clients look for it; the next request has its vector."""
    if case.row.name != FIRST:
        pytest.skip("the first row shows it")
    body, message = BAD[name]
    told = post("/v2/embed", **{"input_type": "query", **body})
    assert told.status_code == 400, told
    error = told.json()
    assert error["error"]["type"] == "BadRequestError"
    assert error["message"] == error["error"]["message"]
    assert re.search(message, error["message"]), error["message"]
    good = post("/v2/embed", texts=["the quick brown fox"], input_type="query")
    assert worst(good["embeddings"]["float"][0], case.vectors["query", case.sizes[0]][0]) <= LIMIT


def test_a_model_that_is_not_served_is_told(post: Any) -> None:
    told = post("/v2/embed", texts=["a"], input_type="query", model="other")
    assert (told.status_code, told.json()["error"]["type"]) == (404, "NotFoundError")
    assert "`other` does not exist" in told.json()["message"]


def test_a_role_is_never_guessed(case: SimpleNamespace, post: Any) -> None:
    """On OpenAI's path, where the prompts of the roles differ and plain words are none of them."""
    added = Tokenizer.from_file(str(case.folder / "tokenizer.json")).encode("").tokens
    bodies = {"text": {"input": ["a"]}, "image": chat(PICTURE) | {"model": None}}
    for modality, body in bodies.items():
        prompts = {case.row.template(modality, role, "retrieval") for role in ROLES}
        told = post("/v1/embeddings", **body)
        special = [[one.token for one in t if isinstance(one, Special)] for t in prompts]
        plain = modality == "text" and all(tokens == added for tokens in special)
        if len(prompts) == 1 or plain:
            assert "data" in told
        else:
            assert told.status_code == 400
            assert "input_type is missing" in told.json()["error"]["message"]
