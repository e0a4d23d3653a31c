"""The command line of a server: ours, then the user's; what decides the vectors is nobody's to change."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from vllm_jina_embed import ConfigError, cli, settings
from vllm_jina_embed.checkpoints.prompt_pieces import Slot
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.checkpoints.weights.lora import Adapters
from vllm_jina_embed.engine.local.arguments import LENGTHS
from vllm_jina_embed.serve.arguments import MESSAGE_TEMPLATE, cores_per_rank, serve_arguments


def line(*passed: str, multi_vector: bool = False) -> list[str]:
    engine = settings.check(model="demo").engine
    return serve_arguments(engine, name="demo", task="code", cpu=True, multi_vector=multi_vector, passed=passed)


def value(flags: list[str], name: str) -> str:
    """Give what the last of equal flags is set to, as argparse reads it."""
    return flags[len(flags) - flags[::-1].index(name)]


def test_a_server_is_started_as_the_engine_in_this_process_is() -> None:
    flags = line()
    pooler = {"task": "embed", "use_activation": True, "seq_pooling_type": "LAST"}
    assert json.loads(value(flags, "--pooler-config")) == pooler
    assert json.loads(value(flags, "--hf-overrides"))["architectures"] == ["JinaV4VisionSpanModel"]
    assert json.loads(value(flags, "--mm-processor-kwargs"))["size"]["longest_edge"] == 602112
    assert value(flags, "--chat-template") == MESSAGE_TEMPLATE
    assert value(flags, "--tokenizer-mode") == "vllm_jina_embed"  # a client's string stays a text
    assert "--no-enable-prefix-caching" in flags


def test_a_server_gets_the_name_and_the_digest_of_its_row() -> None:
    """Its renderer and its check at the start look it up by both."""
    row = settings.check(model="demo").checkpoint.row
    assert json.loads(value(line(), "--hf-overrides"))["jina_row"] == ["jina-v4", row.digest]


def test_every_row_is_served_by_the_same_path() -> None:
    """One whose images have a prompt for each role, and one of texts alone: its renderer makes the prompts."""
    images = {("query", "image"): ("Find: ", Slot.IMAGES), ("passage", "image"): (Slot.IMAGES,)}
    texts = {key: pieces for key, pieces in JINA_V4.templates.items() if key[1] == "text"}
    for templates in (texts | images, texts):
        row = replace(JINA_V4, name="own", templates=templates)
        engine = replace(settings.check(model="demo").engine, row=row)
        flags = serve_arguments(engine, name="demo", task="code", cpu=True, multi_vector=False)
        assert value(flags, "--chat-template") == MESSAGE_TEMPLATE
        assert json.loads(value(flags, "--hf-overrides"))["jina_served_task"] == "code"


def test_multi_vectors_are_another_task() -> None:
    assert json.loads(value(line(multi_vector=True), "--pooler-config"))["task"] == "token_embed"


def test_each_adapter_is_a_model_by_its_tasks_name() -> None:
    """And the one that was asked for is the default."""
    folders = {task: Path(f"/adapters/{task}") for task in ("retrieval", "code")}
    adapters = Adapters(source=Path("/native/adapters"), rank=8, folders=folders, has_projector=True)
    engine = settings.check(model="demo").engine
    flags = serve_arguments(engine, name="n", task="code", cpu=True, multi_vector=True, adapters=adapters)
    start = flags.index("--lora-modules") + 1
    modules = [json.loads(one) for one in flags[start : start + 2]]
    assert modules == [{"name": task, "path": f"/adapters/{task}"} for task in ("retrieval", "code")]
    assert json.loads(value(flags, "--hf-overrides"))["jina_multi_vector_task"] == "code"
    assert "--enable-lora" in flags


def test_the_users_options_come_last_and_win() -> None:
    flags = line("--max-model-len", "512", "--tensor-parallel-size=2")
    assert value(flags, "--max-model-len") == "512"
    assert flags[-1] == "--tensor-parallel-size=2"


@pytest.mark.parametrize(
    "option",
    [
        "--pooler-config",
        "--pooler_config={}",
        "--pooler-config.task",
        "--pooler-conf",
        "--chat-template=x",
        "--tokenizer-mode=hf",
        "--grpc",
        "--runner",
        "--no-enable-prefix-caching",
        "--revision=main",
        "--tokenizer-revision",
        "--hf-config-path",
        "--mm-processor-cache-gb",
        "--scheduling-policy",
    ],
)
def test_what_decides_the_vectors_cannot_be_passed(option: str) -> None:
    with pytest.raises(ConfigError, match="sets this itself"):
        line(option, "x")


@pytest.mark.parametrize("option", ["--config", "--config=options.yaml", "--conf"])
def test_options_in_a_file_are_refused(option: str) -> None:
    """vLLM reads them after our check, and ``tokenizer``, ``hf-config-path`` or ``convert`` may be among them."""
    with pytest.raises(ConfigError, match=r"no file of options.*after '--'"):
        line(option, "options.yaml")
    assert line("--config-format", "hf")[-2:] == ["--config-format", "hf"]


def test_the_command_passes_on_what_follows_two_hyphens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our options before them, vLLM's after."""
    got = {}
    monkeypatch.setattr(cli, "_serve", lambda options: got.update(vars(options)) or 0)
    assert cli.main(["serve", "demo", "--port", "8001", "--", "--data-parallel-size", "2"]) == 0
    assert (got["model"], got["port"], got["passed"]) == ("demo", 8001, ["--data-parallel-size", "2"])


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["demo", "--task", "none"], ["demo", "--api-key", "a b"], ["demo", "--row", "no_such_module:ROW"]],
)
def test_a_bad_option_of_serve_is_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", *arguments]) == 2
    assert "vllm-jina-embed: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cores", "ranks", "wanted"),
    [("0,1", 1, "0,1"), ("0,1", 2, "0|1"), ("0,1,4,5", 2, "0,1|4,5"), ("0,1,2", 2, "0|1"), ("0,1", 3, None)],
)
def test_ranks_share_the_cores(cores: str, ranks: int, wanted: str | None) -> None:
    """No core is bound twice; where there are too few, vLLM decides."""
    assert cores_per_rank(cores, ranks) == wanted


def test_a_text_model_has_no_images() -> None:
    """No pixel bounds, and the same messages as every row; its pooler normalises, whatever its files say."""
    engine = settings.check(model="BAAI/bge-m3").engine
    flags = serve_arguments(engine, name="m", task="retrieval", cpu=True, multi_vector=True)
    assert json.loads(value(flags, "--pooler-config")) == {"task": "token_embed", "use_activation": True}
    row = ["xlm-roberta", engine.row.digest]
    assert json.loads(value(flags, "--hf-overrides")) == {
        **LENGTHS, "jina_row": row, "architectures": ["PooledXLMRobertaModel"],
        "jina_pooling": "first_token", "position_embedding_type": "absolute", "jina_served_task": "retrieval",
    }  # fmt: skip
    assert value(flags, "--max-model-len") == "8192"
    assert value(flags, "--chat-template") == MESSAGE_TEMPLATE
    assert not [flag for flag in flags if flag.startswith(("--mm-", "--scheduler-cls"))]


def test_a_list_is_an_option_with_several_values() -> None:
    engine = settings.check(model="demo").engine
    row = replace(JINA_V4, name="own", arguments={"ignore_patterns": ["*.bin", "*.pth"]})
    flags = serve_arguments(replace(engine, row=row), name="demo", task="code", cpu=True, multi_vector=False)
    start = flags.index("--ignore-patterns")
    assert flags[start + 1 : start + 3] == ["*.bin", "*.pth"]
