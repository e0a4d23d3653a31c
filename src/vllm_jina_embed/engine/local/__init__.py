"""The engine of this machine: vLLM in processes of its own."""
