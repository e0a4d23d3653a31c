"""Which row a folder belongs to: by its architecture, by what its other files say, or by what the caller names."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vllm_jina_embed import JinaEmbedder, Layout, Model, Slot, Special, register
from vllm_jina_embed.checkpoints import registry
from vllm_jina_embed.checkpoints.description import DEMO_FOLDER
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.checkpoints.table.bge import BGE_M3, XLM_ROBERTA
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.settings import check

PROMPT = "question: "
OWN = Model(
    name="own/query-encoder", pooling="first_token", kind="unigram",
    templates={
        ("query", "text"): (Special("<s>"), PROMPT, Slot.TEXT, Special("</s>")),
        ("passage", "text"): (Special("<s>"), Slot.TEXT, Special("</s>")),
    },
    layouts=(Layout(architecture="XLMRobertaModel", prompts={"query": PROMPT}),), positions="after_padding",
    max_length=512,
)  # fmt: skip
BERT = replace(OWN, name="arctic-embed-xs", layouts=(Layout(architecture="BertModel"),), positions="all")
XLM = {"architectures": ["XLMRobertaModel"], "hidden_size": 96, "max_position_embeddings": 514}
QWEN = {"architectures": ["Qwen2_5_VLForConditionalGeneration"], "hidden_size": 64}
PROMPTS, POOLING, MODULES = "config_sentence_transformers.json", "1_Pooling/config.json", "modules.json"
CLS, MEAN = {"pooling_mode_cls_token": True}, {"pooling_mode_mean_tokens": True}


@pytest.fixture(autouse=True)
def rows() -> Iterator[None]:
    """The rows, which are as before after the test."""
    before = dict(registry.ROWS)
    yield
    registry.ROWS.clear()
    registry.ROWS.update(before)


def folder(path: Path, config: dict[str, Any], **files: Any) -> str:
    """Return a folder with this config.json and, by the names above in capitals, other files."""
    path.mkdir(exist_ok=True)
    for name, content in {"config.json": config, **{globals()[name]: files[name] for name in files}}.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(json.dumps(content))
    return str(path)


# --- no row, or none that fits ----------------------------------------------------------------------------------------


def test_an_unknown_architecture_is_refused_with_the_lines_that_describe_it(tmp_path: Path) -> None:
    """They work once the dots are filled in; until then they are no guess."""
    place = folder(tmp_path, {**XLM, "architectures": ["FooModel"]})
    with pytest.raises(ConfigError) as caught:
        resolve(place)
    message = str(caught.value)
    assert f"model={place!r}: got architectures=['FooModel']; expected bge-m3 (XLMRobertaModel) or " in message
    assert "jina-embeddings-v4 (JinaEmbeddingsV4Model, Qwen2_5_VLForConditionalGeneration)" in message
    assert "their vectors would be wrong here" in message
    made: dict[str, Any] = {}
    lines = "\n".join(line.removeprefix("    ") for line in message.splitlines()[1:])
    with pytest.raises(ConfigError, match=r"has pooling=Ellipsis; expected one of vision_span_mean, first_"):
        exec(lines, {})
    for dots, text in {
        "pooling=...": "pooling='first_token'",
        "kind=...": "kind='unigram'",
        "max_length=...": "max_length=512",
        "(..., Slot.TEXT, ...)": "(Special('<s>'), Slot.TEXT, Special('</s>'))",
    }.items():
        assert dots in lines
        lines = lines.replace(dots, text)
    exec(lines, made)
    embedder = made["embedder"]
    assert (embedder.checkpoint.row, embedder.checkpoint.max_length) == (made["row"], 512)
    embedder.close()


def test_each_way_in_which_a_folder_differs_is_named_with_both_values(tmp_path: Path) -> None:
    prompts = {"prompts": {"query": "query: ", "passage": ""}}
    place = folder(tmp_path, XLM, POOLING=MEAN, PROMPTS=prompts)
    with pytest.raises(ConfigError) as caught:
        resolve(place, row=XLM_ROBERTA)
    assert str(caught.value) == (
        f"model={place!r}: XLMRobertaModel would be read as bge-m3, but 1_Pooling/config.json has the pooling mean; "
        "expected cls and config_sentence_transformers.json has the prompts {'query': 'query: '}; expected none. "
        "Other models have other prompts and another pooling: their vectors would be wrong here. Pass row= with a "
        "description of this model (vllm_jina_embed.Model). If the files are wrong, or your texts have the prompts "
        "already, pass a copy of the row with other layouts: its vectors and its digest are the same."
    )
    own_prompts = replace(XLM_ROBERTA, layouts=(Layout(architecture="XLMRobertaModel", modules=()),))
    assert check(model=place, row=own_prompts).fingerprint.startswith(f"vllm-jina-embed/1|{place}|")


def test_a_folder_that_differs_from_every_row_names_them_all(tmp_path: Path) -> None:
    register(OWN)
    with pytest.raises(ConfigError) as caught:
        resolve(folder(tmp_path, XLM, POOLING=MEAN))
    assert "as bge-m3, but" in str(caught.value)
    assert "; or as own/query-encoder, but 1_Pooling" in str(caught.value)


def test_adapters_are_a_sign_too(tmp_path: Path) -> None:
    """A folder without them is compared with merged checkpoints, not told to have some."""
    with pytest.raises(ConfigError, match=r"would be read as jina-embeddings-v4, but config\.json has problem_type="):
        resolve(folder(tmp_path, {**QWEN, "problem_type": "regression"}))
    (tmp_path / "adapters").mkdir()
    with pytest.raises(ConfigError, match="it has a folder 'adapters'; expected none"):
        check(model=folder(tmp_path, XLM), row=OWN)


def test_a_folder_that_a_training_left_beside_a_text_model_says_nothing(tmp_path: Path) -> None:
    """As in version 0.1; the weights are those of the folder itself."""
    (tmp_path / "adapters").mkdir()
    checkpoint = resolve(folder(tmp_path, XLM))
    assert (checkpoint.row, checkpoint.has_adapters) == (XLM_ROBERTA, False)


def test_a_merged_checkpoint_that_sentence_transformers_saved_is_one(tmp_path: Path) -> None:
    """It writes empty prompts by default; a prompt may be named by task and role."""
    for prompts in (
        {"query": "", "document": ""},
        {"retrieval.query": "Query: ", "retrieval.passage": "Passage: "},
        {"code_query": "Query: "},
    ):
        assert resolve(folder(tmp_path, QWEN, PROMPTS={"prompts": prompts})).row == JINA_V4
    with pytest.raises(ConfigError, match=r"has the prompts {'document': 'Query: '}; expected"):
        resolve(folder(tmp_path, QWEN, PROMPTS={"prompts": {"document": "Query: "}}))


def test_an_empty_prompt_contradicts_a_row_that_has_one(tmp_path: Path) -> None:
    """Otherwise every model without prompts would fit the row of one that has them."""
    register(OWN)
    for prompts in ({"query": "", "document": ""}, {"retrieval.query": "", "document": ""}):
        assert resolve(folder(tmp_path, XLM, PROMPTS={"prompts": prompts})).row == XLM_ROBERTA
    for prompts in ({"query": "", "document": "d: "}, {"query": "", "other.query": "a: "}):
        with pytest.raises(ConfigError, match=r"has the prompts {.*'query': ''}; expected {'query': 'question: '}"):
            check(model=folder(tmp_path, XLM, PROMPTS={"prompts": prompts}), row=OWN)


@pytest.mark.parametrize("empty", ["", None])
def test_what_sentence_transformers_writes_by_default_says_nothing(tmp_path: Path, empty: str | None) -> None:
    """Beside the prompt under another name; alone, where none was published and the name or the caller says the row."""
    register(OWN)
    defaults = {"query": empty, "document": empty}
    assert resolve(folder(tmp_path / "a", XLM, PROMPTS={"prompts": {**defaults, "search.query": PROMPT}})).row == OWN
    alone = {"PROMPTS": {"prompts": defaults}}
    with pytest.raises(ConfigError, match=r"has the prompts {'query': ''}; expected {'query': 'question: '}"):
        check(model=folder(tmp_path / "a", XLM, **alone), row=OWN)
    unsaid = replace(OWN, name="unsaid", layouts=(replace(OWN.layouts[0], prompts_unpublished=True),))
    assert check(model=folder(tmp_path / "a", XLM, **alone), row=unsaid).checkpoint.row == unsaid
    documents = replace(
        OWN, name="two", layouts=(replace(OWN.layouts[0], prompts={"query": PROMPT, "passage": "p: "}),)
    )
    place = folder(tmp_path / "b", XLM, PROMPTS={"prompts": {"query": PROMPT, "document": empty}})
    with pytest.raises(ConfigError, match=r"has the prompts {'document': ''}; expected {'passage': 'p: ', 'query'"):
        check(model=place, row=documents)
    place = folder(tmp_path / "c", XLM, PROMPTS={"prompts": {"query": PROMPT, "document": "p: "}})
    assert check(model=place, row=documents).checkpoint.row == documents


@pytest.mark.parametrize("architectures", [[["X"]], [{}], [5], ["A", "B"], "XLMRobertaModel", {"a": 1}])
def test_architectures_that_are_no_list_of_one_name_are_refused(tmp_path: Path, architectures: Any) -> None:
    with pytest.raises(ConfigError, match=r"got architectures=.*Expected a list of one name: copy the config\.json"):
        resolve(folder(tmp_path, {**XLM, "architectures": architectures}))


def test_a_merged_checkpoint_may_have_the_prompts_that_are_added_here(tmp_path: Path) -> None:
    own = {"prompts": {"query": "Query: ", "document": "Passage: ", "other": ""}}
    assert resolve(folder(tmp_path, QWEN, PROMPTS=own)).row == JINA_V4
    with pytest.raises(ConfigError, match=r"has the prompts {'query': 'Frage: '}; expected {.*'query': 'Query: '}"):
        resolve(folder(tmp_path, QWEN, PROMPTS={"prompts": {"query": "Frage: "}}))


# --- several rows of one architecture ---------------------------------------------------------------------------------


def test_what_the_files_say_decides_among_rows_of_one_architecture(tmp_path: Path) -> None:
    """A prompt is of the row that has it; if nothing decides, none is assumed: a wrong guess would be silent."""
    register(OWN)
    said = {"prompts": {"query": PROMPT}}
    assert resolve(folder(tmp_path / "a", XLM, POOLING=CLS, PROMPTS=said)).row == OWN
    for files in ({}, {"POOLING": CLS}):
        with pytest.raises(ConfigError, match=r"fits 2 rows \(xlm-roberta, own/query-encoder\) and its files do not"):
            resolve(folder(tmp_path / "b", XLM, **files))


NAMES = [
    ("query-encoder-v2", None, OWN),
    ("Query_Encoder", None, OWN),
    ("bge-m3-korean", None, XLM_ROBERTA),
    ("models--own--query-encoder/snapshots/0123456789abcdef", None, OWN),
    ("mine", "own/query-encoder", OWN),
    ("mine", "/data/bge-m3/", XLM_ROBERTA),
    ("my-query-encoder", None, None),
    ("query-encoders", None, None),
    ("query-encoder/other", None, None),
    ("bge-m3-vs-others/large", None, None),
    ("mine", ["own/query-encoder"], None),
]


@pytest.mark.parametrize(("name", "made_of", "row"), NAMES)
def test_a_name_decides_where_the_files_do_not(tmp_path: Path, name: str, made_of: Any, row: Model | None) -> None:
    """The folder's own, or that of the model that it was made of; not a part of a word, nor a folder above."""
    register(OWN)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    place = folder(tmp_path / name, XLM | {"_name_or_path": made_of})
    if row is None:
        with pytest.raises(ConfigError, match="fits 2 rows"):
            resolve(place)
    else:
        assert resolve(place).row == row


def test_a_folder_that_fits_several_rows_is_refused_with_their_names(tmp_path: Path) -> None:
    register(BERT)
    register(replace(BERT, name="other", code=2))
    place = folder(tmp_path, {**XLM, "architectures": ["BertModel"]})
    with pytest.raises(ConfigError) as caught:
        resolve(place)
    assert "BertModel fits 2 rows (arctic-embed-xs, other)" in str(caught.value)
    assert "Pass row='arctic-embed-xs', or another of them." in str(caught.value)
    assert check(model=place, row="other").checkpoint.row.name == "other"


# --- a row of the caller's ----------------------------------------------------------------------------------------


def test_a_registered_row_recognises_its_folders(tmp_path: Path) -> None:
    """One row in one place is all that a new model of a known kind needs."""
    register(BERT)
    checkpoint = resolve(folder(tmp_path, {**XLM, "architectures": ["BertModel"], "max_position_embeddings": 300}))
    assert (checkpoint.row, checkpoint.tasks, checkpoint.matryoshka_sizes) == (BERT, ("retrieval",), (96,))
    assert (checkpoint.max_length, checkpoint.token_dimensions, checkpoint.has_adapters) == (300, 96, False)


def test_a_row_may_be_registered_while_a_folder_is_compared(tmp_path: Path) -> None:
    """By another thread."""

    class Registering(tuple[Layout, ...]):
        def __iter__(self) -> Iterator[Layout]:
            registry.ROWS[f"row {len(registry.ROWS)}"] = BERT
            return super().__iter__()

    registry.ROWS["own"] = replace(BERT, name="own", layouts=Registering(BERT.layouts))
    assert resolve(folder(tmp_path, XLM)).row == XLM_ROBERTA


def test_a_row_needs_no_registration_where_it_is_passed(tmp_path: Path) -> None:
    """It decides the prefix, the longest text and the fingerprint, and no other folder is taken for it."""
    place = folder(tmp_path, XLM)
    with JinaEmbedder(place, row=OWN) as embedder:
        settings = embedder.settings
    assert (settings.checkpoint.row, settings.engine.row, settings.max_length) == (OWN, OWN, 512)
    assert OWN.digest in settings.fingerprint
    assert settings.engine != check(model=place).engine
    assert resolve(place).row == XLM_ROBERTA
    assert "own/query-encoder" not in registry.ROWS


def test_the_files_have_their_say_even_where_a_row_is_named(tmp_path: Path) -> None:
    place = folder(tmp_path, XLM, POOLING=MEAN)
    with pytest.raises(ConfigError, match=r"as own/query-encoder, but 1_Pooling/config\.json has"):
        check(model=place, row=OWN)
    with pytest.raises(ConfigError, match=r"got architectures=\['XLMRobertaModel'\]; expected jina-embeddings-v4 \(J"):
        check(model=folder(tmp_path, XLM), row="jina-v4")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("bge", "row='bge' is unknown; choose one of .*jina-v4, .*xlm-roberta, or call vllm_jina_embed.register"),
        (5, "row=5 is a int; expected a vllm_jina_embed.Model"),
        (replace(JINA_V4, code=2), "'jina-v4': there is another row of this name, with digest"),
        (replace(OWN, tasks=("search",)), r"has tasks=\('search',\); expected some of retrieval"),
    ],
)
def test_what_is_no_row_is_refused(row: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(model="demo", row=row)


def test_a_published_name_with_its_own_row_needs_no_download() -> None:
    assert resolve(BGE_M3, None, XLM_ROBERTA) is resolve(BGE_M3)
    assert check(model="demo", row="jina-v4") == check(model="demo")


def test_a_published_name_with_another_row_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sizes are the table's, but the row is not, so the checkpoint's own files are compared."""
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub, "hf_hub_download", lambda repository, name, *, revision: 1 / 0)
    with pytest.raises(ConfigError, match=r"'BAAI/bge-m3': config\.json could not be fetched .ZeroDivisionError"):
        resolve(BGE_M3, None, replace(XLM_ROBERTA, code=2))


# --- warnings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "files", "row", "warns"),
    [
        (XLM, {}, None, True),
        (XLM, {"POOLING": CLS}, None, True),
        (XLM, {"PROMPTS": {}}, None, True),
        (XLM, {"POOLING": CLS, "PROMPTS": {}}, None, False),
        (XLM, {"MODULES": []}, None, True),
        (XLM, {}, "xlm-roberta", False),
        (XLM | {"_name_or_path": "BAAI/bge-m3"}, {}, None, False),
        (QWEN, {}, None, True),
        (QWEN, {"POOLING": MEAN}, None, True),
        (QWEN, {}, "jina-v4", False),
    ],
)
def test_a_row_that_is_assumed_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, config: Any, files: Any, row: str | None, warns: bool
) -> None:
    """Not where the files, a name, or the caller say which it is."""
    check(model=folder(tmp_path, config, **files), row=row)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * warns
    assert all("the vectors of any other" in record.message for record in caplog.records)


def test_the_demo_is_known_wherever_it_is_named(caplog: pytest.LogCaptureFixture) -> None:
    for model in ("demo", str(DEMO_FOLDER), DEMO_FOLDER):
        assert check(model=model).checkpoint.row == JINA_V4
    assert caplog.records == []
