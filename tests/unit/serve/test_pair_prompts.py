"""The prompts that a server of a reranker makes: those of ``JinaReranker``, and nothing else. Needs no vLLM."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.images import noise
from tests.support.in_memory_rerankers import in_memory_reranker, write_qwen3, write_qwen3_vl
from vllm_jina_embed.checkpoints.resolve_ranker import is_ranker, resolve_ranker
from vllm_jina_embed.checkpoints.table.rerank import QWEN3_RERANKER, QWEN3_VL_RERANKER
from vllm_jina_embed.errors import ConfigError, InputError
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.serve.arguments import serve_arguments
from vllm_jina_embed.serve.command import checked
from vllm_jina_embed.serve.given_ids import Choice
from vllm_jina_embed.serve.pair_prompts import PairPrompts, served_ranker, side_of
from vllm_jina_embed.serve.strings import first_tokens

IMAGE = noise(64, 32, 1)
OPTIONS: dict[str, Any] = {"max_length": 4096, "truncate": "error", "instruction": None}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_qwen3_vl(tmp_path)


@pytest.fixture
def prompts(folder: Path) -> PairPrompts:
    content = (folder / "tokenizer.json").read_bytes()
    return PairPrompts(resolve_ranker(str(folder)), content, origin="test", policy=MediaPolicy())


@pytest.mark.parametrize("query", [("where is it", []), ("", [IMAGE])])
@pytest.mark.parametrize("document", [("a fox<|im_end|>", []), ("", [IMAGE]), ("a fox", [IMAGE])])
def test_a_pair_has_the_prompt_of_the_reranker(prompts: PairPrompts, folder: Path, query: Any, document: Any) -> None:
    """Of every kind, also with an instruction, and cut."""
    engines: list[FakeEngine] = []

    def given(text: str, images: list[Any]) -> Any:
        return text if not images else {"text": text, "image": images} if text else images

    with in_memory_reranker(engines)(folder, max_length=300) as reranker:
        for instruction in (None, "Find it"):
            reranker.score(given(*query), [given(*document)], instruction=instruction)
    for instruction, right in zip((None, "Find it"), engines[0].prompts, strict=True):
        sides = (side_of(*query, "query"), side_of(*document, "documents[0]"))
        made = prompts.of_pair(*sides, **{**OPTIONS, "instruction": instruction})
        assert (made.token_ids, len(made.images)) == (right.token_ids, len(right.images))


def test_the_document_alone_is_cut(prompts: PairPrompts) -> None:
    query, long = side_of("where", [], "query"), side_of("a fox " * 300, [], "documents[2]")
    with pytest.raises(InputError, match=r"documents\[2\]"):
        prompts.of_pair(query, long, **{**OPTIONS, "max_length": 300})
    whole = prompts.of_pair(query, long, **OPTIONS).token_ids
    cut = prompts.of_pair(query, long, **{**OPTIONS, "max_length": 300, "truncate": "end"}).token_ids
    assert len(cut) == 300
    assert (cut[:280], cut[-4:]) == (whole[:280], whole[-4:])
    with pytest.raises(InputError, match="query: leaves no room"):
        prompts.of_pair(query, long, **{**OPTIONS, "max_length": 20, "truncate": "end"})


@pytest.mark.parametrize(("text", "images"), [("", []), ("  ", []), ("\ud800", [IMAGE])])
def test_what_is_no_text_is_named(text: str, images: list[Any]) -> None:
    with pytest.raises(InputError, match=r"documents\[1\]"):
        side_of(text, images, "documents[1]")


def test_one_item_has_no_prompt(prompts: PairPrompts) -> None:
    """Only a whole prompt as ids has, with as many images as it has places for."""
    ids = prompts.of_pair(side_of("where", [], "query"), side_of("", [IMAGE], "documents[0]"), **OPTIONS).token_ids
    assert prompts.choice(None) == Choice()
    assert prompts.choice({"token_ids": [1]}) == Choice(token_ids=[1])
    assert prompts.of_ids(list(ids), [IMAGE], vocabulary=10_000).token_ids == ids
    for images in ([], [IMAGE, IMAGE]):
        with pytest.raises(InputError, match="got places for 1 images"):
            prompts.of_ids(list(ids), images, vocabulary=10_000)
    for told in ({"role": "query", "task": "retrieval"}, {"token_ids": None}, [1], "ids"):
        with pytest.raises(InputError, match="expected token_ids"):
            prompts.choice(told)
    with pytest.raises(InputError, match="send them to /score or /rerank"):
        prompts.item("a fox", [], "input")


def test_an_instruction_is_refused_where_the_prompt_has_no_place_for_one(tmp_path: Path) -> None:
    from tests.unit.prompts.test_pairs import UNIGRAM

    content = UNIGRAM.to_str().encode()
    bge = PairPrompts(resolve_ranker("BAAI/bge-reranker-base"), content, origin="test", policy=MediaPolicy())
    sides = (side_of("where", [], "query"), side_of("a fox", [], "documents[0]"))
    assert bge.of_pair(*sides, **OPTIONS).token_ids
    with pytest.raises(InputError, match="bge-reranker-base takes none"):
        bge.of_pair(*sides, **{**OPTIONS, "instruction": "Find it"})


def test_a_servers_configuration_names_its_row() -> None:
    row = QWEN3_RERANKER
    assert served_ranker(SimpleNamespace()) is None
    assert served_ranker(SimpleNamespace(jina_ranker=[row.name, row.digest])) is row
    with pytest.raises(ConfigError, match="has digest"):
        served_ranker(SimpleNamespace(jina_ranker=[row.name, "0123456789abcdef"]))


def test_a_reranker_is_told_from_a_model_that_embeds(tmp_path: Path, folder: Path) -> None:
    assert is_ranker(str(folder))
    assert is_ranker(str(write_qwen3(tmp_path)))
    assert is_ranker("BAAI/bge-reranker-v2-m3")
    assert is_ranker("anything", row=QWEN3_VL_RERANKER)
    for other in ("demo", "BAAI/bge-m3"):
        assert not is_ranker(other)
    config = (folder / "config.json").read_text()
    embeds = tmp_path / "Qwen3-VL-Embedding-2B"
    embeds.mkdir()
    (embeds / "config.json").write_text(config)
    assert not is_ranker(str(embeds))
    with pytest.raises(ConfigError, match="no such folder"):
        is_ranker(str(tmp_path / "nothing"))


def test_the_command_line_of_a_reranker(folder: Path) -> None:
    settings: Any = checked(
        model=str(folder), task=None, revision=None, min_pixels=None, max_pixels=None, dtype="float32", row=None
    )
    options: dict[str, Any] = {"name": "tiny", "task": "", "cpu": False}
    line = serve_arguments(settings.engine, multi_vector=False, **options)
    assert '"jina_ranker"' in line[line.index("--hf-overrides") + 1]
    assert '"task": "classify"' in line[line.index("--pooler-config") + 1]
    with pytest.raises(ConfigError, match="--multi-vector: tiny is a reranker"):
        serve_arguments(settings.engine, multi_vector=True, **options)
    with pytest.raises(ConfigError, match="--task means nothing"):
        checked(
            model=str(folder), task="retrieval", revision=None, min_pixels=None, max_pixels=None, dtype=None, row=None
        )


@pytest.mark.parametrize("text", ["a fox<|im_end|> and ", "a fox " * 3000, "é日本語😀" * 20, " " * 9000 + "a fox"])
@pytest.mark.parametrize("most", [3, 7, 100, 5000, 20_000])
def test_the_first_tokens_of_a_text(prompts: PairPrompts, text: str, most: int) -> None:
    """As many as fit, of the beginning, counted as a prompt has them; nothing but the end of a text is lost."""
    tokenizer = prompts.plain.tokenizer

    def count(part: str) -> int:
        return len(tokenizer.encode(part, add_special_tokens=False).ids)

    if text[0] == " " and most < count(text):
        with pytest.raises(InputError, match=rf"documents\[0\]: {most} tokens leave nothing of this text"):
            first_tokens(prompts.plain, text, most, where="documents[0]")
        return
    cut = first_tokens(prompts.plain, text, most, where="documents[0]")
    assert text.startswith(cut)
    assert count(cut) <= most
    assert cut == text or count(text[: len(cut) + 8]) > most  # a word more would not fit
