"""The main module of vLLM's spawned processes, in place of the application's: the first code that they run."""

from ..engine.local.processes import begin

begin()
