"""Settings: what is refused, what is filled in, and what decides a vector."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from pathlib import Path
from typing import Any

import pytest

from vllm_jina_embed import settings
from vllm_jina_embed._keywords import one_of
from vllm_jina_embed.checkpoints.description import DEMO_FOLDER
from vllm_jina_embed.engine.remote import discover
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.inputs.images import MediaPolicy
from vllm_jina_embed.settings import Settings

RETRIEVAL = "jinaai/jina-embeddings-v4-vllm-retrieval"
QWEN = {"model_type": "qwen2_5_vl", "architectures": ["Qwen2_5_VLForConditionalGeneration"], "hidden_size": 64}
DEFAULTS: dict[str, Any] = {
    "model": RETRIEVAL,
    "revision": None,
    "task": None,
    "dimensions": None,
    "truncate": "end",
    "max_length": None,
    "min_pixels": None,
    "max_pixels": None,
    "media": None,
    "show_progress": False,
    "on_error": "raise",
    "engine_kwargs": None,
}


def check(**given: Any) -> Settings:
    """Return the settings for ``given`` over the defaults."""
    return settings.check(**(DEFAULTS | given))


def test_defaults_are_the_checkpoints_own() -> None:
    """Both pixel bounds are pinned to the reference's, not to what the vLLM variants ship."""
    found = check()
    assert (found.task, found.dimensions, found.max_length) == ("retrieval", 2048, 32768)
    assert (found.engine.min_pixels, found.engine.max_pixels) == (3136, 602112)
    assert (found.truncate, found.on_error, found.show_progress) == ("end", "raise", False)
    assert found.media == MediaPolicy()


def test_what_is_given_is_taken() -> None:
    """Every setting reaches its place."""
    policy = MediaPolicy(allow_local_files=False)
    found = check(
        dimensions=256, truncate="start", max_length=77, min_pixels=5000, max_pixels=6000, media=policy,
        show_progress=True, on_error="skip", engine_kwargs={"dtype": "float16"}, revision="abc",
    )  # fmt: skip
    assert (found.dimensions, found.truncate, found.max_length) == (256, "start", 77)
    assert (found.engine.min_pixels, found.engine.max_pixels) == (5000, 6000)
    assert (found.media, found.show_progress, found.on_error) == (policy, True, "skip")
    assert (found.engine.options, found.engine.revision) == ({"dtype": "float16"}, "abc")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"truncate": "middle"}, "truncate='middle' is unknown; choose one of end, start, error"),
        ({"truncate": True}, "truncate=True"),
        ({"on_error": "ignore"}, "on_error='ignore' is unknown; choose one of raise, skip"),
        ({"max_length": 0}, "max_length=0 must be a whole number over 0"),
        ({"max_length": 1.5}, "max_length=1.5"),
        ({"max_length": True}, "max_length=True"),
        ({"min_pixels": -1}, "min_pixels=-1"),
        ({"max_pixels": "9"}, "max_pixels='9'"),
        ({"min_pixels": 700_000}, "min_pixels=700000 is larger than max_pixels=602112"),
        ({"max_pixels": 3000}, "min_pixels=3136 is larger than max_pixels=3000"),
        ({"normalize": 0}, "normalize=0 must be True or False."),
        ({"normalize": None}, "normalize=None"),
        ({"normalize": False, "fusion": "mean"}, "normalize=False: fusion='mean' joins two vectors of norm 1."),
        ({"long_text": "mean"}, "long_text='mean' is unknown; choose one of chunks"),
        ({"long_text": True}, "long_text=True"),
        ({"task": "code"}, "jina-embeddings-v4-vllm-code"),
        ({"dimensions": 300}, f"dimensions=300 is not a Matryoshka size of {RETRIEVAL}; choose one of 128, 256"),
        (
            {"model": "BAAI/bge-m3", "dimensions": 512},
            "BAAI/bge-m3; it was trained for the full length alone. Leave dimensions out, or pass 1024.",
        ),
        ({"model": "no-such-model"}, "no such folder"),
    ],
)
def test_a_setting_that_cannot_be_honoured_is_refused(given: dict[str, Any], message: str) -> None:
    """The message names the setting, what was got and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        check(**given)
    assert message in str(caught.value)


@pytest.mark.parametrize(("word", "ours"), [("END", "end"), ("START", "start"), ("NONE", "error")])
def test_what_vllm_and_cohere_call_it_is_the_same_setting(word: Any, ours: Any) -> None:
    """To the fingerprint, so caches answer either."""
    assert check(truncate=word) == check(truncate=ours)
    with pytest.raises(ConfigError, match=f"truncate='{word.title()}' is unknown; choose one of end, start, error"):
        check(truncate=word.title())


@pytest.mark.parametrize("wrong", [None, [], {"END": 1}, 0])
def test_a_truncation_of_another_type_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="truncate="):
        check(truncate=wrong)


def test_a_path_may_name_the_model(tmp_path: Path) -> None:
    """A pathlib.Path is as good as a string."""
    (tmp_path / "config.json").write_text(json.dumps(QWEN))
    assert check(model=tmp_path).engine == check(model=str(tmp_path)).engine


DECIDE: dict[str, Any] = {
    "model": "jinaai/jina-embeddings-v4-vllm-code",
    "revision": "v2",
    "dimensions": 128,
    "truncate": "start",
    "max_length": 100,
    "min_pixels": 4000,
    "max_pixels": 500_000,
    "engine_kwargs": {"dtype": "float16"},
    "fusion": "mean",
    "normalize": False,
    "long_text": "chunks",
    "output_dtype": "int8",
    "ranges": [[-0.5] * 2048, [0.5] * 2048],
}
DO_NOT = {"media": MediaPolicy(max_bytes=5), "show_progress": True, "on_error": "skip"}


@pytest.mark.parametrize("name", DECIDE)
def test_the_fingerprint_changes_with_each_thing_that_decides_a_vector(name: str) -> None:
    """One at a time."""
    beside = {"output_dtype": "int8"} if name == "ranges" else {}  # which nothing else has
    assert check(**beside, **{name: DECIDE[name]}).fingerprint != check(**beside).fingerprint


def test_what_is_not_normalised_says_so_at_the_end_of_its_fingerprint() -> None:
    """Behind all that was there before; a call may have its own."""
    fingerprint = check().fingerprint
    assert check(normalize=False).fingerprint == check().for_call(normalize=False).fingerprint
    assert check(normalize=False).fingerprint == f"{fingerprint}|normalize=False"
    assert check(normalize=False).for_call(normalize=True).fingerprint == fingerprint
    with pytest.raises(ConfigError, match=r"normalize=False: fusion='mean'"):
        check(fusion="mean").for_call(normalize=False)


def test_the_fingerprint_changes_with_the_task(tmp_path: Path) -> None:
    """On weights that serve several."""
    (tmp_path / "config.json").write_text(json.dumps(QWEN))
    found = {check(model=tmp_path, task=task).fingerprint for task in ("retrieval", "code", "text-matching")}
    assert len(found) == 3


def test_every_setting_either_decides_a_vector_or_does_not() -> None:
    """A new setting must take a side here."""
    assert {*DECIDE, *DO_NOT, "task", "row", "remote"} == set(inspect.signature(settings.check).parameters)
    remote = discover.remote("http://a", api_key="b", timeout=3)  # which machine computes decides nothing
    assert check(**DO_NOT, remote=remote).fingerprint == check().fingerprint


def test_a_default_written_out_changes_nothing() -> None:
    """The fingerprint holds values, not what was typed."""
    same = check(task="retrieval", dimensions=2048, min_pixels=3136, max_pixels=602112, engine_kwargs={})
    assert same.fingerprint == check().fingerprint


def test_the_order_of_engine_keywords_changes_nothing() -> None:
    """Equal options share an engine and a fingerprint."""
    a, b = check(engine_kwargs={"seed": 1, "dtype": "auto"}), check(engine_kwargs={"dtype": "auto", "seed": 1})
    assert (a.fingerprint, a.engine, hash(a.engine)) == (b.fingerprint, b.engine, hash(b.engine))


def test_settings_do_not_follow_the_callers_dict() -> None:
    """Changing it afterwards must not change which engine is meant."""
    options = {"dtype": "auto"}
    found = check(engine_kwargs=options)
    options["dtype"] = "float16"
    assert found.engine.options == {"dtype": "auto"}


def test_one_of_two_names() -> None:
    """Either name, never both, zero counts as given."""
    assert one_of("a", 1, "b", None) == one_of("a", None, "b", 1) == 1
    assert one_of("a", 0, "b", None) == 0
    assert one_of("a", None, "b", None) is None
    with pytest.raises(ConfigError, match="a and b are two names of one setting"):
        one_of("a", 1, "b", 1)


def test_a_text_model_has_no_pixel_bounds() -> None:
    """They would mean nothing, so they are refused; its row reaches the engine."""
    assert check(model="BAAI/bge-m3").engine.row.name == "xlm-roberta"
    for name in ("min_pixels", "max_pixels"):
        with pytest.raises(ConfigError, match=r"min_pixels and max_pixels mean nothing to BAAI/bge-m3"):
            check(model="BAAI/bge-m3", **{name: 3136})


# --- fingerprints of version 0.1, which users' caches and indexes hold ------------------------------------------------

OF_NAMES = {
    "jinaai/jina-embeddings-v4": "retrieval|2048|3136|602112|end|32768|{}",
    "jinaai/jina-embeddings-v4-vllm-retrieval": "retrieval|2048|3136|602112|end|32768|{}",
    "jinaai/jina-embeddings-v4-vllm-text-matching": "text-matching|2048|3136|602112|end|32768|{}",
    "jinaai/jina-embeddings-v4-vllm-code": "code|2048|3136|602112|end|32768|{}",
    "BAAI/bge-m3": "retrieval|1024|3136|602112|end|8192|{}",
}
QWEN_FILES: dict[str, Any] = {
    "config.json": QWEN | {"matryoshka_dims": [16, 32], "max_position_embeddings": 500},
    "tokenizer.json": {},
    "model.safetensors": "weights",
    "README.md": "decides nothing",
}
XLM_FILES: dict[str, Any] = {
    "config.json": {
        "model_type": "xlm-roberta",
        "architectures": ["XLMRobertaModel"],
        "hidden_size": 96,
        "max_position_embeddings": 130,
    },
    "pytorch_model.bin": "weights",
    "sentencepiece.bpe.model": "pieces",
    "colbert_linear.pt": "decides nothing",
    "1_Pooling/config.json": {"pooling_mode_cls_token": True},
}
FOLDERS: dict[str, tuple[dict[str, Any], str]] = {
    "merged": (QWEN_FILES, "a8fc1b1491106004|retrieval|64|3136|602112|end|500|{}"),
    "native": (
        QWEN_FILES | {"adapters/adapter_config.json": {}, "adapters/adapter_model.safetensors": "adapters"},
        "c63c4dad8c16139f|retrieval|64|3136|602112|end|500|{}",
    ),
    "bge": (XLM_FILES, "70b02d94ff07be8f|retrieval|96|3136|602112|end|128|{}"),
}
"""Files of small folders, and what their fingerprints end with: the files' state, and the settings."""


def written(folder: Path, files: dict[str, Any]) -> Path:
    """Write a checkpoint's files, always with the same times."""
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        os.utime(file, (0, 1_700_000_000 + len(name)))
    return folder


@pytest.mark.parametrize("name", OF_NAMES)
@pytest.mark.parametrize("revision", [None, "0123456789abcdef0123456789abcdef01234567"])
def test_the_fingerprint_of_a_published_name_is_that_of_version_0_1(name: str, revision: str | None) -> None:
    """One that changes makes every vector that users have cached be computed again."""
    assert check(model=name, revision=revision).fingerprint == f"vllm-jina-embed/1|{name}|{revision}||{OF_NAMES[name]}"


@pytest.mark.parametrize("kind", FOLDERS)
def test_the_fingerprint_of_a_folder_is_that_of_version_0_1(kind: str, tmp_path: Path) -> None:
    """With the state of its files: names, sizes and times of those that decide vectors."""
    files, end = FOLDERS[kind]
    folder = written(tmp_path / kind, files)
    assert check(model=str(folder)).fingerprint == f"vllm-jina-embed/1|{folder}|None|{end}"


@pytest.mark.parametrize(("positions", "padding", "longest"), [(16386, 1, 16384), (8194, 0, 8193), (8194, 1, 8192)])
def test_a_long_text_model_keeps_its_fingerprint(positions: int, padding: int, longest: int, tmp_path: Path) -> None:
    """Every position of its table is used, as in version 0.1."""
    config = {**XLM_FILES["config.json"], "max_position_embeddings": positions, "pad_token_id": padding}
    folder = written(tmp_path / "long", XLM_FILES | {"config.json": config})
    start, end = f"vllm-jina-embed/1|{folder}|None|", f"|retrieval|96|3136|602112|end|{longest}|{{}}"
    found = check(model=str(folder)).fingerprint
    assert (found.startswith(start), found.endswith(end)) == (True, True)


def test_the_fingerprint_of_the_demo_is_that_of_version_0_1() -> None:
    """The times of its files are those of the installation, so the state is computed here as that version did."""
    suffixes = {".safetensors", ".bin", ".json", ".txt", ".model"}
    files = [file for file in sorted(DEMO_FOLDER.iterdir()) if file.suffix in suffixes]
    facts = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    state = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    end = f'{state}|retrieval|128|3136|602112|end|8192|{{"dtype": "float32"}}'
    assert check(model="demo").fingerprint == f"vllm-jina-embed/1|{DEMO_FOLDER.resolve()}|None|{end}"


def test_each_setting_has_its_place_in_the_fingerprint_of_version_0_1() -> None:
    """With no default among them."""
    found = check(
        model="jinaai/jina-embeddings-v4", revision="abc", task="code", dimensions=256, truncate="start", max_length=77,
        min_pixels=5000, max_pixels=6000, engine_kwargs={"seed": 1, "dtype": "float16"},
    )  # fmt: skip
    assert found.fingerprint == (
        'vllm-jina-embed/1|jinaai/jina-embeddings-v4|abc||code|256|5000|6000|start|77|{"dtype": "float16", "seed": 1}'
    )
