"""Facts of checkpoints, and which settings they honour."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vllm_jina_embed.checkpoints.description import DEMO_FOLDER
from vllm_jina_embed.checkpoints.files import Folder
from vllm_jina_embed.checkpoints.resolve import PUBLISHED, resolve
from vllm_jina_embed.checkpoints.table.bge import BGE_M3, XLM_ROBERTA
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4, MATRYOSHKA_SIZES, NATIVE, TASKS
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.settings import check, check_dimensions, check_task

RETRIEVAL = PUBLISHED["jinaai/jina-embeddings-v4-vllm-retrieval"]


def folder_with(path: Path, config: object) -> Path:
    """Return ``path`` with ``config`` as its config.json."""
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return path


def qwen(**more: Any) -> dict[str, Any]:
    """Return the least config that is read as a Qwen2.5-VL checkpoint."""
    least = {"model_type": "qwen2_5_vl", "architectures": ["Qwen2_5_VLForConditionalGeneration"]}
    return {**least, "text_config": {"hidden_size": 512}, **more}


def xlm(**more: Any) -> dict[str, Any]:
    """Return the least config that is read as an XLM-RoBERTa checkpoint."""
    least = {"model_type": "xlm-roberta", "architectures": ["XLMRobertaModel"], "hidden_size": 96}
    return {**least, "max_position_embeddings": 514, **more}


@pytest.mark.parametrize("task", TASKS)
def test_published_checkpoints_need_no_download(task: str) -> None:
    """Their facts are constants with a source."""
    checkpoint = resolve(f"jinaai/jina-embeddings-v4-vllm-{task}")
    assert checkpoint.tasks == (task,)
    assert (checkpoint.hidden_size, checkpoint.matryoshka_sizes) == (2048, (128, 256, 512, 1024, 2048))
    assert (checkpoint.min_pixels, checkpoint.max_pixels, checkpoint.max_length) == (3136, 602112, 32768)


def test_the_demo_is_a_folder_of_the_package() -> None:
    """No download, the reference's arithmetic, three trained sizes, all tasks."""
    checkpoint = resolve("demo")
    assert (checkpoint.name, checkpoint.location) == ("demo", str(DEMO_FOLDER.resolve()))
    assert checkpoint.matryoshka_sizes == (32, 64, 128)
    assert checkpoint.tasks == TASKS
    assert checkpoint.options == {"dtype": "float32"}


def test_a_folder_is_read_as_jina_v4(tmp_path: Path) -> None:
    """Jina's sizes below its own; all tasks; no options of its own."""
    checkpoint = resolve(str(folder_with(tmp_path, qwen())))
    assert checkpoint.location == str(tmp_path.resolve())
    assert checkpoint.matryoshka_sizes == (128, 256, 512)
    assert (checkpoint.tasks, checkpoint.options) == (TASKS, {})


def test_a_folder_may_state_its_own_sizes_and_tasks(tmp_path: Path) -> None:
    """As jina-embeddings-v4's config.json does; sizes are sorted and end with the full one."""
    checkpoint = resolve(str(folder_with(tmp_path, qwen(matryoshka_dims=[64, 32, 9999, 0], task_names=["code"]))))
    assert checkpoint.matryoshka_sizes == (32, 64, 512)
    assert checkpoint.tasks == ("code",)


def test_a_config_without_text_config_is_read_too(tmp_path: Path) -> None:
    """Older checkpoints keep the text model's numbers on top."""
    assert resolve(str(folder_with(tmp_path, qwen(text_config=None, hidden_size=256)))).hidden_size == 256


def test_a_folder_that_changes_is_read_again(tmp_path: Path) -> None:
    """Nothing of a folder is remembered between embedders."""
    assert resolve(str(folder_with(tmp_path, qwen()))).hidden_size == 512
    assert resolve(str(folder_with(tmp_path, qwen(text_config=None, hidden_size=64)))).hidden_size == 64


def test_a_relative_folder_follows_the_working_directory(tmp_path: Path) -> None:
    """The same name in two places is two checkpoints."""
    before = Path.cwd()
    locations = []
    try:
        for place in ("a", "b"):
            (tmp_path / place).mkdir()
            folder_with(tmp_path / place / "checkpoint", qwen())
            os.chdir(tmp_path / place)
            locations.append(resolve("checkpoint").location)
    finally:
        os.chdir(before)
    assert locations == [str((tmp_path / place / "checkpoint").resolve()) for place in ("a", "b")]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "bert", "architectures": ["BertModel"]}, "BertModel"),
        ({}, "Qwen2_5_VLForConditionalGeneration"),
        (qwen(text_config=None), "hidden_size"),
        ({"model_type": "qwen2_5_vl", "hidden_size": 64}, "names no architectures"),
        (qwen(architectures=[]), "names no architectures"),
        (qwen(architectures=["BiQwen2_5"]), r"got architectures=\['BiQwen2_5'\]; expected .*jina-embeddings-v4 \("),
        (qwen(architectures=["ColQwen2_5"]), "ColQwen2_5"),
        (qwen(architectures=["Qwen2_5_VLForSequenceClassification"]), "Qwen2_5_VLForSequenceClassification"),
        (qwen(architectures=["Qwen2_5_VLForConditionalGeneration", "BiQwen2_5"]), "BiQwen2_5"),
        (qwen(architectures="BiQwen2_5"), "BiQwen2_5"),
        (qwen(id2label={"0": "LABEL_0"}), "id2label={.*}, as a classifier"),
        (qwen(id2label={"0": "no", "1": "yes"}), "id2label={.*}, as a classifier"),
        (qwen(problem_type="regression"), "problem_type='regression', as a classifier"),
        (qwen(embedding_dim=128), "embedding_dim=128, as a classifier or a model of late interaction"),
        (qwen(matryoshka_dims=["many"]), "matryoshka_dims"),
        (qwen(matryoshka_dims=7), "matryoshka_dims"),
        (xlm(architectures=["XLMRobertaForSequenceClassification"]), "XLMRobertaForSequenceClassification"),
        (xlm(architectures=None), "names no architectures.*bge-m3 .XLMRobertaModel."),
        (xlm(position_embedding_type="rotary"), "position_embedding_type='rotary'; expected 'absolute'"),
        (xlm(position_embedding_type=None), "position_embedding_type=None; expected 'absolute'"),
        (xlm(max_position_embeddings=None), "max_position_embeddings"),
        ([], "cannot be read"),
        ("{", "cannot be read"),
    ],
)
def test_a_folder_that_is_no_such_checkpoint_is_refused(tmp_path: Path, config: object, message: str) -> None:
    """The error says what was found."""
    with pytest.raises(ConfigError, match=message):
        resolve(str(folder_with(tmp_path, config)))


@pytest.mark.parametrize("config", [qwen(), qwen(id2label={"0": "LABEL_0", "1": "LABEL_1"}, problem_type=None)])
def test_a_plain_qwen_folder_is_served_as_jina_v4_and_a_warning_says_so_once(
    tmp_path: Path, config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Its merged checkpoints look like the model that they were made of; a name of ours is enough."""
    for _ in range(2):
        check(model=folder_with(tmp_path, config))
    (record,) = caplog.records
    assert (record.levelname, record.name) == ("WARNING", "vllm_jina_embed.checkpoints.resolve")
    assert f"model={str(tmp_path)!r} is a Qwen2_5_VLForConditionalGeneration checkpoint" in record.message
    assert "served as jina-embeddings-v4" in record.message
    caplog.clear()
    check(model=folder_with(tmp_path / "jina-embeddings-v4-vllm-code", qwen()))
    check(model="jinaai/jina-embeddings-v4-vllm-code")
    check(model="demo")
    check(model=DEMO_FOLDER)
    check(model=BGE_M3)
    assert caplog.records == []


TRANSFORMER, POOLING = (f"sentence_transformers.models.{name}" for name in ("Transformer", "Pooling"))
CLS = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
MEAN = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
MODULES = [{"type": TRANSFORMER, "path": ""}, {"type": POOLING, "path": "1_Pooling"}]


@pytest.mark.parametrize(
    ("config", "files", "message"),
    [
        (
            xlm(),
            {"1_Pooling/config.json": MEAN},
            "would be read as bge-m3, but 1_Pooling/config.json has the pooling mean; expected cls",
        ),
        (xlm(), {"1_Pooling/config.json": {"pooling_mode": "mean"}}, "has the pooling mean; expected cls"),
        (xlm(), {"1_Pooling/config.json": {**CLS, "pooling_mode_max_tokens": True}}, "has the pooling cls, max"),
        (
            xlm(),
            {"modules.json": [MODULES[0], {"type": POOLING, "path": "pool"}], "pool/config.json": MEAN},
            "has the pooling mean",
        ),
        (
            xlm(),
            {"modules.json": [*MODULES, {"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]},
            "modules.json has Dense, which is not computed here; expected Transformer, Pooling, Normalize",
        ),
        (
            xlm(),
            {"modules.json": [{"type": POOLING}], "1_Pooling/config.json": MEAN},
            "1_Pooling/config.json has the pooling mean",
        ),
        (xlm(), {"modules.json": "{"}, "modules.json cannot be read"),
        (qwen(), {"1_Pooling/config.json": {"pooling_mode_lasttoken": True}}, "has the pooling lasttoken; expected me"),
    ],
)
def test_what_sentence_transformers_is_told_about_another_model_is_a_refusal(
    tmp_path: Path, config: dict[str, Any], files: dict[str, Any], message: str
) -> None:
    """multilingual-e5, arctic-embed and the like have the architecture of bge-m3, and other vectors."""
    folder_with(tmp_path, config)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ConfigError, match=message):
        resolve(str(tmp_path))


def test_a_text_model_with_prompts_is_another_one(tmp_path: Path) -> None:
    """It has bge-m3's pooling, and a prompt that it was trained with."""
    told = {"prompts": {"query": "query: ", "document": ""}}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(told))
    with pytest.raises(ConfigError, match=r"as bge-m3, but .* the prompts {'query': 'query: '}; expected none"):
        resolve(str(folder_with(tmp_path, xlm())))


def test_a_folder_like_bge_m3s_is_served(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its own files: first token, normalised, empty prompts."""
    folder_with(tmp_path, xlm())
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(CLS))
    normalize = {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"}
    (tmp_path / "modules.json").write_text(json.dumps([*MODULES, normalize]))
    told = {"__version__": {}, "prompts": {"query": "", "document": ""}}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(told))
    assert resolve(str(tmp_path), warns=True).row == XLM_ROBERTA
    assert caplog.records == []


@pytest.mark.parametrize(("config", "refused"), [(MEAN, "has the pooling mean"), (CLS, ""), (None, "")])
def test_a_repository_is_asked_for_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, bool] | None, refused: str
) -> None:
    """One that it does not have says nothing."""
    hub = pytest.importorskip("huggingface_hub")
    files: dict[str, Any] = {"config.json": xlm(), "1_Pooling/config.json": config}

    def download(repository: str, name: str, *, revision: str | None) -> str:
        if files.get(name) is None:
            raise hub.errors.EntryNotFoundError(name)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(files[name]))
        return str(tmp_path / name)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    repository = f"somebody/{tmp_path.name}"
    if refused:
        with pytest.raises(ConfigError, match=refused):
            resolve(repository)
    else:
        assert resolve(repository).location == repository


def test_a_folder_without_config_is_refused(tmp_path: Path) -> None:
    """The error names the missing file."""
    with pytest.raises(ConfigError, match=r"config\.json"):
        resolve(str(tmp_path))


@pytest.mark.parametrize("name", ["no-such-name", "./no/such", "/no/such/folder", "~nobody-here/x", "a/b/c", "\0"])
def test_an_unknown_name_lists_the_known_ones(name: str) -> None:
    """Nothing is downloaded for a name that cannot be a repository."""
    with pytest.raises(ConfigError, match=r"no such folder.*demo.*jina-embeddings-v4-vllm-code"):
        resolve(name)


def test_the_native_checkpoint_serves_every_task_with_a_projector() -> None:
    """Its facts are known without a download."""
    native = resolve(NATIVE)
    assert (native.tasks, native.hidden_size, native.token_dimensions) == (TASKS, 2048, 128)
    assert native.has_adapters
    assert [check_task(native, task) for task in (None, *TASKS)] == ["retrieval", *TASKS]
    assert not RETRIEVAL.has_adapters
    assert RETRIEVAL.token_dimensions == RETRIEVAL.hidden_size


@pytest.mark.parametrize("by", ["architecture", "folder"])
def test_a_folder_with_adapters_is_native(tmp_path: Path, by: str) -> None:
    """Named so by its architecture, or merely holding them; sizes and tasks come from its own configuration."""
    own: dict[str, Any] = {"task_names": ["code", "retrieval"], "multi_vector_projector_dim": 48}
    if by == "folder":
        (tmp_path / "adapters").mkdir()
    else:
        own["architectures"] = ["JinaEmbeddingsV4Model"]
    native = resolve(str(folder_with(tmp_path, qwen(**own))))
    assert (native.has_adapters, native.tasks, native.token_dimensions) == (True, ("code", "retrieval"), 48)


def test_another_adapter_file_is_another_state_of_the_files(tmp_path: Path) -> None:
    """So that it gets its own engine and its own place in a cache."""
    (tmp_path / "adapters").mkdir()
    before = Folder(tmp_path).state()
    (tmp_path / "adapters" / "adapter_model.safetensors").write_bytes(b"x")
    assert Folder(tmp_path).state() != before


def test_the_task_defaults_to_the_checkpoints_own() -> None:
    """The first of its tasks."""
    assert check_task(RETRIEVAL, None) == "retrieval"
    assert check_task(resolve("demo"), "code") == "code"


def test_a_task_of_other_weights_names_their_checkpoint() -> None:
    """Weights merged for one task give wrong vectors for another."""
    with pytest.raises(ConfigError, match="and jinaai/jina-embeddings-v4-vllm-code"):
        check_task(RETRIEVAL, "code")
    with pytest.raises(ConfigError, match="'search' is unknown; choose one of retrieval, text-matching, code"):
        check_task(RETRIEVAL, "search")


def test_every_matryoshka_size_is_allowed() -> None:
    """None means the full one; numpy's integers count."""
    assert check_dimensions(RETRIEVAL, None) == 2048
    assert [check_dimensions(RETRIEVAL, size) for size in MATRYOSHKA_SIZES] == list(MATRYOSHKA_SIZES)
    numpys: Any = np.int64(128)
    assert type(check_dimensions(RETRIEVAL, numpys)) is int


@pytest.mark.parametrize("dimensions", [0, -128, 300, 4096, True, 128.0, "128"])
def test_any_other_size_is_refused_with_the_choice(dimensions: Any) -> None:
    """The house's example of a good message."""
    with pytest.raises(ConfigError, match="choose one of 128, 256, 512, 1024, 2048"):
        check_dimensions(RETRIEVAL, dimensions)


def test_bge_m3_needs_no_download() -> None:
    """Texts only, one size, one task, and 8192 tokens with both special ones."""
    checkpoint = resolve("BAAI/bge-m3")
    assert (checkpoint.name, checkpoint.location, checkpoint.row) == (BGE_M3, BGE_M3, XLM_ROBERTA)
    assert (checkpoint.hidden_size, checkpoint.matryoshka_sizes, checkpoint.token_dimensions) == (1024, (1024,), 1024)
    assert (checkpoint.max_length, checkpoint.tasks, checkpoint.supports_images) == (8192, ("retrieval",), False)
    assert (RETRIEVAL.row, RETRIEVAL.supports_images) == (JINA_V4, True)


@pytest.mark.parametrize(
    ("padding", "longest"),
    [
        ({}, 512),
        ({"pad_token_id": 0}, 513),
        ({"pad_token_id": 5}, 508),
        ({"max_position_embeddings": 8194}, 8192),
        ({"max_position_embeddings": 8194, "pad_token_id": 0}, 8193),
        ({"max_position_embeddings": 16386}, 16384),
    ],
)
def test_an_xlm_roberta_folder_counts_positions_from_after_its_padding(
    tmp_path: Path, padding: dict[str, int], longest: int
) -> None:
    """The rows of the position table up to the padding's are never used; all others are, as in version 0.1."""
    checkpoint = resolve(str(folder_with(tmp_path, xlm(**padding))))
    assert (checkpoint.row, checkpoint.hidden_size, checkpoint.max_length) == (XLM_ROBERTA, 96, longest)


def test_a_text_model_says_who_serves_another_task_or_size() -> None:
    """Its own name is no part of a jina checkpoint's."""
    with pytest.raises(ConfigError, match=r"'code' is not served by BAAI/bge-m3, only retrieval\..* jinaai/jina"):
        check_task(resolve(BGE_M3), "code")
    with pytest.raises(ConfigError, match="BAAI/bge-m3; it was trained for the full length alone"):
        check_dimensions(resolve(BGE_M3), 512)


INFINITE, DEEP = float("inf"), "[" * 200_000


@pytest.mark.fire
@pytest.mark.parametrize(
    ("config", "message"),
    [
        (qwen(text_config={"hidden_size": INFINITE}), "hidden_size=inf; expected a whole number from 1 to 65536"),
        (qwen(text_config={"hidden_size": -5}), "hidden_size=-5"),
        (qwen(text_config={"hidden_size": True}), "hidden_size=True"),
        (qwen(text_config=[1]), "text_config"),
        (qwen(text_config={"hidden_size": 64, "max_position_embeddings": INFINITE}), "max_position_embeddings=inf"),
        (qwen(matryoshka_dims=[INFINITE]), r"matryoshka_dims=\[inf\]"),
        (qwen(multi_vector_projector_dim=INFINITE), "multi_vector_projector_dim=inf"),
        (qwen(task_names="code"), "task_names='code'; expected a list of some of retrieval, text-matching, code"),
        (qwen(task_names=[1, [2]]), r"task_names=\[1, \[2\]\]"),
        (qwen(task_names=["summarise"]), "summarise"),
        (qwen(id2label=["LABEL_0", "LABEL_1"]), "id2label=.*expected a JSON object"),
        (qwen(id2label=5), "id2label=5; expected a JSON object"),
        (xlm(hidden_size=INFINITE), "hidden_size=inf"),
        (xlm(max_position_embeddings=INFINITE), "max_position_embeddings=inf"),
        (xlm(max_position_embeddings=2), "max_position_embeddings=2; expected a whole number from 5"),
        (xlm(pad_token_id=INFINITE), "pad_token_id=inf"),
        (DEEP, r"config\.json' cannot be read"),
    ],
)
def test_a_value_of_another_type_or_range_is_named(tmp_path: Path, config: object, message: str) -> None:
    """A checkpoint's files are anybody's: no value in them raises an error that is not ours."""
    with pytest.raises(ConfigError, match=message):
        resolve(str(folder_with(tmp_path, config)))


@pytest.mark.fire
@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("modules.json", 5, "modules.json is 5; expected a list of JSON objects"),
        ("modules.json", [5], r"modules.json is \[5\]"),
        ("modules.json", [{"type": 5}], "type=5; expected a string"),
        ("modules.json", [{"type": POOLING, "path": [1]}], r"path=\[1\]; expected a string"),
        ("modules.json", DEEP, "modules.json cannot be read"),
        ("1_Pooling/config.json", {"pooling_mode": [["cls"]]}, "pooling_mode=.*expected a string, or a list"),
        ("1_Pooling/config.json", [1], r"1_Pooling/config.json is \[1\]; expected a JSON object"),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": 1}, "mean_tokens=1; expected true or false"),
        ("modules.json", [{"type": POOLING}, {"type": POOLING}], "modules.json has 2 modules Pooling; expected one"),
        ("modules.json", [{"type": POOLING, "path": "a" * 5000}], r"a/config\.json cannot be read"),
        ("config_sentence_transformers.json", {"prompts": 5}, "prompts=5; expected a JSON object"),
        ("config_sentence_transformers.json", {"prompts": {"query": [1]}}, r"query=\[1\]; expected a string"),
        ("config_sentence_transformers.json", [1], r"config_sentence_transformers.json is \[1\]; expected a JSON obje"),
    ],
)
def test_a_value_of_another_type_beside_the_config_is_named(
    tmp_path: Path, file: str, content: object, message: str
) -> None:
    """What sentence-transformers is told is no safer than config.json."""
    folder_with(tmp_path, xlm())
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ConfigError, match=message):
        resolve(str(tmp_path))


@pytest.mark.fire
@pytest.mark.parametrize("name", ["a" * 5000, "a" * 5000 + "/b"])
def test_a_name_longer_than_a_path_can_be_is_refused(name: str) -> None:
    """The system's error is the cause, not what the caller gets."""
    with pytest.raises(ConfigError, match=r"cannot be looked up as a folder .*demo"):
        resolve(name)


def test_the_old_name_of_the_matryoshka_sizes_warns() -> None:
    with pytest.warns(DeprecationWarning, match="matryoshka_sizes"):
        assert RETRIEVAL.dimensions == RETRIEVAL.matryoshka_sizes


def test_the_old_name_of_the_row_warns() -> None:
    with pytest.warns(DeprecationWarning, match="now called row"):
        assert RETRIEVAL.family is RETRIEVAL.row


def test_the_page_of_checkpoints_names_the_tasks_of_the_demo() -> None:
    """No other: one that it does not serve is refused."""
    page = Path(__file__).parents[3] / "docs/native.md"
    (cell,) = [line.split("|")[2] for line in page.read_text().splitlines() if line.startswith("| `demo` |")]
    assert re.findall("`([^`]+)`", cell) == [*resolve("demo").tasks]
