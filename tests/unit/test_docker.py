"""docker/: what a builder would refuse, and what it would build without a word and not run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.dockerfiles import Instruction, instructions, parsed
from vllm_jina_embed import cli

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = sorted((ROOT / "docker").glob("Dockerfile.*"))
COMPOSE = ROOT / "docker" / "compose.yaml"
KNOWN = {
    "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "STOPSIGNAL", "USER", "VOLUME",
    "WORKDIR",
}  # fmt: skip
APT = ("--no-install-recommends", "rm -rf /var/lib/apt/lists/*")
PINNED = re.compile(r"[\w./-]+:v?\d[\w.-]*")


def faults(found: list[Instruction]) -> Iterator[str]:
    """Yield what is wrong with a Dockerfile."""
    names = [one.name for one in found]
    by_name = {one.name: one for one in found}
    yield from (f"unknown {name}" for name in names if name not in KNOWN)
    if names[:1] != ["FROM"]:
        yield "it does not begin with FROM"
    for one in found:
        if one.name == "FROM" and not PINNED.fullmatch(one.rest):
            yield f"{one.rest} is not pinned"
        if one.name == "COPY":
            yield from (f"{source} is not there" for source in one.rest.split()[:-1] if not (ROOT / source).exists())
            yield from (f"{source} is ignored" for source in one.rest.split()[:-1] if not sent(source))
        if "apt-get install" in one.rest and not all(part in one.rest for part in APT):
            yield "apt-get leaves more than it was asked for"
        if one.name in ("ENTRYPOINT", "CMD"):
            yield from shell_form(one)
    if missing := {"ENTRYPOINT", "CMD", "HEALTHCHECK", "USER", "STOPSIGNAL", "EXPOSE"} - set(names):
        yield f"no {', '.join(sorted(missing))}"
        return
    if by_name["USER"].rest in ("root", "0") or names.index("USER") < max(place(names, "RUN")):
        yield "it runs as root, or builds as somebody else"
    elif not any(f"--uid {by_name['USER'].rest} " in one.rest for one in found if one.name == "RUN"):
        yield f"USER {by_name['USER'].rest} is not the number of the user that is made"
    yield from command_faults(by_name)


def command_faults(by_name: dict[str, Instruction]) -> Iterator[str]:
    """Yield what our own command says of the line that runs, and whether its ports are those that are shown."""
    line = [*by_name["ENTRYPOINT"].words, *by_name["CMD"].words]
    if line[0] != "vllm-jina-embed":
        yield f"it runs {line[0]}"
        return
    try:
        options = cli._parsed(line[1:])
    except SystemExit:
        yield "the command does not know its options"
        return
    probed = getattr(options, "health_port", None)
    ports = {str(port) for port in (options.port, probed) if port is not None}
    if ports != set(by_name["EXPOSE"].rest.split()):
        yield f"EXPOSE {by_name['EXPOSE'].rest}, and it listens on {sorted(ports)}"
    if options.host != "0.0.0.0":
        yield f"nobody reaches {options.host} from outside"
    probe = by_name["HEALTHCHECK"].rest
    asked = f":{options.port}/favicon.ico" if probed is None else f":{probed}/ready"
    if asked not in probe or "--start-period" not in probe:
        yield "HEALTHCHECK asks elsewhere, or does not wait for a start"


def shell_form(one: Instruction) -> Iterator[str]:
    try:
        _ = one.words
    except ValueError:
        yield f"{one.name} is in shell form, whose shell does not pass on signals"


def place(names: list[str], name: str) -> list[int]:
    return [number for number, other in enumerate(names) if other == name] or [-1]


def sent(source: str) -> bool:
    """Tell whether .dockerignore lets a file or folder be sent to the builder."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    return lines[0] == "*" and f"!{source}" in lines


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_a_dockerfile(path: Path) -> None:
    found = instructions(path)
    assert len(found) > 10
    assert list(faults(found)) == []


def test_every_image_is_there() -> None:
    assert [path.name for path in DOCKERFILES] == ["Dockerfile.cpu", "Dockerfile.gpu", "Dockerfile.ui"]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("FROM python:3.12-slim-bookworm", "FROM python:latest", "not pinned"),
        ("USER 10001", "USER root", "runs as root"),
        ("USER 10001", "USER embed", "is not the number"),
        ("COPY src src", "COPY sources src", "not there"),
        ("COPY src src", "COPY tests tests", "is ignored"),
        ("EXPOSE 8000 8001", "EXPOSE 8000", "listens on"),
        ('"0.0.0.0"', '"127.0.0.1"', "nobody reaches"),
        ('"--metrics"', '"--matrix"', "does not know"),
        ('CMD ["demo"]', "CMD demo", "shell form"),
        ("8001/ready", "8000/ready", "asks elsewhere"),
        (" && rm -rf /var/lib/apt/lists/*", "", "leaves more"),
        ("STOPSIGNAL SIGTERM", "STOPSIGNALS SIGTERM", "unknown STOPSIGNALS"),
    ],
)
def test_a_planted_fault_is_seen(old: str, new: str, fault: str) -> None:
    text = "\n".join(f"{one.name} {one.rest}" for one in instructions(ROOT / "docker" / "Dockerfile.cpu"))
    assert text.count(old) >= 1
    try:
        found = list(faults(parsed(text.replace(old, new))))
    except ValueError as error:  # a command that is no list has no words to look at
        found = [f"shell form: {error}"]
    assert any(fault in one for one in found), found


def test_lines_are_continued_and_comments_left_out() -> None:
    assert parsed("# a\nRUN a \\\n    # b\n    && b\n\nUSER c\n") == [
        Instruction("RUN", "a && b"),
        Instruction("USER", "c"),
    ]


# --- compose ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def services() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))
    return found


def test_every_service_of_the_compose_file(services: dict[str, Any]) -> None:
    """Each has a health check, a pinned image, and ports on this machine alone; volumes are declared."""
    assert sorted(services["services"]) == ["qdrant", "server", "ui"]
    for name, service in services["services"].items():
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        assert {volume.partition(":")[0] for volume in service.get("volumes", ())} <= services["volumes"].keys()
        if "build" in service:
            assert (COMPOSE.parent / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        else:
            assert PINNED.fullmatch(service["image"]), name


@pytest.mark.parametrize(("name", "file"), [("server", "Dockerfile.cpu"), ("ui", "Dockerfile.ui")])
def test_a_service_of_the_compose_file_is_the_image_of_its_dockerfile(
    services: dict[str, Any], name: str, file: str
) -> None:
    """The same ports and the same question to its health."""
    found = {one.name: one for one in instructions(ROOT / "docker" / file)}
    service = services["services"][name]
    assert [port.rpartition(":")[2] for port in service["ports"]] == found["EXPOSE"].rest.split()
    probe = found["HEALTHCHECK"].rest.partition("CMD ")[2]
    assert ["CMD", *Instruction("CMD", probe).words] == service["healthcheck"]["test"]


def test_the_page_of_the_compose_file_asks_its_server(services: dict[str, Any]) -> None:
    (line,) = [one.words for one in instructions(ROOT / "docker" / "Dockerfile.ui") if one.name == "CMD"]
    assert line == ["--server", "http://server:8000"]
    assert services["services"]["ui"]["depends_on"] == {"server": {"condition": "service_healthy"}}


def test_the_gpu_file_changes_services_that_are_there(services: dict[str, Any]) -> None:
    yaml = pytest.importorskip("yaml")
    changed = yaml.safe_load((ROOT / "docker" / "compose.gpu.yaml").read_text("utf-8"))
    assert changed["services"].keys() <= services["services"].keys()
    build = changed["services"]["server"]["build"]
    assert (COMPOSE.parent / build["context"] / build["dockerfile"]).is_file()
