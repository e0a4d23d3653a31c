"""What vLLM's spawned processes import in place of the application's main module: the first code of ours in them."""

from ..engine.local.processes import begin

begin()
