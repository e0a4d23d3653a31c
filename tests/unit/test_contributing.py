"""The pages and files for contributors: one version everywhere, templates that ask for what helps."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

from vllm_jina_embed import __version__

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / ".github" / "ISSUE_TEMPLATE"
SECTIONS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
"""Source: keepachangelog.com/en/1.1.0."""


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_the_version_is_the_same_everywhere() -> None:
    assert tomllib.loads(read("pyproject.toml"))["project"]["version"] == __version__


def changelog_faults(text: str) -> list[str]:
    """Return what is not as Keep a Changelog has it."""
    versions = re.findall(r"^## (.+)$", text, re.MULTILINE)
    named = [version for version in versions if not re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", version)]
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    return [*(f"heading {name}" for name in named if name != "[Unreleased]"), *sorted(kinds - set(SECTIONS))] + (
        [] if versions[:1] == ["[Unreleased]"] else ["the first is not Unreleased"]
    )


def test_the_changelog_has_the_form_of_keep_a_changelog() -> None:
    assert changelog_faults(read("CHANGELOG.md")) == []
    assert changelog_faults("## [Unreleased]\n\n### News\n\n## 0.1\n") == ["heading 0.1", "News"]
    assert changelog_faults("## [0.1.0] - 2026-11-28\n") == ["the first is not Unreleased"]


def test_contributing_is_one_page() -> None:
    page = read("CONTRIBUTING.md")
    assert len(page.splitlines()) <= 110
    for chapter in ("The picture", "Where do I change what", "Add a model", "Add a store", "Add a reader"):
        assert f"\n## {chapter}\n" in page


def test_the_paths_that_contributing_names_exist() -> None:
    places = (ROOT, ROOT / "src" / "vllm_jina_embed")
    for name in re.findall(r"`((?:[\w.]+/)+(?:[\w.]+\.\w+)?)`", read("CONTRIBUTING.md")):
        if "NAME" not in name:
            assert any((place / name).exists() for place in places), name


def test_reports_ask_for_what_doctor_says() -> None:
    for name in ("wrong.yml", "model.yml"):
        form = yaml.safe_load((TEMPLATES / name).read_text("utf-8"))
        (field,) = [item for item in form["body"] if "vllm-jina-embed doctor --json" in str(item["attributes"])]
        assert field["validations"]["required"] is True
    for path in TEMPLATES.glob("*.yml"):
        assert yaml.safe_load(path.read_text("utf-8")), path.name


def test_pre_commit_runs_what_the_environment_has() -> None:
    """The same ruff and mypy as `make lint` and `make types`: no version of their own."""
    hooks = [hook for repo in yaml.safe_load(read(".pre-commit-config.yaml"))["repos"] for hook in repo["hooks"]]
    assert [hook["id"] for hook in hooks] == ["ruff-check", "ruff-format", "mypy", "charts"]
    assert all(hook["language"] == "system" and hook["entry"].startswith(".venv/bin/") for hook in hooks)
