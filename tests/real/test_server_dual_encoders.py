"""CLIP and SigLIP, served: the vectors of the engine in this process, to our clients and to any other.

The server fills SigLIP's texts up and drops their capitals; a prompt that is not so is refused, never computed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from tests.real.test_server_vision import GATE, LIMIT, PICTURE, ROLES, parts, worst
from tests.support.clip import ClipReference
from tests.support.hostile_bodies import chat, uri
from tests.support.images import encoded, noise
from tests.support.reference import distance
from tests.support.servers import RealServer, served
from tests.support.siglip import SiglipReference
from tests.support.vision_rows import DUAL_ENCODERS, make_vision
from vllm_jina_embed import InputError, JinaEmbedder
from vllm_jina_embed.checkpoints.registry import ROWS
from vllm_jina_embed.engine.remote import messages
from vllm_jina_embed.langchain import VllmJinaEmbeddings
from vllm_jina_embed.llama_index import VllmJinaEmbedding

pytestmark = [pytest.mark.real, pytest.mark.models]

TEXTS = [
    "a",
    "The quick brown FOX, jumps!",
    "Ein wunderschöner  Sonnenuntergang\nam Strand, it's 12 o'clock",
    "浜辺に沈む 🙂",
    "</s> a <pad> <eos> <|endoftext|> stays text",
]
LONG = "The fox " * 60
IMAGES = [noise(300, 200, 1), noise(1, 1, 3), noise(600, 90, 4)]
ITEMS = [*TEXTS, *IMAGES]
FLOAT32: dict[str, Any] = {"engine_kwargs": {"dtype": "float32"}}
REFERENCES = {"clip": ClipReference, "siglip": SiglipReference, "siglip2": SiglipReference.of_siglip2}


@pytest.fixture(scope="module", params=DUAL_ENCODERS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A row, its checkpoint, the vectors of the local engine, and after that a server of it."""
    folder = make_vision(request.param, tmp_path_factory.mktemp("dual"))
    with JinaEmbedder(folder, **FLOAT32) as local:
        vectors, raw = local.embed(ITEMS), local.embed(ITEMS, normalize=False)
        longest = local.checkpoint.max_length
        cut = {}
        for side in ("end", "start"):
            with JinaEmbedder(folder, truncate=side, **FLOAT32) as other, pytest.warns(match="lost their"):
                cut[side] = other.embed([LONG])[0]
    with served(str(folder), tmp_path_factory.mktemp("server") / "log", "--dtype", "float32") as server:
        yield SimpleNamespace(
            row=ROWS[request.param], folder=folder, vectors=vectors, raw=raw, cut=cut, longest=longest, url=server.url
        )


@pytest.fixture(scope="module")
def client(case: SimpleNamespace) -> Iterator[JinaEmbedder]:
    with JinaEmbedder.from_server(case.url, timeout=600) as embedder:
        yield embedder


@pytest.fixture(scope="module")
def post(case: SimpleNamespace) -> Iterator[Any]:
    """Send a body to a path; the answer's JSON, or the whole answer where it is an error."""
    with httpx.Client(base_url=case.url, timeout=600) as wire:

        def send(path: str, **body: Any) -> Any:
            answer = wire.post(path, json=body)
            return answer.json() if answer.status_code == 200 else answer

        yield send


def refusal(answer: Any) -> str:
    """Return what an answer of status 400 says."""
    assert isinstance(answer, httpx.Response), answer
    assert answer.status_code == 400, answer.text
    message: str = answer.json()["error"]["message"]
    return message


# --- our clients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_a_client_gets_the_local_engines_vectors(case: SimpleNamespace, client: JinaEmbedder, role: Any) -> None:
    """Texts and images in one list; both roles have one prompt."""
    got = client.embed(ITEMS, prompt_name=role)
    print(f"\n{case.row.name}, {role}: {worst(got, case.vectors):.1e}")
    assert worst(got, case.vectors) <= LIMIT
    assert worst(client.embed(ITEMS, normalize=False), case.raw) <= LIMIT * np.abs(case.raw).max()
    with pytest.warns(match="lost their end"):
        assert worst(client.embed([LONG])[0], case.cut["end"]) <= LIMIT


def test_they_are_those_of_transformers(case: SimpleNamespace, client: JinaEmbedder) -> None:
    reference = REFERENCES[case.row.name](case.folder)
    right = [reference.text(one) if isinstance(one, str) else reference.image(one) for one in ITEMS]
    assert distance(client.embed(ITEMS), np.stack(right)) <= GATE


def test_both_adapters_get_them(case: SimpleNamespace, client: JinaEmbedder) -> None:
    """A text and an image, by LangChain's and LlamaIndex's methods."""
    langchain, llama = VllmJinaEmbeddings(embedder=client), VllmJinaEmbedding(embedder=client)
    texts = (langchain.embed_query(TEXTS[1]), llama.get_query_embedding(TEXTS[1]))
    documents = (langchain.embed_documents(TEXTS)[1], llama.get_text_embedding(TEXTS[1]))
    for got in (*texts, *documents):
        assert worst(got, case.vectors[1]) <= LIMIT
    for got in (langchain.embed_image(IMAGES[0]), llama.get_image_embedding(encoded(IMAGES[0]))):
        assert worst(got, case.vectors[len(TEXTS)]) <= LIMIT


def test_a_client_fuses_a_text_and_its_image_or_refuses_them(case: SimpleNamespace, client: JinaEmbedder) -> None:
    item = {"text": TEXTS[1], "image": IMAGES[0]}
    with pytest.raises(InputError, match="was not trained for that"):
        client.embed([item])
    with JinaEmbedder.from_server(case.url, timeout=600, fusion="mean") as fused:
        (got,) = fused.embed([item])
    mean = case.vectors[1] + case.vectors[len(TEXTS)]
    assert worst(got, mean / np.linalg.norm(mean)) <= LIMIT


def test_planted_mistakes_are_far_outside_or_refused(
    case: SimpleNamespace, client: JinaEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another image, another first token, no last one: what is compared would find it."""
    assert worst(client.embed([noise(300, 200, 99)])[0], case.vectors[len(TEXTS)]) > 1000 * LIMIT
    question = messages.question

    def planted(change: Any) -> None:
        monkeypatch.setattr(
            messages,
            "question",
            lambda prompts: {**question(prompts), "input": [change(list(one.token_ids)) for one in prompts]},
        )

    planted(lambda ids: [ids[1], *ids[1:]])
    assert worst(client.embed([TEXTS[1]])[0], case.vectors[1]) > 1000 * LIMIT
    planted(lambda ids: ids[:-1])
    if case.row.padding is None:
        assert worst(client.embed([TEXTS[1]])[0], case.vectors[1]) > 1000 * LIMIT
    else:
        with pytest.raises(InputError, match="got 63 token ids; expected 64"):
            client.embed([TEXTS[1]])


# --- any client -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"input_type": "query"}, {"input_type": "document"}])
def test_any_client_gets_them_on_openais_path(case: SimpleNamespace, post: Any, options: Any) -> None:
    """Strings, and messages of a text or an image; no input type is needed, since the roles have one prompt."""
    told = post("/v1/embeddings", input=TEXTS, **options)
    assert worst([one["embedding"] for one in told["data"]], case.vectors[: len(TEXTS)]) <= LIMIT
    for item, wanted in zip(ITEMS, case.vectors, strict=True):
        content = parts(item, []) if isinstance(item, str) else parts(None, [item])
        told = post("/v1/embeddings", **options, **chat(*content) | {"model": None})
        assert worst(told["data"][0]["embedding"], wanted) <= LIMIT, item


def test_the_path_of_poolings_gives_them(case: SimpleNamespace, post: Any) -> None:
    """Embeddings alone: the states of tokens mean nothing."""
    told = post("/pooling", input=TEXTS, task="embed")
    assert worst([one["data"] for one in told["data"]], case.vectors[: len(TEXTS)]) <= LIMIT
    told = post("/pooling", task="embed", **chat(PICTURE) | {"model": None})
    assert "data" in told
    assert "token_embed" in refusal(post("/pooling", input=TEXTS, task="token_embed"))


def test_the_path_of_scores_compares_them(case: SimpleNamespace, post: Any) -> None:
    told = post("/score", queries=TEXTS[1], documents=TEXTS)
    right = case.vectors[: len(TEXTS)] @ case.vectors[1]
    assert worst([one["score"] for one in told["data"]], right) <= 10 * LIMIT


def test_coheres_path_gives_them(case: SimpleNamespace, post: Any) -> None:
    """Texts, images, and inputs of either."""
    for options in ({}, {"input_type": "search_query"}):
        told = post("/v2/embed", texts=TEXTS, **options)
        assert worst(told["embeddings"]["float"], case.vectors[: len(TEXTS)]) <= LIMIT
        told = post("/v2/embed", images=[uri(encoded(one)) for one in IMAGES], **options)
        assert worst(told["embeddings"]["float"], case.vectors[len(TEXTS) :]) <= LIMIT
        blocks = [parts(item, []) if isinstance(item, str) else parts(None, [item]) for item in ITEMS]
        told = post("/v2/embed", inputs=[{"content": one} for one in blocks], **options)
        assert worst(told["embeddings"]["float"], case.vectors) <= LIMIT


def test_a_long_text_is_cut_as_here_or_refused(case: SimpleNamespace, post: Any) -> None:
    """Before its last token, or after its first; on OpenAI's path only if the request says so."""
    for truncate, side, wire in (("END", "end", "right"), ("START", "start", "left")):
        told = post("/v2/embed", texts=[LONG], truncate=truncate)
        assert worst(told["embeddings"]["float"][0], case.cut[side]) <= LIMIT
        for keep in (-1, case.longest):
            told = post("/v1/embeddings", input=[LONG], truncate_prompt_tokens=keep, truncation_side=wire)
            assert worst(told["data"][0]["embedding"], case.cut[side]) <= LIMIT
    for text in ("." * 3000 + " fox", "fox " + "." * 3000):  # SigLIP drops them: the fox is what counts
        for side, wire in (("end", "right"), ("start", "left")):
            with JinaEmbedder.from_server(case.url, timeout=600, truncate=side) as cutting, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that CLIP's is cut
                (right,) = cutting.embed([text])
            told = post("/v1/embeddings", input=[text], truncate_prompt_tokens=-1, truncation_side=wire)
            assert worst(told["data"][0]["embedding"], right) <= LIMIT
    assert "the longest prompt is" in refusal(post("/v1/embeddings", input=[LONG]))
    assert "texts[1]: got" in refusal(post("/v2/embed", texts=["a", LONG], truncate="NONE"))


def test_shorter_prompts_of_a_model_with_filled_ones_are_refused(case: SimpleNamespace, post: Any) -> None:
    """CLIP's are cut; SigLIP's would be other vectors, and so would token ids of a client that are not filled up."""
    cohere = post("/v2/embed", texts=[LONG], max_tokens=10)
    openai = post("/v1/embeddings", input=[LONG], truncate_prompt_tokens=10, truncation_side="right")
    if case.row.padding is None:
        with JinaEmbedder(case.folder, max_length=10, **FLOAT32) as short, pytest.warns(match="longer than"):
            (right,) = short.embed([LONG])
        assert worst(cohere["embeddings"]["float"][0], right) <= LIMIT
        assert worst(openai["data"][0]["embedding"], right) <= LIMIT
        return
    for answer, name in ((cohere, "max_tokens"), (openai, "truncate_prompt_tokens")):
        assert f"{name}=10: this model was trained with texts that are filled up to 64 tokens" in refusal(answer)
    (told,) = (post("/tokenize", prompt=TEXTS[1]),)
    assert told["count"] == 64
    whole, short = told["tokens"], [[5, 6, 1]]
    told = post("/v1/embeddings", input=[whole])
    assert worst(told["data"][0]["embedding"], case.vectors[1]) <= LIMIT
    for body in (short, [whole, *short], [[*whole, 5]], [whole[:-1]]):
        assert "token" in refusal(post("/v1/embeddings", input=body))
    assert "input[1]: got 3 token ids; expected 64" in refusal(post("/v1/embeddings", input=[whole, *short]))


def test_what_was_not_trained_is_refused(case: SimpleNamespace, post: Any) -> None:
    """A text beside an image, two images, ids around one, and other lengths of embeddings."""
    both = chat({"type": "text", "text": "a"}, PICTURE) | {"model": None}
    assert "a text and an image together" in refusal(post("/v1/embeddings", **both))
    mixed = [{"content": [{"type": "text", "text": "a"}]}, {"content": [{"type": "text", "text": "a"}, PICTURE]}]
    assert "inputs[1]: got a text and an image together" in refusal(post("/v2/embed", inputs=mixed))
    refusal(post("/v1/embeddings", **chat(PICTURE, PICTURE) | {"model": None}))
    assert "inputs[1]: " in refusal(post("/v2/embed", inputs=[mixed[0], {"content": [PICTURE, PICTURE]}]))
    around = chat(PICTURE) | {"model": None, "chat_template_kwargs": {"jina_prompt": {"token_ids": [5, 6]}}}
    refusal(post("/v1/embeddings", **around))
    assert "dimensions=64 is not a Matryoshka size" in refusal(post("/v1/embeddings", input=["a"], dimensions=64))
    told = post("/v1/embeddings", input=[TEXTS[1]])
    assert worst(told["data"][0]["embedding"], case.vectors[1]) <= LIMIT


def test_a_server_for_shorter_prompts_does_not_start(tmp_path: Any) -> None:
    """Its texts would be filled up to another length."""
    folder = make_vision("siglip", tmp_path)
    options = ["--dtype", "float32"]
    server: RealServer = served(str(folder), tmp_path / "log", *options, passed=["--max-model-len", "32"])
    with pytest.raises(AssertionError, match="filled up to 64 tokens"), server:
        pass
