"""The house: which room may import which, who owns a library, and what the package shows to the world."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest

import vllm_jina_embed

PACKAGE = Path(vllm_jina_embed.__file__).parent
NAME = PACKAGE.name

LAYERS = (
    {"errors"},
    {"_arrays", "_closing", "_cores", "_forks", "_instruments", "_keywords", "_secrets"},
    {"_addresses", "_extras", "_telemetry"},
    {"_usage"},
    {"inputs", "pooling", "scoring"},
    {"checkpoints"},
    {"prompts"},
    {"engine"},
    {"settings", "plugin"},
    {"embedding"},
    {"reranking"},
    {"cache", "serve"},
    {"embedder", "late_interaction", "reranker"},
    {"__init__"},
    {"frameworks"},
    {"corpus"},
    {"langchain", "llama_index", "mteb", "mcp"},
    {"ui"},
    {"demo"},
    {"doctor"},
    {"cli"},
)
"""Rooms from the lowest to the highest: a file imports from its own room and from lower ones."""

OWNERS = {
    "vllm": {"doctor/probe.py", "engine/local/", "plugin/", "serve/"},
    "torch": {
        "checkpoints/weights/token_layers.py",
        "doctor/probe.py",
        "engine/local/image_threads.py",
        "plugin/",
        "scoring/maxsim_torch.py",
        "serve/request_checks.py",
    },
    "transformers": {"engine/local/", "plugin/config_types.py", "plugin/nemotron_config.py"},
    "httpx": {"engine/remote/"},
    "huggingface_hub": {"checkpoints/files.py"},
    "tokenizers": {"prompts/"},
    "qdrant_client": {"corpus/qdrant.py", "corpus/qdrant_rows.py", "late_interaction/"},
    "lancedb": {"corpus/lance.py", "corpus/lance_rows.py", "late_interaction/"},
    "chromadb": {"corpus/chroma.py"},
    "psycopg": {"corpus/postgres.py"},
    "pyarrow": {"corpus/", "late_interaction/lance_collection.py"},
    "langchain_core": {"langchain/"},
    "llama_index": {"llama_index/"},
    "mteb": {"mteb.py"},
    "mcp": {"mcp/http.py", "mcp/server.py"},
    "nicegui": {"ui/page.py", "ui/parts.py", "ui/results.py", "ui/serving.py"},
    "ray": {"corpus/ray_data.py", "corpus/ray_shards.py"},
    "pypdfium2": {"corpus/pdf.py"},
    "opentelemetry": {"_instruments.py", "serve/sdk.py"},
}
"""Which places alone may import a library, even inside a function; ``demo/`` and ``cli.py`` use what they show."""

APART = (
    ("engine/local/", f"{NAME}.engine.remote"),
    ("engine/remote/", f"{NAME}.engine.local"),
    ("settings.py", f"{NAME}.engine.pool"),  # it starts nothing
    ("settings.py", f"{NAME}.engine.local"),
)
"""Places, and what they never import."""

PLUGIN_MAY_IMPORT = (f"{NAME}.plugin", f"{NAME}.engine.plugin_contract", f"{NAME}.checkpoints")
"""vLLM's processes load ``plugin/`` and nothing of the application."""

EXCEPTIONS = {
    # The version is a name of the package itself, which is above all rooms that read it.
    ("mteb.py", f"{NAME}.__version__"),
    ("serve/served_facts.py", f"{NAME}.__version__"),
    # How vLLM's processes end with the application is one file for both sides.
    ("plugin/end_with_parent.py", f"{NAME}.engine.local.processes.end_with_thread"),
    ("plugin/main_module.py", f"{NAME}.engine.local.processes.begin"),
    # What counts as a vector of length 1 is one number for the pooler and its reference.
    ("plugin/span_pooler.py", f"{NAME}.pooling.single_vector.NORM_LIMIT"),
}
"""Imports that break a rule, each with its reason."""

PUBLIC = {
    "__init__.py": {
        "CachedEmbedder", "ClosedError", "ConfigError", "EngineDeadError", "EngineError", "ForkedError", "InputError",
        "JinaEmbedder", "JinaReranker", "Layers", "Layout", "MaxSimReranker", "MediaPolicy", "MissingExtraError",
        "Model", "Placeholder", "Ranked", "RankingModel", "Slot", "Special", "TokenId", "TokenLayer", "VllmJinaError",
        "YesNo", "__version__", "register",
    },
    "corpus/__init__.py": {
        "Columns", "Corpus", "RayActors", "Row", "Summary", "embed_corpus", "embedder_of", "open_corpus",
        "search_corpus",
    },
    "langchain/__init__.py": {
        "CorpusRetriever", "LateInteractionRetriever", "MaxSimReranker", "VllmJinaEmbeddings", "VllmJinaReranker",
        "corpus_store", "image_document", "image_retriever_tool",
    },
    "llama_index/__init__.py": {
        "CorpusRetriever", "LateInteractionRetriever", "ImageQuery", "MaxSimReranker", "VllmJinaEmbedding",
        "VllmJinaReranker", "corpus_store", "image_document", "image_node", "image_retriever_tool", "name_images",
        "unified_retriever",
    },
    "late_interaction/__init__.py": {
        "Hit", "LateInteractionIndex", "MaxSimMap", "MaxSimReranker", "Ranked", "Rerank", "Size", "Storage",
        "TokenMatch", "amaxsim_map", "maxsim_map", "size_of",
    },
}  # fmt: skip
"""What users import: another name is a promise, and a missing one breaks somebody's program."""


def room(place: str) -> str:
    return place.split("/", maxsplit=1)[0].removesuffix(".py")


def level(name: str) -> int:
    (found,) = [number for number, rooms in enumerate(LAYERS) if name in rooms]
    return found


def imported(place: str, source: str) -> Iterator[str]:
    """Yield the absolute names that a file imports, at its top or inside a function."""
    package = ".".join([NAME, *Path(place).parent.parts])
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def within(name: str, parent: str) -> bool:
    return f"{name}.".startswith(f"{parent}.")


def breaks(place: str, name: str) -> str | None:
    """Return the rule that an import breaks."""
    shown = place.startswith(("demo/", "cli.py"))
    for library, owners in OWNERS.items():
        if within(name, library) and not shown and not place.startswith(tuple(owners)):
            return f"{library} is imported in {sorted(owners)} alone"
    if not within(name, NAME):
        return None
    if any(place.startswith(folder) and within(name, other) for folder, other in APART):
        return "the two are apart"
    if place.startswith("plugin/") and not any(within(name, allowed) for allowed in PLUGIN_MAY_IMPORT):
        return "plugin/ is narrow"
    parts = name.split(".")[1:]
    target = parts[0] if parts and any(parts[0] in rooms for rooms in LAYERS) else "__init__"
    if target != room(place) and level(target) >= level(room(place)):
        return f"{target} is not below {room(place)}"
    if target != room(place) and any(re.match("_[^_]", part) for part in parts[1:]):
        return "a name with _ stays in its room"
    return None


def faults(place: str, source: str) -> list[str]:
    """Return the imports of a file that break a rule."""
    return [
        f"{place}: {name}: {rule}"
        for name in imported(place, source)
        if (rule := breaks(place, name)) and (place, name) not in EXCEPTIONS
    ]


def files() -> dict[str, str]:
    return {path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


def test_imports_run_downwards() -> None:
    """Layers, owners of libraries, local and remote apart, the narrow plugin, private names."""
    sources = files()
    assert len(sources) > 100
    assert [fault for place, source in sources.items() for fault in faults(place, source)] == []


def test_each_exception_is_needed() -> None:
    """One that nobody uses any more is taken out."""
    sources = files()
    used = {(place, name) for place, source in sources.items() for name in imported(place, source)}
    assert sorted(EXCEPTIONS - used) == []


@pytest.mark.parametrize(
    ("place", "line", "rule"),
    [
        ("embedder.py", "import vllm", "vllm is imported in"),
        ("_telemetry.py", "def f():\n    from opentelemetry import trace", "opentelemetry is imported in"),
        ("pooling/single_vector.py", "from torch.nn import functional", "torch is imported in"),
        ("langchain/embeddings.py", "from vllm.inputs import TokensPrompt", "vllm is imported in"),
        ("engine/local/engine.py", "def start():\n    import httpx", "httpx is imported in"),
        ("prompts/plain.py", "from huggingface_hub import hf_hub_download", "huggingface_hub is imported in"),
        ("checkpoints/resolve.py", "from huggingface_hub import hf_hub_download", "huggingface_hub is imported in"),
        ("inputs/items.py", "from ..checkpoints.description import Checkpoint", "checkpoints is not below inputs"),
        ("engine/pool.py", "from ..settings import Settings", "settings is not below engine"),
        ("llama_index/nodes.py", "from ..langchain import VllmJinaEmbeddings", "langchain is not below llama_index"),
        ("embedder.py", "from . import cli", "cli is not below embedder"),
        ("embedding/calls.py", "from .. import JinaEmbedder", "__init__ is not below embedding"),
        ("engine/remote/engine.py", "from ..local.engine import LocalEngine", "the two are apart"),
        ("engine/local/engine.py", "from ..remote import http", "the two are apart"),
        ("settings.py", "from .engine.pool import POOL", "the two are apart"),
        ("plugin/span_pooler.py", "from ..inputs.items import TextItem", "plugin/ is narrow"),
        ("embedder.py", "from .engine.loop import _cancel_all", "a name with _ stays in its room"),
    ],
)
def test_a_broken_rule_is_seen(place: str, line: str, rule: str) -> None:
    """An import against each rule, at the top or inside a function."""
    (fault,) = faults(place, line)
    assert rule in fault


# --- names in strings -------------------------------------------------------------------------------------------------


def unresolved(source: str) -> list[str]:
    """Return the strings of a file that are dotted names of the package and lead nowhere."""
    names = [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(rf"{NAME}(\.\w+)+", node.value)
    ]
    return [name for name in names if not leads_somewhere(name)]


def leads_somewhere(name: str) -> bool:
    """Tell whether a dotted name is a module, or what a module's source gives a name to."""
    module, _, last = name.rpartition(".")
    return bool(module_file(name)) or ((file := module_file(module)) is not None and last in given_names(file))


def module_file(name: str) -> Path | None:
    base = PACKAGE.parent.joinpath(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def given_names(file: Path) -> set[str]:
    body = ast.parse(file.read_text("utf-8")).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)}


def test_module_paths_in_strings_lead_somewhere() -> None:
    """vLLM is given some classes and modules by name."""
    sources = files()
    assert any(f'"{NAME}.' in source for source in sources.values())
    assert {place: names for place, source in sources.items() if (names := unresolved(source))} == {}


@pytest.mark.parametrize("name", ["plugin.nowhere", "plugin.scheduler.Nobody", "nowhere.scheduler.QuestionsFirst"])
def test_a_string_that_leads_nowhere_is_seen(name: str) -> None:
    assert unresolved(f"x = '{NAME}.{name}'") == [f"{NAME}.{name}"]


# --- public names -----------------------------------------------------------------------------------------------------


def exported(source: str) -> list[str]:
    """Return the list ``__all__`` of a module's source."""
    (names,) = [
        ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]
    ]
    return list(names)


@pytest.mark.parametrize("place", sorted(PUBLIC))
def test_public_names(place: str) -> None:
    names = exported((PACKAGE / place).read_text("utf-8"))
    assert sorted(names) == sorted(PUBLIC[place])


def test_public_names_exist() -> None:
    assert [name for name in vllm_jina_embed.__all__ if not hasattr(vllm_jina_embed, name)] == []


# --- sizes ------------------------------------------------------------------------------------------------------------

MODULE, BODY = 300, 40
"""Most lines of a module, and of a function's body without its docstring: more is two things in one."""


def too_long(place: str, source: str) -> list[str]:
    """Return the module and the functions of a source that have more lines."""
    long = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[ast.get_docstring(node) is not None :]
            if body and (body[-1].end_lineno or 0) - body[0].lineno >= BODY:
                long.append(f"{place}: {node.name}")
    return long + [place] * (len(source.splitlines()) > MODULE)


def test_modules_and_functions_are_short() -> None:
    assert [name for place, source in files().items() for name in too_long(place, source)] == []


def test_one_that_is_long_is_seen() -> None:
    lines = "    pass\n"
    assert too_long("a.py", "x = 1\n" * 300) == []
    assert too_long("a.py", "x = 1\n" * 301) == ["a.py"]
    for keyword in ("def", "async def"):
        assert too_long("a.py", f'{keyword} f():\n    """Do."""\n' + lines * 40) == []
        assert too_long("a.py", f'{keyword} f():\n    """Do."""\n' + lines * 41) == ["a.py: f"]
