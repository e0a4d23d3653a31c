"""docs/architecture.md: what it says of folders and imports is what test_layers.py checks."""

from __future__ import annotations

import re
from pathlib import Path

import vllm_jina_embed
from tests.unit.test_layers import LAYERS, OWNERS

PACKAGE = Path(vllm_jina_embed.__file__).parent
ROOT = PACKAGE.parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
ROWS = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| ")]


def names(text: str) -> list[str]:
    """Return what stands between backquotes, outside of drawings."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))


def test_the_order_of_imports_is_that_of_the_layer_test() -> None:
    (line,) = [line for line in PAGE.splitlines() if line.startswith("`errors` < ")]
    assert [set(names(part)) for part in line.split(" < ")] == [set(layer) for layer in LAYERS]


def test_the_owners_of_libraries_are_those_of_the_layer_test() -> None:
    on_the_page = {row[0].strip(): set(names(row[1])) for row in ROWS if row[0].strip() in OWNERS}
    assert on_the_page == OWNERS


def test_every_folder_and_file_of_the_package_is_described() -> None:
    described = {name for row in ROWS for name in names(row[0])}
    for path in sorted(PACKAGE.iterdir()):
        if path.is_dir() and (path / "__init__.py").exists():
            assert f"{path.name}/" in described, path.name
        elif path.suffix == ".py" and not path.name.startswith("_"):
            assert path.name in described, path.name


def test_every_module_that_a_row_names_exists() -> None:
    for row in ROWS:
        (*folders,) = [PACKAGE / name for name in names(row[0]) if name.endswith("/")]
        if len(folders) != 1 or len(row) != 2:
            continue
        words = set(re.findall(r"`([a-z_]+)`", row[1]))
        modules = {path.stem for path in folders[0].rglob("*.py")}
        missing = words - modules - {"serve", "demo", "application"}
        assert not missing, (row[0], missing)


def test_every_path_that_the_page_names_exists() -> None:
    for name in names(PAGE):
        if re.fullmatch(r"[a-z_]+(/[a-z_]+)*/?([a-z_]+\.py)?", name) and ("/" in name or name.endswith(".py")):
            places = [
                PACKAGE / name,
                ROOT / name,
                ROOT / "tests" / name,
                PACKAGE / f"{name}.py",
                PACKAGE / "checkpoints" / name,
                PACKAGE / "engine" / name,
            ]
            assert any(place.exists() for place in places), name
