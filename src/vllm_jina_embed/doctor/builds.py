"""Checks of vLLM and torch: their versions, and whether one build fits the other and the machine."""

from __future__ import annotations

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from ..engine.local.vllm_versions import NEWEST_TESTED
from .finding import Finding, Surroundings
from .installed import CPU_INDEX, PACKAGE, pip_line, vllm_line, within, without_build
from .probe import COMPANIONS

NOT_NEEDED = {"torch", "setuptools", *COMPANIONS, "torchcodec"}
"""What vLLM asks for and runs without in another version; torch and what is built for it have a check of their own."""
NO_OPERATOR = "torchvision::nms does not exist"
"""What torchvision's build for CUDA says beside a torch for the CPU."""


def check_vllm(around: Surroundings, *, is_client: bool = False) -> Finding:
    """Check which build of vLLM is installed, whether it is in range, fits the machine and can be imported.

    Args:
        around: What to look at.
        is_client: Whether a server is asked, so that no engine need start here.
    """
    site, builds = around.site, around.site.vllm_builds()
    if not builds and is_client:
        return Finding(check="vllm", status="absent", summary="not installed; a client of a server does not need it.")
    if not builds:
        summary = "not installed. Engines need it in this environment; clients of a server do not."
        command = vllm_line(cpu=not around.has_gpu)
        return Finding(check="vllm", status="problem", summary=summary, command=command)
    cpu, version = site.is_cpu_build(), str(site.version(builds[-1]))
    details = {"distributions": builds, "version": version, "range": _vllm_range(around), "is_cpu_build": cpu}
    title = f"vLLM {version}{' for the CPU' if cpu else ''}"
    if len(builds) > 1:
        summary = f"{' and '.join(builds)} are both installed, and overwrite each other's files."
        command = f"pip uninstall -y {' '.join(builds)} && {vllm_line(cpu=not around.has_gpu)}"
        return Finding(check="vllm", status="problem", summary=summary, command=command, details=details)
    if not within(version, SpecifierSet(_vllm_range(around))):
        summary = f"{title} is older than the oldest tested one ({_vllm_range(around)})."
        command = vllm_line(cpu=cpu, options="-U")
        return Finding(check="vllm", status="problem", summary=summary, command=command, details=details)
    if error := around.probe.error("vllm"):
        summary = f"{title} cannot be imported: {error}."
        mend = "Mend what is said of torch first, if anything is; else install vLLM again."
        command = vllm_line(cpu=cpu, options="--force-reinstall")
        return Finding(check="vllm", status="problem", summary=summary, mend=mend, command=command, details=details)
    return _fit(around, title, details)


def _fit(around: Surroundings, title: str, details: dict[str, object]) -> Finding:
    """Return the finding of a vLLM that is in range and can be imported."""
    cpu = bool(details["is_cpu_build"])
    if not cpu and not around.has_gpu and not around.probe.of("torch").get("gpus"):
        summary = f"{title} is built for GPUs, and this machine has none."
        command = f"pip uninstall -y vllm && {vllm_line(cpu=True)}"
        return Finding(check="vllm", status="problem", summary=summary, command=command, details=details)
    if cpu and around.has_gpu:
        summary = f"{title}: the GPU of this machine is not used."
        command = f"pip uninstall -y {' '.join(around.site.vllm_builds())} && {vllm_line(cpu=False)}"
        return Finding(check="vllm", status="note", summary=summary, command=command, details=details)
    newest = ".".join(map(str, NEWEST_TESTED))
    if _is_newer(str(details["version"])):
        summary = f"{title} is newer than {newest}, the newest tested one; the self-check tells whether it works."
        return Finding(check="vllm", status="note", summary=summary, details=details)
    if unmet := _unmet(around):
        mend = "vLLM was tested by its makers with other versions; install those where something fails."
        command = pip_line(*(f"{need.name}{need.specifier}" for need in unmet))
        names = ", ".join(f"{need.name}{need.specifier} ({around.site.version(need.name) or 'none'})" for need in unmet)
        summary = f"{title} asks for other versions than the installed ones: {names}."
        return Finding(check="vllm", status="note", summary=summary, mend=mend, command=command, details=details)
    summary = f"{title}, in the tested range ({_vllm_range(around)}, to {newest})."
    return Finding(check="vllm", status="ok", summary=summary, details=details)


def check_torch(around: Surroundings) -> Finding:
    """Check torch: the version that vLLM is built for, its kind of build, and what else is built for it."""
    version = around.site.version("torch")
    if version is None:
        has_vllm = bool(around.site.vllm_builds())
        command = _torch_line(around) if has_vllm else ""
        summary = "not installed, and vLLM needs it." if has_vllm else "not installed."
        return Finding(check="torch", status="problem" if has_vllm else "absent", summary=summary, command=command)
    details = {"version": version, **around.probe.of("torch")}
    details.pop("gpus", None)
    for look in (_torch_version, _torch_kind, _torch_import, _companions):
        if found := look(around, str(details["version"])):
            summary, mend, command = found
            return Finding(
                check="torch", status="problem", summary=summary, mend=mend, command=command, details=details
            )
    cuda = details.get("cuda")
    built = f" for CUDA {cuda}" if cuda else " for ROCm" if details.get("hip") else " for the CPU"
    said = built if around.probe.of("torch") else ""
    return Finding(check="torch", status="ok", summary=f"torch {details['version']}{said}.", details=details)


Fault = tuple[str, str, str]
"""Summary, mend, command."""


def _torch_version(around: Surroundings, version: str) -> Fault | None:
    pin = _torch_pin(around)
    if pin is None or within(version, pin.specifier):
        return None
    summary = f"torch {version}, but the installed vLLM is built for torch{without_build(pin.specifier)}."
    return summary, "", _torch_line(around)


def _torch_kind(around: Surroundings, version: str) -> Fault | None:
    said = around.probe.of("torch")
    if not around.site.vllm_builds() or "version" not in said:
        return None
    on_gpu = bool(said.get("cuda") or said.get("hip"))
    pin = _torch_pin(around)
    if around.site.is_cpu_build() and on_gpu and pin is not None and "+cpu" in str(pin.specifier):
        return f"torch {version} is built for GPUs, and vLLM for the CPU.", "", _torch_line(around)
    if not around.site.is_cpu_build() and not on_gpu:
        return f"torch {version} is built for the CPU, so that vLLM finds no GPU.", "", _torch_line(around)
    return None


def _torch_import(around: Surroundings, version: str) -> Fault | None:
    error = around.probe.error("torch")
    return (f"torch {version} cannot be imported: {error}.", "", _torch_line(around)) if error else None


def _companions(around: Surroundings, version: str) -> Fault | None:
    """Return what is wrong with torchvision or torchaudio beside this torch."""
    for name in COMPANIONS:
        own = around.site.version(name)
        error = around.probe.error(name)
        wanted = next((need for need in around.site.requirements(name) if need.name == "torch"), None)
        if own is None or (not error and (wanted is None or within(version, wanted.specifier))):
            continue
        why = f"cannot be imported ({error})" if error else f"is built for torch{wanted.specifier if wanted else ''}"
        summary = f"{name} {own} {why}, beside torch {version}."
        if name == "torchaudio":
            return summary, "Nothing here needs it; without it transformers and vLLM start.", f"pip uninstall -y {name}"
        cpu = f"--index-url {CPU_INDEX} " if around.site.is_cpu_build() else ""
        return summary, "", f"pip install --force-reinstall --no-deps {cpu}{name}{_same_release(own, error)}"
    return None


def _same_release(own: str, error: str) -> str:
    """Return the pin of a companion: its own release where only its build is wrong, else the newest one."""
    return f"=={Version(own).public}" if NO_OPERATOR in error else ""


def _torch_pin(around: Surroundings) -> Requirement | None:
    builds = around.site.vllm_builds()
    needs = around.site.requirements(builds[-1]) if builds else []
    return next((need for need in needs if need.name == "torch"), None)


def _torch_line(around: Surroundings) -> str:
    """Return the line that installs the torch that the installed vLLM is built for."""
    pin = _torch_pin(around)
    wanted = f"torch{'' if pin is None else without_build(pin.specifier)}"
    cpu = f" --index-url {CPU_INDEX}" if around.site.is_cpu_build() else ""
    return pip_line(wanted, options=f"--force-reinstall{cpu}")


def _vllm_range(around: Surroundings) -> str:
    """Return the range of vLLM, as the extra ``vllm`` of this package has it."""
    return next((str(need.specifier) for need in around.site.requirements(PACKAGE, "vllm")), "")


def _is_newer(version: str) -> bool:
    try:
        return Version(version).release[:2] > NEWEST_TESTED
    except InvalidVersion:
        return False


def _unmet(around: Surroundings) -> list[Requirement]:
    needs = around.site.requirements(around.site.vllm_builds()[-1])
    unmet = around.site.unmet([need for need in needs if need.name.lower() not in NOT_NEEDED])
    return [need for need, version in unmet if version is not None]
