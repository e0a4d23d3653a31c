"""Old names of keywords: one more version, with a warning."""

from __future__ import annotations

import inspect

import pytest

from vllm_jina_embed import ConfigError
from vllm_jina_embed.frameworks.renamed import renamed


@renamed(old="new")
def double(*, new: int = 1) -> int:
    return 2 * new


def test_the_old_name_warns_and_works() -> None:
    """The signature shows the new one alone."""
    with pytest.warns(DeprecationWarning, match=r"old=\.\.\. is deprecated .* new=\.\.\. now") as warned:
        assert double(old=4) == 8  # type: ignore[call-arg]
    assert warned[0].filename == __file__
    assert double(new=3) == 6
    assert list(inspect.signature(double).parameters) == ["new"]


def test_both_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="got both"):
        double(old=1, new=1)  # type: ignore[call-arg]


def test_an_unknown_name_stays_an_error() -> None:
    with pytest.raises(TypeError, match="odd"):
        double(odd=1)  # type: ignore[call-arg]
