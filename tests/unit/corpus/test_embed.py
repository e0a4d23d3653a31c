"""A corpus is embedded whole: nothing lost, nothing twice, every bad item with its reason, whatever interrupts it."""

from __future__ import annotations

import errno
import json
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.corpus_files import Expected, write_corpus
from tests.support.fake_engine import FakeEngine
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import ConfigError, JinaEmbedder
from vllm_jina_embed.corpus import parquet_parts, work
from vllm_jina_embed.corpus.embed import embed_corpus
from vllm_jina_embed.corpus.entries import Columns
from vllm_jina_embed.corpus.reports import Summary
from vllm_jina_embed.errors import EngineError, WriteError

COLUMNS = Columns(keep=("text", "year"))


def rows(out: Path) -> dict[str, dict[str, Any]]:
    """Return all rows of a corpus by their ids; none is there twice."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((out / "done").glob("*.json")):
        part = out / f"part-{path.stem}.parquet"
        for row in pq.read_table(part).to_pylist() if part.exists() else []:
            assert row["id"] not in found
            found[row["id"]] = row
    return found


def errors(out: Path) -> Counter[tuple[str, str]]:
    """Return the bad items of a corpus by id and kind."""
    lines = [json.loads(line) for path in sorted(out.glob("errors/part-*.jsonl")) for line in path.open()]
    assert all(line["message"] for line in lines)
    return Counter((line["id"], line["kind"]) for line in lines)


def left_over(out: Path) -> list[str]:
    return [path.name for path in out.rglob("*.tmp")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Expected]:
    folder = tmp_path_factory.mktemp("made") / "corpus"
    return folder, write_corpus(folder, 500)


@pytest.fixture(scope="module")
def whole(made: tuple[Path, Expected], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The rows of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    with in_memory([])(write_folder(folder / "model"), dimensions=32) as embedder:
        embed_corpus(made[0], folder / "out", embedder=embedder, columns=COLUMNS, rows_per_file=64)
    return rows(folder / "out")


@pytest.fixture
def run(made: tuple[Path, Expected], embedder: JinaEmbedder, tmp_path: Path) -> Callable[..., Summary]:
    """Embed the generated folder into ``out``."""

    def run(**options: Any) -> Summary:
        options = {"columns": COLUMNS, "rows_per_file": 64, "embedder": embedder, **options}
        return embed_corpus(made[0], tmp_path / "out", **options)

    return run


def test_every_item_is_there_or_is_an_error(
    run: Callable[..., Summary], made: tuple[Path, Expected], engines: list[FakeEngine], tmp_path: Path
) -> None:
    """500 items and bad ones of every kind: each once, with the vector of its own content."""
    summary = run()
    expected = made[1]
    found = rows(tmp_path / "out")
    assert set(found) == expected.good
    assert errors(tmp_path / "out") == expected.bad
    assert dict(summary.errors) == expected.kinds
    assert (summary.rows, summary.known, summary.complete) == (len(expected.good), 0, True)
    assert len(engines[0].prompts) == len(found)
    assert left_over(tmp_path / "out") == []


def test_both_kinds_take_one_prompt_an_item(
    run: Callable[..., Summary], made: tuple[Path, Expected], engines: list[FakeEngine], tmp_path: Path
) -> None:
    """And are those of two runs of one kind each; the same items are bad."""
    summary = run(vectors="both", dtype="float32")
    expected, found = made[1], rows(tmp_path / "out")
    assert set(found) == expected.good
    assert dict(summary.errors) == expected.kinds
    assert len(engines[0].prompts) == len(found)
    for kind, column in (("embedding", "embedding"), ("multi-vector", "multi_vector")):
        run(vectors=kind, dtype="float32", overwrite=True)
        alone = rows(tmp_path / "out")
        assert {name: row[column] for name, row in alone.items()} == {name: row[column] for name, row in found.items()}


def test_a_vector_is_that_of_its_item(run: Callable[..., Summary], embedder: JinaEmbedder, tmp_path: Path) -> None:
    """Of texts and images, by the embedder's own calls."""
    run()
    found = rows(tmp_path / "out")
    texts = ["csv-3", "json-5", "texts/00002.md#L1-3"]
    expected = embedder.embed_passages([found[name]["text"] for name in texts])
    assert np.array_equal(expected, np.array([found[name]["embedding"] for name in texts], np.float32))
    folder = json.loads((tmp_path / "out" / "manifest.json").read_text())["items"]["sources"][0]["root"]
    images = [Path(folder, name) for name in ("images/00003.png", "pictures/one.bin")]
    expected = embedder.embed_images(images)
    names = ("images/00003.png", "json-4")
    assert np.array_equal(expected, np.array([found[name]["embedding"] for name in names], np.float32))
    assert [found[name]["kind"] for name in names] == ["image", "image"]
    assert found["json-5"]["year"] == 1905


def test_a_second_run_computes_nothing(run: Callable[..., Summary], engines: list[FakeEngine], tmp_path: Path) -> None:
    first = run()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*")}
    count = len(engines[0].prompts)
    second = run()
    assert (second.rows, second.known, second.shards) == (0, first.rows, 0)
    assert second.errors == first.errors
    assert len(engines[0].prompts) == count
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*")} == before


class Stopping:
    """A report that stops the run after so many items, or raises there."""

    def __init__(self, after: int, error: BaseException | None = None) -> None:
        self.event, self._after, self._error = threading.Event(), after, error

    def update(self, progress: Any) -> None:
        if progress.rows >= self._after:
            self.event.set()
            if self._error is not None:
                raise self._error

    def tell(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_run_that_is_stopped_three_times_ends_equal(
    run: Callable[..., Summary],
    whole: dict[str, Any],
    engines: list[FakeEngine],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a finished shard each time; nothing is computed twice."""
    monkeypatch.setattr(work, "WINDOW", 8)
    monkeypatch.setattr(work, "AHEAD", 8)
    for after in (10, 50, 70):
        report = Stopping(after)
        summary = run(report=report, stop=report.event)
        assert not summary.complete
        assert summary.rows > 0
    assert run().complete
    assert rows(tmp_path / "out") == whole
    assert len(engines[0].prompts) == len(whole)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a bug"), EngineError("the engine is lost")])
def test_an_error_costs_one_shard_at_most(
    error: BaseException,
    run: Callable[..., Summary],
    whole: dict[str, Any],
    engines: list[FakeEngine],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work, "WINDOW", 8)
    monkeypatch.setattr(work, "AHEAD", 8)
    with pytest.raises(type(error)):
        run(report=Stopping(200, error))
    assert left_over(tmp_path / "out") == []
    assert len(list((tmp_path / "out" / "done").iterdir())) >= 2
    run()
    assert rows(tmp_path / "out") == whole
    assert len(engines[0].prompts) <= len(whole) + 64 + 4 * 8


def test_a_full_disk_is_told_and_what_was_written_is_kept(
    run: Callable[..., Summary], whole: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = parquet_parts.commit, []

    def commit(new: Path, path: Path) -> None:
        calls.append(path)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(new, path)

    monkeypatch.setattr(parquet_parts, "commit", commit)
    with pytest.raises(WriteError, match=r"\(No space left on device\)\. Every finished shard is kept"):
        run()
    assert left_over(tmp_path / "out") == []
    assert run().known > 0
    assert rows(tmp_path / "out") == whole


def test_processes_share_the_shards(
    run: Callable[..., Summary], whole: dict[str, Any], engines: list[FakeEngine], tmp_path: Path
) -> None:
    summaries = [run(shard=(number, 3)) for number in (2, 1, 3)]
    assert sum(summary.rows for summary in summaries) == len(whole)
    assert rows(tmp_path / "out") == whole
    assert len(engines[0].prompts) == len(whole)


def test_two_runs_do_not_write_the_same_shards(embedder: JinaEmbedder, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")

    def run(**options: Any) -> Summary:
        return embed_corpus(tmp_path / "a.txt", tmp_path / "out", embedder=embedder, **options)

    class Second:
        """Begins a second run inside of the first."""

        def update(self, progress: Any) -> None:
            if progress.rows == 1:
                with pytest.raises(ConfigError, match="another run writes to"):
                    run(shard=self.shard)
                self.tried = True

        def tell(self, text: str) -> None: ...

        def close(self) -> None: ...

    for first, second in (((1, 1), (1, 1)), ((1, 1), (1, 2)), ((1, 2), (1, 2)), ((1, 2), (1, 1))):
        report = Second()
        report.shard, report.tried = second, False  # type: ignore[attr-defined]
        run(shard=first, report=report, overwrite=True)
        assert report.tried  # type: ignore[attr-defined]


def test_a_limit_is_kept_and_can_be_lifted(run: Callable[..., Summary], whole: dict[str, Any], tmp_path: Path) -> None:
    summary = run(limit=100)
    assert summary.rows + sum(summary.errors.values()) == 100
    run()
    assert rows(tmp_path / "out") == whole


def test_a_text_that_is_too_long_is_counted_as_long(tmp_path: Path) -> None:
    """Not with what the model has no vector for: other texts are what helps."""
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": "word " * 30}) + '\n{"text": "short"}\n')
    settings = {"dimensions": 32, "max_length": 20, "truncate": "error"}
    with in_memory([])(write_folder(tmp_path / "model"), **settings) as embedder:
        summary = embed_corpus(tmp_path / "in.jsonl", tmp_path / "out", embedder=embedder)
    assert (summary.rows, summary.errors) == (1, {"long": 1})
    assert errors(tmp_path / "out") == {("in.jsonl#L1", "long"): 1}


def test_bad_items_are_tried_again_where_asked(embedder: JinaEmbedder, tmp_path: Path) -> None:
    """Only the shards that have some."""
    for number in range(8):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{number}.txt").write_text(f"text {number}")
    (tmp_path / "in" / "2.png").symlink_to(tmp_path / "in" / "later.bin")
    run = {"embedder": embedder, "rows_per_file": 3}
    first = embed_corpus(tmp_path / "in", tmp_path / "out", **run)  # type: ignore[arg-type]
    assert first.errors == {"unreadable": 1}
    again = embed_corpus(tmp_path / "in", tmp_path / "out", **run, retry_errors=True)  # type: ignore[arg-type]
    assert (again.rows, again.shards, again.errors) == (2, 1, {"unreadable": 1})


def test_what_changed_is_computed_again_and_nothing_else(embedder: JinaEmbedder, tmp_path: Path) -> None:
    """A file that was changed, one that came, and some that went: the result is that of a new run."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(10):
        (folder / f"{number}.txt").write_text(f"text {number}")
    run = {"embedder": embedder, "rows_per_file": 2}
    embed_corpus(folder, tmp_path / "out", **run)  # type: ignore[arg-type]
    (folder / "5.txt").write_text("text V")
    (folder / "95.txt").write_text("came")
    again = embed_corpus(folder, tmp_path / "out", **run)  # type: ignore[arg-type]
    assert (again.rows, again.shards, again.known) == (3, 2, 8)
    for number in range(6, 10):
        (folder / f"{number}.txt").unlink()
    embed_corpus(folder, tmp_path / "out", **run)  # type: ignore[arg-type]
    embed_corpus(folder, tmp_path / "new", **run)  # type: ignore[arg-type]
    assert rows(tmp_path / "out") == rows(tmp_path / "new")
    for pattern in ("part-*", "done/*", "errors/*"):
        assert len(list((tmp_path / "out").glob(pattern))) == 4


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"vectors": "both"}, "vectors='embedding' (here 'both'). Give"),
        ({"dtype": "float16"}, "dtype='float32' (here 'float16')"),
        ({"prompt_name": "query"}, "prompt_name='passage' (here 'query')"),
        ({"rows_per_file": 3}, "rows_per_file=2 (here 3)"),
        ({"columns": Columns(pages="both")}, "pages='image' (here 'both')"),
        ({"columns": Columns(keep=())}, "keep=['text'] (here [])"),
    ],
)
def test_another_setting_is_refused_by_name(
    options: dict[str, Any], named: str, embedder: JinaEmbedder, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("a")
    run = {"embedder": embedder, "rows_per_file": 2}
    embed_corpus(tmp_path / "a.txt", tmp_path / "out", **run)  # type: ignore[arg-type]
    before = rows(tmp_path / "out")
    with pytest.raises(ConfigError) as error:
        embed_corpus(tmp_path / "a.txt", tmp_path / "out", **{**run, **options})
    assert named in str(error.value)
    assert rows(tmp_path / "out") == before
    embed_corpus(tmp_path / "a.txt", tmp_path / "out", **{**run, **options}, overwrite=True)
    assert list(rows(tmp_path / "out")) == ["a.txt#L1-1"]


def test_a_table_without_the_columns_is_told_in_a_line(embedder: JinaEmbedder, tmp_path: Path) -> None:
    """However long its first line is, which may be the text itself."""
    (tmp_path / "a.csv").write_text("word " * 5000 + ",b\n1,2\n")
    embed_corpus(tmp_path / "a.csv", tmp_path / "out", embedder=embedder)
    (line,) = (tmp_path / "out" / "errors" / "part-00000.jsonl").read_text().splitlines()
    message = json.loads(line)["message"]
    assert len(message) < 300
    assert message.endswith(" 'b'. Name one: --text COLUMN or --image COLUMN.")


def test_a_default_that_is_passed_is_no_other_setting(embedder: JinaEmbedder, tmp_path: Path) -> None:
    """It was refused by the name of a type that no embedding has."""
    (tmp_path / "a.txt").write_text("a")
    for options in ({}, {"dtype": "float32"}, {"vectors": "embedding"}):
        summary = embed_corpus(tmp_path / "a.txt", tmp_path / "out", embedder=embedder, **options)  # type: ignore[arg-type]
    assert (summary.rows, summary.known) == (0, 1)


def test_the_type_of_multi_vectors_is_refused_as_it_was_passed(embedder: JinaEmbedder, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    run = {"embedder": embedder, "vectors": "both"}
    embed_corpus(tmp_path / "a.txt", tmp_path / "out", **run)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"was made with dtype=None \(here 'float32'\)\. Give"):
        embed_corpus(tmp_path / "a.txt", tmp_path / "out", **run, dtype="float32")  # type: ignore[arg-type]


def test_another_model_is_refused_by_name(embedder: JinaEmbedder, tmp_path: Path) -> None:
    """Another length, other pixels, and other weights in the same folder."""
    (tmp_path / "a.txt").write_text("a")
    embed_corpus(tmp_path / "a.txt", tmp_path / "out", embedder=embedder)
    for options, named in (
        ({"dimensions": 16}, "dimensions=32 (here 16)"),
        ({"dimensions": 32, "max_pixels": 50_000}, "max_pixels=602112 (here 50000)"),
        ({"dimensions": 32, "engine_kwargs": {"dtype": "float16"}}, "engine_kwargs='{}' (here"),
    ):
        with (
            in_memory([])(tmp_path / "model", **options) as other,
            pytest.raises(ConfigError, match="was made with") as error,
        ):
            embed_corpus(tmp_path / "a.txt", tmp_path / "out", embedder=other)
        assert named in str(error.value)


def test_a_folder_that_is_not_a_corpus_is_left_alone(embedder: JinaEmbedder, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match=r"holds 'thesis\.tex' and is not a corpus"):
            embed_corpus(tmp_path / "a.txt", tmp_path / "out", embedder=embedder, overwrite=overwrite)
    assert (tmp_path / "out" / "thesis.tex").read_text() == "years of work"
    with pytest.raises(ConfigError, match="is not a folder"):
        embed_corpus(tmp_path / "a.txt", tmp_path / "a.txt", embedder=embedder)


@pytest.mark.parametrize("fault", ["cut", "gone", "done"])
def test_a_fault_in_a_shard_that_is_done_shows(
    fault: str, run: Callable[..., Summary], whole: dict[str, Any], tmp_path: Path
) -> None:
    """A part that was cut or deleted is computed again; a broken done file is told."""
    run()
    part, done = tmp_path / "out" / "part-00001.parquet", tmp_path / "out" / "done" / "00001.json"
    if fault == "gone":
        part.unlink()
    elif fault == "cut":
        part.write_bytes(part.read_bytes()[:-10])
    else:
        done.write_text(done.read_text()[:-10])
        with pytest.raises(ConfigError, match=r"is not JSON.*Delete it, and the shard is computed again"):
            run()
        done.unlink()
    assert run().shards == 1
    assert rows(tmp_path / "out") == whole


def test_what_a_killed_process_left_goes_with_its_shard(embedder: JinaEmbedder, tmp_path: Path) -> None:
    """Files that were not written to their end, of every kind."""
    (tmp_path / "a.txt").write_text("a")
    for name in ("done/.00000.json.77.tmp", "errors/.part-00000.jsonl.77.tmp", ".part-00000.parquet.77.tmp"):
        path = tmp_path / "out" / name
        embed_corpus(tmp_path / "a.txt", tmp_path / "out", embedder=embedder)
        path.write_text("half")
        (tmp_path / "out" / "done" / "00000.json").unlink()
        embed_corpus(tmp_path / "a.txt", tmp_path / "out", embedder=embedder)
        assert left_over(tmp_path / "out") == []
