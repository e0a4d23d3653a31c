"""The configuration class of llama-nemotron-embed-vl, so that none of the checkpoint's own code has to run.

transformers 5.19 has no class of this ``model_type``, and vLLM 0.32 needs one to read config.json: it has a class of
the model, and takes the configuration's from the repository. Remove when transformers has its own.
Source of the fields and defaults: LlamaNemotronVLConfig in nemo_automodel/components/models/llama_nemotron_vl/model.py
of NVIDIA-NeMo/Automodel, the published class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import LlamaConfig, PretrainedConfig, SiglipVisionConfig


class NemotronVLConfig(PretrainedConfig):
    """A SigLIP, whose patches a projector makes tokens of, and a Llama with attention to both sides."""

    model_type = "llama_nemotron_vl"

    def __init__(
        self,
        vision_config: Mapping[str, Any] | None = None,
        llm_config: Mapping[str, Any] | None = None,
        *,
        force_image_size: int | None = None,
        downsample_ratio: float = 0.5,
        img_context_token_id: int = 128258,
        min_dynamic_patch: int = 1,
        max_dynamic_patch: int = 6,
        **kwargs: Any,
    ) -> None:
        """Read config.json; what it has beyond these stays an attribute.

        Args:
            vision_config: Settings of SigLIP's vision tower.
            llm_config: Settings of the Llama.
            force_image_size: Side of a tile in pixels; None for the vision tower's.
            downsample_ratio: Patches that become one token, per direction, as a fraction: 0.5 for 2 by 2.
            img_context_token_id: The token that stands for each of an image's.
            min_dynamic_patch: Least tiles of an image.
            max_dynamic_patch: Most tiles of an image, where processor_config.json does not say so.
            kwargs: The rest.
        """
        self.vision_config = SiglipVisionConfig(**(vision_config or {}))
        # vLLM's Llama asks its configuration; the published class lets no layer be causal, whatever is written there.
        self.llm_config = LlamaConfig(**{**(llm_config or {}), "is_causal": False})
        self.force_image_size = force_image_size or self.vision_config.image_size
        self.downsample_ratio = downsample_ratio
        self.img_context_token_id = img_context_token_id
        self.min_dynamic_patch, self.max_dynamic_patch = min_dynamic_patch, max_dynamic_patch
        self.is_causal = False
        super().__init__(**kwargs)
