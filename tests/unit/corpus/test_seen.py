"""The ids of a corpus of any length."""

from __future__ import annotations

import pytest

from vllm_jina_embed.corpus.seen import Seen
from vllm_jina_embed.errors import WriteError


@pytest.mark.parametrize("together", [1, 2, 64])
def test_an_id_is_new_once(together: int) -> None:
    """Within a call, and over several."""
    names = ["a", "b", "a", "\udce9", "\udce9", "b"]
    with Seen() as seen:
        found = [new for start in range(0, 6, together) for new in seen.add(names[start : start + together])]
    assert found == [True, True, False, True, False, False]


def test_a_full_disk_is_told() -> None:
    """A limit on the size of the database is met as a full disk is."""
    with Seen() as seen:
        seen._database.execute("PRAGMA max_page_count = 3")
        with pytest.raises(WriteError, match=r"temporary file \(database or disk is full\)\. Make room.*SQLITE_TMPDIR"):
            all(seen.add([str(number)]) for number in range(10_000))
