"""Check that an engine starts on the demo checkpoint and gives the known vectors, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO, Any

from .device import GPU_SHARE
from .finding import Finding, Surroundings
from .probing import ended

COMMAND = (sys.executable, "-P", "-m", "vllm_jina_embed.doctor.known")
SECONDS = 1800.0
"""How long a start may take: 20 to 60 s on an idle machine, minutes on a busy one."""
LIMIT = 1e-3
"""Largest 1 - cosine to a known vector; bfloat16 stays under 1e-4, other vectors are over 1e-2."""
LOG_LINES = 8
BY_SIGNAL = {
    "SIGILL": "The processor lacks an instruction that this build uses (vLLM's CPU build needs AVX2).",
    "SIGKILL": "The system ended it, most likely because memory ran out; see memory above.",
    "SIGSEGV": "A build does not fit another; see torch and vllm above.",
    "SIGBUS": "Shared memory ran out; see temp above.",
}
"""By the signal that ended the process, what is most likely wrong."""


def check_engine(
    around: Surroundings, *, command: Sequence[str] = COMMAND, seconds: float = SECONDS, limit: float = LIMIT
) -> Finding:
    """Start an engine on the demo checkpoint and compare three vectors.

    Args:
        around: What to look at.
        command: Runs the check; gets this process's id and the share of a GPU's memory.
        seconds: How long it may take.
        limit: Largest distance to a known vector.
    """
    if not around.site.vllm_builds():
        return Finding(check="engine", status="absent", summary="not started: vLLM is not installed.")
    if any(around.probe.error(stage) for stage in ("torch", "torchvision", "vllm")):
        return Finding(check="engine", status="absent", summary="not started: vLLM cannot be imported, see above.")
    with tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace") as log:
        answer = _run([*command, str(os.getpid()), _share(around)], log, seconds)
        tail = _tail(log)
    if error := answer.get("error"):
        mend = answer.get("mend") or "Mend the problems above first; then run doctor again, or report this."
        details = {"error": error, "log": tail}
        last = "".join(f"\n  | {line}" for line in tail)
        return Finding(
            check="engine", status="problem", summary=f"{error}{last}", mend=mend,
            command="VLLM_LOGGING_LEVEL=DEBUG vllm-jina-embed demo --verbose", details=details,
        )  # fmt: skip
    return _judged(answer, limit)


def _judged(answer: dict[str, Any], limit: float) -> Finding:
    """Return the finding of distances; one that is not a number is the worst."""
    distances = answer["distances"]
    if distances and all(distance <= limit for distance in distances):
        summary = (
            f"started in {answer['seconds']:.0f} s on the demo checkpoint; a query, a passage and an image are at most "
            f"{max(*distances, 0.0):.0e} (1 - cosine) from transformers' vectors."
        )
        return Finding(check="engine", status="ok", summary=summary, details=answer)
    shown = ", ".join(f"{distance:.2g}" for distance in distances)
    summary = f"it starts, but its vectors are wrong: 1 - cosine to the known ones is {shown} (at most {limit:g})."
    mend = "This version of vLLM computes something else: install a tested one, and report this."
    return Finding(check="engine", status="problem", summary=summary, mend=mend, details=answer)


def _run(command: Sequence[str], log: IO[str], seconds: float) -> dict[str, Any]:
    """Return what the process printed, or how it ended."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True) as process:
        try:
            output = process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            return {"error": f"the engine did not start within {seconds:.0f} s."}
        finally:
            process.kill()  # vLLM's processes end with it
    if output:
        answer: dict[str, Any] = json.loads(output.splitlines()[-1])
        return answer
    ending = ended(process.returncode)
    return {"error": f"its process {ending}.", "mend": BY_SIGNAL.get(ending.rpartition(" ")[2], "")}


def _share(around: Surroundings) -> str:
    """Return the part of the first GPU's memory to use: of what is free, and no more than vLLM's default."""
    gpus = [] if around.site.is_cpu_build() else around.probe.of("torch").get("gpus", ())
    return f"{min(GPU_SHARE, 0.9 * gpus[0]['free'] / gpus[0]['total']):.3f}" if gpus else ""


def _tail(log: IO[str]) -> list[str]:
    log.seek(0)
    return [line.rstrip() for line in log.read().splitlines() if line.strip()][-LOG_LINES:]
