"""Checks of what vLLM is told: our plugin, and which of its model runners it takes."""

from __future__ import annotations

from .finding import Finding, Surroundings
from .installed import PACKAGE, pip_line

GROUP, NAME = "vllm.general_plugins", "vllm_jina_embed"
"""Our entry point, as pyproject.toml has it."""
VALUE = "vllm_jina_embed.plugin:register"
VARIABLE = "VLLM_PLUGINS"
"""vLLM's environment variable: a list of the plugins to load, all where it is not set."""
RUNNER = "VLLM_USE_V2_MODEL_RUNNER"


def check_plugin(around: Surroundings) -> Finding:
    """Check that vLLM finds our plugin, may load it, and gets our models from it."""
    points = {point.name: point.value for point in around.site.entry_points(GROUP)}
    allowed = around.environment.get(VARIABLE)
    details = {"plugins": points, VARIABLE: allowed}
    if points.get(NAME) != VALUE:
        summary = f"the entry point {NAME} of {GROUP} is missing, so vLLM cannot load the plugin."
        command = pip_line(PACKAGE, options="--force-reinstall --no-deps")
        return Finding(check="plugin", status="problem", summary=summary, command=command, details=details)
    if allowed is not None and NAME not in allowed.split(","):
        summary = f"{VARIABLE}={allowed!r} switches the plugin off."
        command = f"export {VARIABLE}={','.join([*filter(None, allowed.split(',')), NAME])}"
        mend = "Add it, or unset the variable."
        return Finding(check="plugin", status="problem", summary=summary, mend=mend, command=command, details=details)
    if cause := around.probe.failed_before("plugin"):
        summary = f"installed; not loaded, because {cause} failed: see above."
        return Finding(check="plugin", status="absent", summary=summary, details=details)
    if error := around.probe.error("plugin"):
        summary = f"vLLM cannot load its plugins: {error}."
        mend = "Where the error names another package, that one's plugin fails: remove it, or load ours alone."
        command = f"export {VARIABLE}={NAME}"
        return Finding(check="plugin", status="problem", summary=summary, mend=mend, command=command, details=details)
    if around.probe.of("plugin").get("is_loaded") is False:
        summary = "vLLM has loaded its plugins, and does not know the models of ours."
        mend = "Another copy of this package may come first on the path; remove it, and install again."
        command = pip_line(PACKAGE, options="--force-reinstall --no-deps")
        return Finding(check="plugin", status="problem", summary=summary, mend=mend, command=command, details=details)
    if around.probe.of("plugin"):
        return Finding(check="plugin", status="ok", summary="vLLM loads it.", details=details)
    summary = "installed; vLLM is not there to load it." if not around.site.vllm_builds() else "installed."
    return Finding(check="plugin", status="ok", summary=summary, details=details)


def check_runner(around: Surroundings) -> Finding:
    """Say which model runner vLLM takes: V2 where Triton is usable, as on GPUs, else V1."""
    answer, chosen = around.probe.of("runner"), around.environment.get(RUNNER)
    details = {"is_v2": answer.get("is_v2"), RUNNER: chosen}
    if cause := around.probe.failed_before("runner"):
        summary = f"not known, because {cause} failed: see above."
        return Finding(check="runner", status="absent", summary=summary, details=details)
    if error := around.probe.error("runner"):
        summary = f"not known ({error})."
        return Finding(check="runner", status="note", summary=summary, details=details)
    if not answer:
        return Finding(check="runner", status="absent", summary="not known without vLLM.", details=details)
    why = f", by {RUNNER}={chosen}" if chosen is not None else ""
    summary = f"Model Runner V{2 if answer['is_v2'] else 1}{why}; both are tested."
    return Finding(check="runner", status="ok", summary=summary, details=details)
