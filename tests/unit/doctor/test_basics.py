"""The checks of Python, of the package and of its extras."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import installed
from vllm_jina_embed.doctor.basics import check_extra, check_package, check_python, extras_of
from vllm_jina_embed.doctor.finding import Surroundings
from vllm_jina_embed.doctor.installed import Site
from vllm_jina_embed.doctor.probing import Probe


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    installed.ours(tmp_path)
    return Surroundings(site=Site([str(tmp_path)]), probe=Probe(), environment={})


def test_python_in_and_out_of_range(around: Surroundings) -> None:
    assert check_python(around).status == "ok"
    finding = check_python(around, "3.10.14")
    assert finding.status == "problem"
    assert "Needed: >=3.11" in finding.summary


def test_the_package_and_what_it_needs(around: Surroundings) -> None:
    assert check_package(around).summary == "vllm-jina-embed 0.1.0."


def test_a_package_that_is_not_installed(tmp_path: Path) -> None:
    finding = check_package(Surroundings(site=Site([str(tmp_path)]), probe=Probe(), environment={}))
    assert (finding.status, finding.command) == ("problem", "pip install vllm-jina-embed")


def test_a_package_with_something_too_old_below_it(tmp_path: Path) -> None:
    installed.distribution(tmp_path, "numpy", "1.20.0")
    installed.distribution(tmp_path, "vllm-jina-embed", "0.1.0", requires=installed.OURS)
    finding = check_package(Surroundings(site=Site([str(tmp_path)]), probe=Probe(), environment={}))
    assert finding.summary == "vllm-jina-embed 0.1.0; numpy 1.20.0, needed: >=1.26."
    assert finding.command == "pip install -U 'numpy>=1.26'"


def test_extras_that_are_checked(around: Surroundings) -> None:
    """Builds of vLLM have a check of their own; an alias is none."""
    assert extras_of(around) == ["langchain", "llama-index", "client", "qdrant", "corpus"]


def test_an_extra_in_range(around: Surroundings, tmp_path: Path) -> None:
    installed.distribution(tmp_path, "langchain-core", "1.7.2")
    finding = check_extra(around, "langchain")
    assert (finding.status, finding.summary) == ("ok", "langchain-core 1.7.2.")


@pytest.mark.parametrize(
    ("extra", "name", "version", "wanted"),
    [
        ("langchain", "langchain-core", "0.3.84", "<2,>=1.0"),
        ("langchain", "langchain-core", "2.0.0", "<2,>=1.0"),
        ("llama-index", "llama-index-core", "0.12.52", "<0.15,>=0.14"),
    ],
)
def test_a_framework_out_of_range(
    around: Surroundings, tmp_path: Path, extra: str, name: str, version: str, wanted: str
) -> None:
    installed.distribution(tmp_path, name, version)
    finding = check_extra(around, extra)
    assert (finding.status, finding.summary) == ("problem", f"{name} {version}, needed: {wanted}.")
    assert finding.command == f"pip install -U 'vllm-jina-embed[{extra}]'"


def test_an_extra_that_is_not_there_is_no_problem(around: Surroundings) -> None:
    assert check_extra(around, "qdrant").status == "absent"


def test_an_extra_of_which_a_part_is_there(around: Surroundings, tmp_path: Path) -> None:
    installed.distribution(tmp_path, "pyarrow", "21.0.0")
    finding = check_extra(around, "corpus")
    assert finding.status == "absent"
    assert finding.summary == "installed in part; pypdfium2 is not installed, needed: >=5."


def test_an_extra_that_names_another(around: Surroundings, tmp_path: Path) -> None:
    installed.distribution(tmp_path, "httpx", "0.20.0")
    assert check_extra(around, "server").status == "problem"
