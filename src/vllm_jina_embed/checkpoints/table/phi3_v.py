"""VLM2Vec over Phi-3.5-vision, which is known and cannot be served."""

from __future__ import annotations

ROWS = ()
CHECKPOINTS = ()
UNSERVED = {
    # Neither vLLM 0.32 nor transformers 5.19 has a configuration or a processor for it.
    "Phi3VForCausalLM": "the models of TIGER-Lab/VLM2Vec-Full and microsoft/Phi-3.5-vision-instruct need code of their "
    "own (trust_remote_code), which this package never runs, and vLLM tokenizes their prompts anew beside images, so "
    "that special tokens in users' texts would take effect. Use TIGER-Lab/VLM2Vec-Qwen2VL-2B, merged, instead."
}
