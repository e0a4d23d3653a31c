"""Rows by name: every module of the table is read, and a name means one row."""

from __future__ import annotations

import ast
import importlib
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from vllm_jina_embed.checkpoints import registry, table
from vllm_jina_embed.checkpoints.description import Layout, Model
from vllm_jina_embed.checkpoints.prompt_pieces import Placeholder, Slot, Special
from vllm_jina_embed.checkpoints.registry import (
    PUBLISHED,
    ROWS,
    modules_of,
    register,
    row_at,
    row_given,
    row_named,
    serving,
)
from vllm_jina_embed.checkpoints.table.bge import BGE_M3, XLM_ROBERTA
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4, NATIVE
from vllm_jina_embed.checkpoints.token_layer import TokenLayer
from vllm_jina_embed.errors import ConfigError

ENDS = XLM_ROBERTA.templates["any", "text"]
QUERY = (ENDS[0], "q: ", *ENDS[1:])
OWN = replace(XLM_ROBERTA, name="own", templates={("query", "text"): QUERY, ("passage", "text"): ENDS})


@pytest.fixture(autouse=True)
def rows(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The rows, which are as before after the test."""
    monkeypatch.setattr(registry, "ROWS", dict(ROWS))
    return registry.ROWS


def test_every_row_and_checkpoint_of_the_table_is_known() -> None:
    rows = [row for module in modules_of(table) for row in module.ROWS]
    assert list(ROWS.values()) == rows
    assert {JINA_V4, XLM_ROBERTA} <= {*rows}
    assert [row_named(name) for name in ROWS] == list(ROWS.values())
    checkpoints = [checkpoint for module in modules_of(table) for checkpoint in module.CHECKPOINTS]
    assert list(PUBLISHED.values()) == checkpoints
    assert {checkpoint.row.name for checkpoint in checkpoints} == {row.name for row in rows if is_published(row)}


def is_published(row: Model) -> bool:
    """Tell whether weights of this row can be served as they were published, rather than merged by their user."""
    return any(layout.adapters != "merged" for layout in row.layouts) and not row.only_named


def test_a_new_file_in_the_table_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No list names it."""
    package = tmp_path / "some_table"
    package.mkdir()
    for name, line in (("__init__", ""), ("second", "ROWS = (2,)"), ("first", "ROWS = (1,)")):
        (package / f"{name}.py").write_text(line)
    monkeypatch.syspath_prepend(tmp_path)
    assert [module.ROWS for module in modules_of(importlib.import_module("some_table"))] == [(1,), (2,)]
    for name in [name for name in sys.modules if name.partition(".")[0] == "some_table"]:
        del sys.modules[name]


def test_a_row_is_registered_once(rows: dict[str, object]) -> None:
    """A notebook's cell may run twice; a name of two rows would be two prompts."""
    register(OWN)
    register(replace(OWN))
    assert (set(rows), row_named("own")) == ({*ROWS, "own"}, OWN)
    for row in (replace(OWN, code=2), replace(OWN, name="jina-v4")):
        with pytest.raises(ConfigError, match=rf"another row of this name, with digest \w+ .here {row.digest}."):
            register(row)
    assert row_named("jina-v4") == JINA_V4


def test_an_equal_row_takes_the_place_of_the_registered_one() -> None:
    """It computes the same, and may be recognised by other files."""
    register(OWN)
    register(other := replace(OWN, known_as=("other",)))
    assert row_named("own") is other


def test_an_unknown_row_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"row='own' is unknown; choose one of .*jina-v4, .*xlm-roberta"):
        row_named("own")


def test_a_row_of_another_digest_is_another_row() -> None:
    """A server's processes may have another version of the module that describes it."""
    assert row_named("jina-v4", JINA_V4.digest) == JINA_V4
    with pytest.raises(ConfigError, match=rf"'jina-v4' has digest {JINA_V4.digest} here, expected {'0' * 16}"):
        row_named("jina-v4", "0" * 16)
    assert row_named(f"jina-v4@{JINA_V4.digest}") == JINA_V4
    with pytest.raises(ConfigError, match=rf"'jina-v4' has digest {JINA_V4.digest} here, expected {'0' * 16}"):
        row_named(f"jina-v4@{'0' * 16}")


def test_a_row_that_is_passed_may_not_have_the_name_of_another() -> None:
    """JSON keeps the name of a row; a copy that computes the same may have it."""
    assert row_given(OWN) is OWN
    assert row_given(looser := replace(JINA_V4, layouts=(Layout(architecture="A"),))) is looser
    with pytest.raises(ConfigError, match="'jina-v4': there is another row of this name"):
        row_given(replace(JINA_V4, code=2))


def test_a_row_is_imported_from_where_a_user_describes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: dict[str, object]
) -> None:
    """By name, or as ``package.module:NAME``; a second import gives the same row."""
    (tmp_path / "my_rows.py").write_text(
        "from vllm_jina_embed import Layout, Model, Slot\n"
        "OWN = Model(name='mine', layouts=(Layout(architecture='A'),), pooling='first_token', kind='bpe',\n"
        "            templates={('any', 'text'): ('q: ', Slot.TEXT)}, max_length=512)\n"
        "OTHER = 5\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    row = row_at("my_rows:OWN")
    assert (row_at("my_rows:OWN"), row_at("mine"), rows["mine"], row.kind) == (row, row, row, "bpe")
    for place, message in {
        "my_rows:NONE": "row='my_rows:NONE' cannot be imported .AttributeError.*package.module:NAME",
        "no_such_rows:OWN": "cannot be imported .ModuleNotFoundError",
        ":OWN": "cannot be imported",
        "my_rows:OTHER": "row=5 is a int; expected a vllm_jina_embed.Model",
        "my_rows": "row='my_rows' is unknown; choose one of .*jina-v4, .*mine, .*xlm-roberta",
    }.items():
        with pytest.raises(ConfigError, match=message):
            row_at(place)
    del sys.modules["my_rows"]


ADAPTERS = "by (role, task), for both roles of each task"
WRONG: dict[str, tuple[object, str]] = {
    "name": (" ", "a name of at most 1000 printable characters, without : and @"),
    "known_as": ("my-model", "a tuple of names, each with a letter"),
    "layouts": ((), "a tuple of Layout, at least one"),
    "pooling": (
        "last",
        "one of vision_span_mean, first_token, last_token, mean; or None with a projector, for multi-vectors alone",
    ),
    "layer_norm": (1, "True or False"),
    "attention": ("left", "causal or both, or None"),
    "overrides": (
        {"is_causal": object},
        "a mapping of JSON values by names, without architectures, which is vllm_architecture",
    ),
    "arguments": (
        {"trust_remote_code": True},
        "a mapping of JSON values by names, without trust_remote_code, model, tokenizer, hf_overrides",
    ),
    "kind": ("BPE", "bpe, unigram or wordpiece"),
    "image": (
        (Slot.TEXT,),
        "the pieces of one image, a special token among them, or none",
    ),
    "image_positions": ("round", "grid or line"),
    "fixed_size": (1, "True or False"),
    "side_multiple": (0, "a whole number over 0, or None"),
    "token_vectors": (1, "True or False, and True with a projector"),
    "token_side": (0, "a whole number over 0"),
    "only_named": (1, "True or False"),
    "tasks": (("search",), "some of retrieval, text-matching, code, separation, clustering, classification"),
    "vllm_architecture": ("", "a text, or None; and None beside an architecture of the plugin"),
    "remote_code": (None, "a text"),
    "config_names": ({"hidden_size": 5}, "a mapping of texts by texts"),
    "reversed_states": (1, "True or False"),
    "normalization": ("upper", "lower or canonical, or None"),
    "padding": ("<pad>", "a Special, or None"),
    "size_key": (
        "vision_config.hidden_size",
        "a key of config.json, with text_config. in front if it stands there, or an empty text",
    ),
    "adapters": ({("any", "code"): 0}, f"{ADAPTERS}, a whole number from 0 on; or nothing"),
    "positions": ("some", "all or after_padding"),
    "min_pixels": (None, "a whole number over 0"),
    "max_length": (0, "a whole number over 0, or None"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_row_whose_field_means_nothing_is_refused(name: str, rows: dict[str, object]) -> None:
    """The field, its value, and what is allowed."""
    value, expected = WRONG[name]
    changes: dict[str, Any] = {name: value}
    with pytest.raises(ConfigError) as caught:
        register(replace(OWN, **changes))
    assert str(caught.value).startswith("row=" + repr(changes.get("name", "own")))
    assert f"{name}={value!r}; expected {expected}." in str(caught.value)
    assert "own" not in rows


TWO = {("any", "text"): (Slot.TEXT,), ("any", "image"): (Slot.IMAGES,)}


@pytest.mark.parametrize(
    "templates",
    [
        {},
        ["q: "],
        {("query", "text"): (Slot.TEXT,)},
        {("any", "image"): (Slot.IMAGES,)},
        {("any", "text"): (Slot.TEXT,), ("query", "image"): (Slot.IMAGES,)},
        {("any", "sound"): (Slot.TEXT,)},
        {("document", "text"): (Slot.TEXT,), ("any", "text"): (Slot.TEXT,)},
        {("any", "text"): ("query: ",)},
        {("any", "text"): ()},
        {("any", "text"): [Slot.TEXT]},
        {("any", "text"): (Slot.TEXT, Slot.TEXT)},
        {("any", "text"): (Slot.IMAGES,)},
        {("any", "text"): (Slot.TEXT, Slot.IMAGES)},
        {("any", "text"): (Slot.TEXT,), ("any", "both"): (Slot.TEXT, Slot.IMAGES)},
        {**TWO, ("query", "both"): (Slot.TEXT, Slot.IMAGES)},
        {**TWO, ("any", "both"): (Slot.TEXT,)},
        {**TWO, ("any", "both"): (Slot.TEXT, Slot.IMAGES, Slot.IMAGES)},
        {("any", "text"): (5, Slot.TEXT)},
        {("any", "text"): (Placeholder(56, 56, 4), Slot.TEXT)},
        {**TWO, ("any", "text"): (Placeholder(56, 56, 4), Placeholder(56, 56, 4), Slot.TEXT)},
        {**TWO, ("any", "text"): (Placeholder(56, 0, 1), Slot.TEXT)},
        {**TWO, ("any", "text"): (Placeholder(56, True, 1), Slot.TEXT)},
        {**TWO, ("any", "image"): (Placeholder(56, 56, 4), Slot.IMAGES)},
    ],
    ids=str,
)
def test_prompts_that_cannot_be_built_are_refused(templates: Any) -> None:
    """One for each role, with one place for the text or the images; one placeholder, in texts' alone."""
    with pytest.raises(
        ConfigError, match=r"has templates=.*; expected by \(role, 'text', 'image' or 'both'\), for both roles"
    ):
        register(replace(OWN, templates=templates))


def test_prompts_with_a_place_for_each_are_taken() -> None:
    for pieces in ((Slot.TEXT,), ("a", "b", Slot.TEXT, "c", Special("</s>"), "\n"), (Special("<s>"), Slot.TEXT)):
        register(replace(OWN, name=f"own {len(pieces)} {pieces[0]}", templates={("any", "text"): pieces}))


@pytest.mark.parametrize(
    "both", [(Slot.TEXT, Slot.IMAGES), ("a", Slot.IMAGES, "b", Slot.TEXT, Special("<|im_end|>"))], ids=str
)
def test_a_prompt_of_text_and_images_together_has_a_place_for_each_in_any_order(both: Any) -> None:
    """Texts beside the images are the prompt's own."""
    name = f"own {len(both)}"
    register(replace(JINA_V4, name=name, templates={**TWO, ("any", "both"): both}, vectors_before={}))
    assert row_named(name).takes_both
    assert not JINA_V4.takes_both


@pytest.mark.parametrize("image", [(Special("<image>"),), (Special("<a>"), "b", Special("<c>"), Special("<d>"))])
def test_an_image_has_any_number_of_pieces(image: Any) -> None:
    templates = {**TWO, ("any", "text"): (Special("<s>"), Placeholder(56, 28, 2), "q: ", Slot.TEXT)}
    register(replace(JINA_V4, name="own", templates=templates, image=image, vectors_before={}))
    with pytest.raises(ConfigError, match="a special token among them"):
        register(replace(JINA_V4, name="other", image=("image",), vectors_before={}))


def test_images_need_the_bounds_of_their_area() -> None:
    with pytest.raises(ConfigError, match="max_pixels=1; expected the largest area of an image"):
        register(replace(JINA_V4, name="own", min_pixels=1, max_pixels=1))
    register(replace(JINA_V4, name="own", min_pixels=1, max_pixels=1, fixed_size=True, vectors_before={}))


@pytest.mark.parametrize("value", [object(), (object(),)], ids=["object", "tuple"])
@pytest.mark.parametrize("name", [field.name for field in fields(Model)])
def test_each_field_of_a_row_is_checked(name: str, value: object) -> None:
    """A new one too: what means nothing is named, and never an error of Python's."""
    changes: dict[str, Any] = {name: value}
    with pytest.raises(ConfigError, match=rf"has {name}=.*; expected "):
        register(replace(OWN, **changes))


@pytest.mark.parametrize("value", [object(), (object(),)], ids=["object", "tuple"])
@pytest.mark.parametrize("name", [field.name for field in fields(Layout)])
def test_each_field_of_a_layout_is_checked(name: str, value: object) -> None:
    changes: dict[str, Any] = {name: value}
    layout = replace(OWN.layouts[0], **changes)
    with pytest.raises(ConfigError, match=rf"has layouts\[1\]\.{name}=.*; expected "):
        register(replace(OWN, layouts=(OWN.layouts[0], layout)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "own@home"),
        ("name", "own:home"),
        ("name", "a" * 1200),
        ("name", "-/"),
        ("known_as", ("",)),
        ("known_as", ("/",)),
        ("code", True),
        ("matryoshka_sizes", "32"),
        ("score", "dot"),
        ("pooling", None),
        ("projector", TokenLayer()),
        ("projector", TokenLayer(names=("",))),
        ("projector", TokenLayer(file="../colbert.pt")),
        ("projector", TokenLayer(file="weights.bin")),
        ("projector", TokenLayer(names=("a",), size=0)),
        ("token_weights", TokenLayer(names="abc")),  # type: ignore[arg-type]
        ("min_dimensions", 0),
        ("min_dimensions", True),
        ("symmetric_tasks", "text-matching"),
        ("vectors_before", None),
        ("source", {"kind": 1}),
    ],
)
def test_what_python_would_take_for_something_else_is_refused(name: str, value: object) -> None:
    """A text is a sequence of letters, true a number, and an empty name a part of every other."""
    changes: dict[str, Any] = {name: value}
    with pytest.raises(ConfigError, match=rf"has {name}="):
        register(replace(OWN, **changes))


def test_multi_vectors_alone_need_a_projector_and_are_compared_by_maxsim() -> None:
    layer = TokenLayer(names=("proj",))
    register(replace(OWN, pooling=None, projector=layer, score="maxsim"))
    for changes, message in (
        ({"score": "cosine"}, "has score='cosine'; expected maxsim where there are multi-vectors alone"),
        ({"token_vectors": False}, "has token_vectors=False; expected True or False, and True with a projector"),
        ({"adapter_architecture": "A"}, "has projector="),
    ):
        row: Any = {"name": "other", "pooling": None, "projector": layer, "score": "maxsim", **changes}
        with pytest.raises(ConfigError, match=message):
            register(replace(OWN, **row))


def test_who_serves_a_task_is_named_with_the_default_model_first() -> None:
    assert serving("retrieval")[:3] == [NATIVE, f"{NATIVE}-vllm-retrieval", BGE_M3]
    assert {PUBLISHED[name].row for name in serving("retrieval")} == {*filter(is_published, ROWS.values())}
    assert serving("code") == [NATIVE, f"{NATIVE}-vllm-code"]


def undeclared(source: str) -> list[str]:
    """Return what a module of the table has beside imports, texts and assignments."""
    allowed = ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign | ast.Expr
    statements = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]
    return [ast.unparse(node) for node in statements if not isinstance(node, allowed)]


def test_the_table_is_data() -> None:
    """No function and no branch: what a model needs beyond a field is a field."""
    for module in modules_of(table):
        assert undeclared(Path(module.__file__).read_text("utf-8")) == []
    assert undeclared("def f():\n    return 1") == ["def f():\n    return 1", "return 1"]
    assert undeclared("if True:\n    ROWS = ()") == ["if True:\n    ROWS = ()"]
