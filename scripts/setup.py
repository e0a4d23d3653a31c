"""Set up a virtual environment from a complete lock: `python scripts/setup.py .venv locks/cpu.txt`.

Called by `make setup`; says one line per step. What is installed already is left alone. Standard library only, and no
syntax newer than Python 3.6, so that an old Python gets the message below and not a syntax error.
"""

import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
SHIM = "torchvision_on_cpu"
TORCH_NAMES = ("torch==", "torchvision==")

# Run by the virtual environment's Python: lines of a lock in, those out that pip should install.
MISSING = """
import sys
from importlib.metadata import PackageNotFoundError, version
from pip._vendor.packaging.requirements import Requirement

def installed(need):
    try:
        return need.specifier.contains(version(need.name), prereleases=True)
    except PackageNotFoundError:
        return False

for line in sys.stdin.read().splitlines():
    need = Requirement(line)
    if (need.marker is None or need.marker.evaluate()) and not installed(need):
        print(line)
"""


def say(line):
    """Print one line of progress at once."""
    print("setup: " + line, flush=True)


def stop(problem, *hints):
    """End with the problem and what to do about it."""
    sys.exit("\n".join(["setup: " + problem, *("       " + hint for hint in hints)]))


def read_lock(path):
    """Give the requirement lines of a lock and of the locks that it includes."""
    lines = []
    for line in path.read_text().splitlines():
        if line.startswith("-r "):
            lines += read_lock(path.parent / line[3:].strip())
        elif line and not line.startswith("#"):
            lines.append(line)
    return lines


def missing(venv, lock):
    """Give the lines of the lock that count here and are not installed."""
    command = [str(venv / "bin" / "python"), "-c", MISSING]
    done = subprocess.run(command, input="\n".join(lock), stdout=subprocess.PIPE, check=True, text=True)
    return done.stdout.splitlines()


def pip(venv, *arguments):
    """Start pip in the virtual environment: quiet, without looking at dependencies."""
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1")
    command = [str(venv / "bin" / "python"), "-m", "pip", "install", "-qq", "--no-deps", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(*running):
    """Wait for pips; stop with the output of one that failed."""
    outputs = [process.communicate()[0] for process in running]
    for process, output in zip(running, outputs):  # noqa: B905 (strict= is Python 3.10)
        if process.returncode:
            stop("pip failed:", *output.strip().splitlines(), "", "When this is mended, the same command goes on here.")


def check_machine(lock):
    """Stop where the lock cannot be installed."""
    if sys.version_info < (3, 11):  # noqa: UP036
        found = f"{sys.executable} is Python {platform.python_version()}; 3.11 or newer is needed."
        stop(found, "Name another one: make demo PYTHON=python3.12")
    if "torch" in "".join(lock) and sys.platform != "linux":
        stop(f"vLLM's CPU build exists for Linux, not for {platform.system()}.", "Use a Linux container.")


def make_venv(venv):
    """Create the virtual environment where there is none."""
    if not (venv / "bin" / "python").exists():
        say(f"creating {venv.name} with Python {platform.python_version()}")
        done = subprocess.run([sys.executable, "-m", "venv", str(venv)], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            shutil.rmtree(str(venv), ignore_errors=True)
            hint = f"On Debian and Ubuntu: apt-get install python{sys.version_info[0]}.{sys.version_info[1]}-venv"
            stop("Python's venv module does not work here.", *done.stdout.splitlines(), hint)


def install_torch(venv, wanted):
    """Install torch's CPU build from where pip looks, else from PyTorch's own index."""
    say("torch for the CPU (about 200 MB)")
    first = pip(venv, *wanted)
    output = first.communicate()[0]
    if first.returncode and "No matching distribution" in output:
        say("pip finds no CPU build of torch here; trying PyTorch's own index, " + CPU_INDEX)
        second = pip(venv, "--extra-index-url", CPU_INDEX, *wanted)
        output = second.communicate()[0]
        if second.returncode:
            hint = f"Let pip find a wheel of {wanted[0]}: pip config set global.find-links FOLDER"
            stop("no CPU build of torch to be had:", *output.strip().splitlines()[-3:], hint)
    elif first.returncode:
        stop("pip failed:", *output.strip().splitlines())


def mend_torchvision(venv):
    """Where torchvision cannot be imported, install the finder that lets it be."""
    python = str(venv / "bin" / "python")
    where = [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]
    site = Path(subprocess.run(where, stdout=subprocess.PIPE, check=True, text=True).stdout.strip())
    (site / (SHIM + ".pth")).unlink(missing_ok=True)
    check = [python, "-c", "import torchvision"]
    if b"torchvision::nms does not exist" not in subprocess.run(check, stderr=subprocess.PIPE).stderr:
        return
    say(f"torchvision is built for CUDA and fails beside this torch; adding {SHIM}.pth, which lets it import")
    shutil.copy(str(ROOT / "scripts" / (SHIM + ".py")), str(site))
    (site / (SHIM + ".pth")).write_text("import " + SHIM + "\n")
    subprocess.run(check, check=True)


def main(venv, lock_path):
    """Run the steps."""
    began = time.monotonic()
    lock = read_lock(lock_path)
    check_machine(lock)
    make_venv(venv)
    wanted = missing(venv, lock)
    torch = [line for line in wanted if line.startswith(TORCH_NAMES)]
    rest = [line for line in wanted if line not in torch]
    if torch:
        install_torch(venv, torch)
    if rest:
        say(f"{len(rest)} packages from {lock_path}" + (" (1 to 3 minutes)" if len(rest) > 50 else ""))
        halves = [half for half in (rest[::2], rest[1::2]) if half]
        finish(*(pip(venv, *half) for half in halves))  # two pips: each unpacks on one core
    finish(pip(venv, "--no-build-isolation", "-e", str(ROOT)))
    if any(line.startswith("torchvision==") for line in lock):
        mend_torchvision(venv)
    say(f"{venv.name} is ready, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]))
