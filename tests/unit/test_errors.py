"""The exception tree: what is caught where, and what an InputError carries."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import errors
from vllm_jina_embed.errors import ClosedError, EmbeddingWarning, InputError, MissingExtraError, VllmJinaError

BUILT_INS = {
    "InputError": ValueError,
    "ConfigError": ValueError,
    "MissingExtraError": ImportError,
    "WriteError": OSError,
    "EngineError": RuntimeError,
    "ClosedError": RuntimeError,
    "ForkedError": RuntimeError,
    "EngineDeadError": RuntimeError,
}


@pytest.mark.parametrize("name", BUILT_INS)
def test_every_error_is_ours_and_the_built_in_that_people_catch(name: str) -> None:
    """``except ValueError`` and ``except VllmJinaError`` both work."""
    assert issubclass(getattr(errors, name), (VllmJinaError, BUILT_INS[name]))
    assert issubclass(getattr(errors, name), VllmJinaError)
    assert issubclass(getattr(errors, name), BUILT_INS[name])


def test_the_drawn_tree_is_complete() -> None:
    """Each class of the module stands in its docstring."""
    classes = [name for name, value in vars(errors).items() if isinstance(value, type)]
    ours = [name for name in classes if issubclass(getattr(errors, name), VllmJinaError)]
    assert set(ours) == {*BUILT_INS, "VllmJinaError"}
    assert all(name in str(errors.__doc__) for name in ours)


def test_one_error_stays_itself_when_collected() -> None:
    """No list of one."""
    error = InputError("items[3]: bad", positions=[3])
    assert InputError.collect([error], total=9) is error
    assert (error.positions, error.problems) == ((3,), ("items[3]: bad",))


def test_several_errors_become_one_that_names_all() -> None:
    """Positions and problems keep their order; the message says how many of how many."""
    merged = InputError.collect(
        [InputError("items[1]: a", positions=[1]), InputError("items[4]: b", positions=[4])], total=6
    )
    assert merged.positions == (1, 4)
    assert merged.problems == ("items[1]: a", "items[4]: b")
    assert str(merged) == "2 of 6 items cannot be embedded:\n  items[1]: a\n  items[4]: b"
    assert merged.embeddings is None


def test_a_place_is_a_field() -> None:
    """The message is made of it, and an error is moved to another place without its text."""
    error = InputError("bad", where="items[3]", image=1, positions=[3])
    assert (str(error), error.reason, error.where, error.image) == ("items[3][1]: bad", "bad", "items[3]", 1)
    moved = error.at("nodes[12] (id 'a')", 12)
    assert (str(moved), moved.positions, moved.problems) == (
        "nodes[12] (id 'a')[1]: bad",
        (12,),
        ("nodes[12] (id 'a')[1]: bad",),
    )
    assert str(InputError("bad").at("texts[0]", 0)) == "texts[0]: bad"
    assert str(InputError("bad").at("images[0]", 0, image=2)) == "images[0][2]: bad"
    merged = InputError.collect([error, InputError("worse", where="items[4]", positions=[4])], total=6)
    assert merged.reasons == ("bad", "worse")
    assert merged.problems == ("items[3][1]: bad", "items[4]: worse")


def test_a_thousand_errors_make_a_short_message() -> None:
    """A log line must not grow with the list; the attributes hold everything."""
    merged = InputError.collect([InputError(f"items[{n}]: bad", positions=[n]) for n in range(1000)], total=1000)
    assert len(merged.positions) == len(merged.problems) == 1000
    assert len(str(merged).splitlines()) == errors.SHOWN + 2
    assert "980 more" in str(merged)


def test_a_missing_extra_names_the_pip_line() -> None:
    """The message can be copied into a shell."""
    error = MissingExtraError("langchain", "langchain-core")
    assert "pip install 'vllm-jina-embed[langchain]'" in str(error)
    assert (error.extra, error.name) == ("langchain", "langchain-core")


def test_a_text_that_is_too_long_says_so_in_a_field(tmp_path: Path) -> None:
    """Wherever the error goes: to another place, and to another process."""
    folder = write_folder(tmp_path / "model")
    with in_memory([])(folder, dimensions=32, max_length=20, truncate="error") as embedder:
        with pytest.raises(InputError, match="max_length is 20") as caught:
            embedder.embed_passages(["word " * 30])
        with pytest.raises(InputError) as empty:
            embedder.embed_passages([""])
    error = caught.value
    assert [one.kind for one in (error, pickle.loads(pickle.dumps(error)), error.at("nodes[1]", 1))] == ["long"] * 3
    assert empty.value.kind == ""


def test_errors_cross_processes() -> None:
    """Pickling keeps the message and what hangs on it."""
    bad = InputError("bad", where="items[1]", image=0, positions=[1])
    bad.embeddings = np.full((2, 3), np.nan, dtype=np.float32)
    copy = pickle.loads(pickle.dumps(bad))
    assert (str(copy), copy.positions, copy.embeddings.shape) == (str(bad), (1,), (2, 3))
    assert str(copy.at("items[7]", 7)) == "items[7][0]: bad"
    warning = EmbeddingWarning("rows are NaN")
    warning.embeddings = bad.embeddings
    assert pickle.loads(pickle.dumps(warning)).embeddings.shape == (2, 3)
    extra = pickle.loads(pickle.dumps(MissingExtraError("vllm", "vllm")))
    assert (str(extra), extra.extra, extra.name) == (str(MissingExtraError("vllm", "vllm")), "vllm", "vllm")
    assert str(pickle.loads(pickle.dumps(ClosedError("closed")))) == "closed"
