"""EmbeddingGemma 2, which is known and cannot be served."""

from __future__ import annotations

ROWS = ()
CHECKPOINTS = ()
UNSERVED = {
    # vLLM 0.32, gpu_model_runner.py, may_add_encoder_only_layers_to_kv_cache_config: one size alone; the runner with
    # Triton has groups of sizes. transformers 5.19, EmbeddingGemma2TextConfig: head_dim and global_head_dim.
    "EmbeddingGemma2Model": "vLLM 0.32 starts google/embeddinggemma-2, whose attention has heads of two sizes, on no "
    "CPU, and what it gives on a GPU has not been compared with transformers."
}
