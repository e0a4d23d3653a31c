"""The token ids of texts and images are those that the vectors in users' caches and indexes were made of."""

from __future__ import annotations

import json

from tests.data.ids_before import FILE, builders, built, cases


def test_the_ids_are_those_of_version_0_1() -> None:
    """Each way to cut a text, both roles, several scripts, hostile texts, and images."""
    before = json.loads(FILE.read_text(encoding="utf-8"))
    assert [case for case, _ in before] == json.loads(json.dumps(list(cases())))
    assert len(before) > 200
    assert {key for _, result in before for key in result} >= {"ids", "error", "refused"}
    made = builders()
    changed = [(case, result) for case, result in before if built(case, made[case["model"]]) != result]
    assert changed == []
