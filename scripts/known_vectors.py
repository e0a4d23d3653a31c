"""Write the vectors that `vllm-jina-embed doctor` compares: `python -m scripts.known_vectors`, from the root.

Computed by transformers in float32 on the demo checkpoint, apart from the package. Run it again where the checkpoint is
trained again.
"""

import json
from pathlib import Path

import numpy as np
import torch
import transformers

from tests.support.reference import Reference
from vllm_jina_embed import demo
from vllm_jina_embed.doctor.known import FILE, PASSAGE, QUERY, image


def computed() -> np.ndarray:
    """Return the vectors of the query, the passage and the image, shape (3, 128)."""
    reference = Reference(Path(demo.__file__).parent / "checkpoint")
    return np.stack([reference.embed(item) for item in (f"Query: {QUERY}", f"Passage: {PASSAGE}", image())])


if __name__ == "__main__":
    vectors = [[round(float(value), 7) for value in row] for row in computed()]
    by = f"transformers {transformers.__version__}, torch {torch.__version__}, float32"
    FILE.write_text(json.dumps({"by": by, "vectors": vectors}) + "\n", encoding="utf-8")
    print(f"{FILE} is written.")
