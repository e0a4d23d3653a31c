"""What holds for both framework adapters alike: keywords, construction, closing, copies, missing extras."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.embedders import FakeEmbedder
from vllm_jina_embed import ClosedError, JinaEmbedder, MediaPolicy
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.frameworks.base import SETTINGS, keywords
from vllm_jina_embed.frameworks.protocol import Embedder
from vllm_jina_embed.langchain import VllmJinaEmbeddings
from vllm_jina_embed.llama_index import VllmJinaEmbedding

RETRIEVAL = "jinaai/jina-embeddings-v4-vllm-retrieval"  # its facts are known without a download
ADAPTERS = [VllmJinaEmbeddings, VllmJinaEmbedding]
both = pytest.mark.parametrize("adapter", ADAPTERS)

EVERY_SETTING: dict[str, Any] = {
    "task": "retrieval",
    "dimensions": 256,
    "truncate": "start",
    "max_length": 77,
    "min_pixels": 4000,
    "max_pixels": 50_000,
    "media": MediaPolicy(max_bytes=1000, allowed_root=Path("images")),
    "show_progress": True,
    "on_error": "skip",
    "engine_kwargs": {"dtype": "float32"},
    "revision": "v1",
    "row": JINA_V4,
    "fusion": "mean",
    "normalize": True,
    "long_text": "chunks",
    "output_dtype": "float16",
    "ranges": None,
}
RAW: dict[str, Any] = {**EVERY_SETTING, "fusion": None, "normalize": False}
TYPED: dict[str, Any] = {
    **EVERY_SETTING,
    "on_error": "raise",
    "output_dtype": "int8",
    "ranges": ((-0.5,) * 256, (0.25,) * 256),
}
"""The same with the others of settings that exclude each other."""
all_given = pytest.mark.parametrize("given", [EVERY_SETTING, RAW, TYPED], ids=["fusion", "raw", "typed"])


def run_python(code: str) -> str:
    """Return what a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_shared_keywords_are_the_keywords_of_the_core() -> None:
    """A keyword that JinaEmbedder gains must reach both adapters."""
    keywords = set(inspect.signature(JinaEmbedder).parameters)
    assert keywords == {"model", "truncate_dim", "model_kwargs", *SETTINGS}
    assert set(EVERY_SETTING) == set(SETTINGS)


@both
@all_given
def test_every_keyword_reaches_the_core(adapter: Any, given: dict[str, Any]) -> None:
    """The embedder that an adapter makes has exactly the settings that the adapter was given."""
    inside = adapter(model=RETRIEVAL, **given)._embedder.settings
    assert inside == JinaEmbedder(RETRIEVAL, **given).settings != JinaEmbedder(RETRIEVAL).settings
    assert keywords(inside) == {"model": RETRIEVAL, **given}
    assert inside.normalize is given["normalize"]


@both
def test_a_row_is_the_callers_own_object_and_json_keeps_its_name_and_digest(adapter: Any) -> None:
    """A copy and a pickle keep the description; what is none is refused at construction."""
    made = adapter(model="demo", row=JINA_V4)
    assert made.row is JINA_V4
    assert pickle.loads(pickle.dumps(made)).row == made.model_copy().row == JINA_V4
    assert (kept := made.model_dump()["row"]) == f"jina-v4@{JINA_V4.digest}"
    assert {adapter(model="demo", row=row).fingerprint for row in ("jina-v4", kept)} == {made.fingerprint}
    with pytest.raises(ValueError, match=f"'jina-v4' has digest {JINA_V4.digest} here, expected {'0' * 16}"):
        adapter(model="demo", row=f"jina-v4@{'0' * 16}")
    for row in ("none", 5):
        with pytest.raises(ValueError, match=rf"row={row!r} is"):
            adapter(model="demo", row=row)


@both
def test_an_adapter_of_a_text_model_can_be_cached(adapter: Any, tmp_path: Path) -> None:
    """The bounds of images, which such a model refuses, are not handed on."""
    with adapter(model="BAAI/bge-m3", revision="0" * 40) as made, made.cached(tmp_path / "cache.sqlite") as cached:
        assert cached.fingerprint == made.fingerprint
        assert (cached.min_pixels, cached.max_pixels) == (None, None)


@both
def test_both_spellings_of_every_doubled_keyword_are_accepted(adapter: Any) -> None:
    """Users bring their habits from other classes: model_name, truncate_dim, model_kwargs."""
    first = adapter(model=RETRIEVAL, dimensions=128, engine_kwargs={"dtype": "float32"})
    second = adapter(model_name=RETRIEVAL, truncate_dim=128, model_kwargs={"dtype": "float32"})
    assert first.fingerprint == second.fingerprint
    assert second.model == second.model_name == RETRIEVAL
    assert second.dimension == 128


@both
@pytest.mark.parametrize(("word", "ours"), [("END", "end"), ("START", "start"), ("NONE", "error")])
def test_what_vllm_and_cohere_call_a_truncation_is_accepted(adapter: Any, word: str, ours: str) -> None:
    """And kept in our words, in JSON too."""
    made = adapter(model=RETRIEVAL, truncate=word)
    assert made.truncate == made._embedder.settings.truncate == made.model_dump()["truncate"] == ours
    assert made.fingerprint == adapter(model=RETRIEVAL, truncate=ours).fingerprint


@both
@pytest.mark.parametrize(
    "keywords",
    [
        {"modle": RETRIEVAL},
        {"dimension": 128},
        {"input_type": "query"},
        {"model": RETRIEVAL, "model_name": RETRIEVAL},
        {"dimensions": 128, "truncate_dim": 128},
        {"engine_kwargs": {}, "model_kwargs": {}},
    ],
    ids=str,
)
def test_unknown_and_doubled_keywords_are_refused(adapter: Any, keywords: dict[str, Any]) -> None:
    """A misspelt keyword is an error, never ignored; so is one setting under two names."""
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        adapter(**{"model": RETRIEVAL, **keywords} if "model_name" not in keywords else keywords)


@both
@pytest.mark.parametrize(
    ("keywords", "hint"),
    [
        ({"dimensions": 300}, "choose one of 128, 256, 512, 1024, 2048"),
        ({"dimensions": True}, "valid integer"),
        ({"task": "code"}, "and jinaai/jina-embeddings-v4-vllm-code"),
        ({"truncate": "middle"}, "'end', 'start' or 'error'"),
        ({"min_pixels": 9000, "max_pixels": 8000}, "min_pixels=9000 is larger than max_pixels=8000"),
        ({"max_length": 0}, "whole number over 0"),
        ({"normalize": "no"}, "valid boolean"),
        ({"long_text": "mean"}, "Input should be 'chunks'"),
        ({"normalize": False, "fusion": "mean"}, "normalize=False: fusion='mean'"),
        ({"embedder": "demo"}, "instance of Embedder"),
        ({"model": "no/such/folder"}, "no such folder"),
    ],
    ids=str,
)
def test_bad_values_are_refused_at_construction(adapter: Any, keywords: dict[str, Any], hint: str) -> None:
    """Nobody waits for an engine to learn of a typing mistake."""
    with pytest.raises(ValueError, match=hint):
        adapter(**{"model": RETRIEVAL, **keywords})


@both
def test_settings_cannot_be_assigned_afterwards(adapter: Any) -> None:
    """An assignment could not change the embedder that exists, so it is an error rather than without effect."""
    with pytest.raises(ValueError, match="frozen"):
        adapter(model=RETRIEVAL).dimensions = 128


@both
def test_a_folder_may_be_given_as_a_path_and_reads_as_a_string(adapter: Any) -> None:
    """LlamaIndex demands a string of whatever it finds as model name."""
    with pytest.raises(ValueError, match=r"model='no/such/folder'"):
        adapter(model=Path("no/such/folder"))


@pytest.mark.parametrize("name", ["langchain.VllmJinaEmbeddings", "llama_index.VllmJinaEmbedding"])
def test_constructing_imports_and_starts_nothing(name: str) -> None:
    """An adapter can be made where there is no GPU, no vLLM and no checkpoint."""
    module, kind = name.split(".")
    printed = run_python(
        f"import sys, threading\n"
        f"from vllm_jina_embed.{module} import {kind}\n"
        f"made = {kind}(model={RETRIEVAL!r})\n"
        f"from vllm_jina_embed.engine.pool import running_engines\n"
        f"loaded = {{'vllm', 'torch', 'transformers'}} & set(sys.modules)\n"
        f"print(made.dimension, running_engines(), sorted(loaded), threading.active_count())"
    )
    assert printed == "2048 0 [] 1"


@both
async def test_an_embedder_that_was_passed_in_is_used_and_never_closed(adapter: Any) -> None:
    """Whoever made it closes it; with blocks and close() of the adapters leave it open."""
    fake = FakeEmbedder()
    with adapter(embedder=fake) as made:
        made.close()
    async with adapter(embedder=fake) as made:
        await made.aclose()
    assert fake.closed == 0
    assert one_query(made) == fake.vector("query", "q")


@both
def test_the_settings_of_an_embedder_that_was_passed_in_are_the_adapters(adapter: Any) -> None:
    """They can be read, dumped and told apart as if they had been given one by one."""
    fake = FakeEmbedder(**EVERY_SETTING)
    made, twin = adapter(embedder=fake), adapter(model=RETRIEVAL, **EVERY_SETTING)
    assert made.model == made.model_name == RETRIEVAL
    assert (made.dimension, made.fingerprint) == (256, twin.fingerprint)
    assert made.model_dump() == twin.model_dump()
    assert "embedder" not in made.model_dump()


@both
@pytest.mark.parametrize("keyword", ["model", "model_name", *EVERY_SETTING])
def test_an_embedder_beside_settings_of_its_own_is_refused(adapter: Any, keyword: str) -> None:
    """A setting that could have no effect is an error."""
    value = {**EVERY_SETTING, "model": RETRIEVAL, "model_name": RETRIEVAL}[keyword]
    with pytest.raises(ValueError, match="pass an embedder or settings, not both"):
        adapter(embedder=FakeEmbedder(), **{keyword: value})


def test_the_core_is_what_adapters_ask_for() -> None:
    """JinaEmbedder has every method of the protocol."""
    assert isinstance(JinaEmbedder(RETRIEVAL), Embedder)
    assert not isinstance(object(), Embedder)


def one_query(adapter: Any) -> list[float]:
    """Ask either adapter one question."""
    found: list[float] = (
        adapter.embed_query("q") if hasattr(adapter, "embed_query") else adapter.get_query_embedding("q")
    )
    return found


@both
async def test_a_closed_adapter_says_so(adapter: Any) -> None:
    """Closing twice is fine; using it afterwards is an error."""
    made = adapter(model=RETRIEVAL)
    made.close()
    made.close()
    with pytest.raises(ClosedError):
        one_query(made)
    async with adapter(model=RETRIEVAL) as made:
        pass
    with pytest.raises(ClosedError):
        one_query(made)
    with adapter(model=RETRIEVAL) as made:
        pass
    with pytest.raises(ClosedError):
        one_query(made)


@both
@all_given
def test_pickling_carries_the_configuration_only(adapter: Any, given: dict[str, Any]) -> None:
    """A worker process gets the settings, in an embedder of its own that has started nothing."""
    made = adapter(model=RETRIEVAL, **given)
    twin = pickle.loads(pickle.dumps(made))
    assert twin.embedder is None
    assert twin._embedder.backend.engine is None
    assert twin.model_dump() == made.model_dump()
    assert twin.model_fields_set == made.model_fields_set
    assert twin.fingerprint == made.fingerprint
    assert twin._embedder is not made._embedder
    assert made.model_dump() == adapter(model=RETRIEVAL, **given).model_dump()  # pickling changed nothing


@both
def test_pickling_keeps_a_foreign_embedder(adapter: Any) -> None:
    """As it pickles itself; the twin, which nobody else has, closes it, and the pickled adapter stays whole."""
    made = adapter(embedder=FakeEmbedder(**EVERY_SETTING))
    with pickle.loads(pickle.dumps(made)) as twin:
        assert isinstance(twin.embedder, FakeEmbedder)
        assert twin.fingerprint == made.fingerprint
        assert one_query(twin) == one_query(made) == made.embedder.vector("query", "q")
    assert twin.embedder.closed == 1
    assert made.embedder.closed == 0


@both
def test_copies_are_checked_and_closed_on_their_own(adapter: Any) -> None:
    """copy, deepcopy and model_copy make adapters from the settings; a change is checked like a new one's."""
    made = adapter(model=RETRIEVAL, dimensions=512)
    copies = [copy.copy(made), copy.deepcopy(made), made.model_copy(), made.model_copy(deep=True)]
    made.close()
    for twin in copies:
        assert twin.fingerprint == made.fingerprint
        assert twin._embedder is not made._embedder
    assert made.model_copy(update={"dimensions": 128}).dimension == 128
    with pytest.raises(ValueError, match="Matryoshka"):
        made.model_copy(update={"dimensions": 300})


@both
def test_a_copy_keeps_a_foreign_embedder(adapter: Any) -> None:
    """Within one process the copy asks the same embedder."""
    made = adapter(embedder=FakeEmbedder())
    assert copy.deepcopy(made).embedder is made.embedder


@both
@all_given
def test_a_dump_makes_an_equal_adapter(adapter: Any, given: dict[str, Any]) -> None:
    """What model_dump() and its JSON hold is accepted again, a media policy with a folder included."""
    made = adapter(model=RETRIEVAL, **given)
    dump = made.model_dump()
    dump.pop("class_name", None)
    assert adapter(**dump).model_dump() == made.model_dump()
    assert adapter(**dump).fingerprint == made.fingerprint
    assert '"allowed_root":"images"' in made.model_dump_json(exclude={"callback_manager"})


@pytest.mark.parametrize(("model", "has_bounds"), [("royokong/e5-v", False), ("Qwen/Qwen3-VL-Embedding-2B", True)])
def test_bounds_of_images_are_told_only_where_they_may_be_passed(model: str, has_bounds: bool) -> None:
    """Those of a processor with a fixed size would be refused."""
    with JinaEmbedder(model) as embedder:
        settings = keywords(embedder.settings)
    assert [settings[name] is not None for name in ("min_pixels", "max_pixels")] == [has_bounds] * 2
