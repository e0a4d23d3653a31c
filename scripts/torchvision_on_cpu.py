"""Let torchvision's CUDA build be imported beside a CPU build of torch. No part of the package.

Symptom: `RuntimeError: operator torchvision::nms does not exist` on `import torchvision`, so on `from vllm import LLM`.
Cause: torchvision's compiled operators need CUDA's libraries; without them its Python code registers shapes for
operators that nobody defined. The image transforms, all that vLLM uses, are plain Python: defining two names is enough.
scripts/setup.py copies this file into the virtual environment, where a .pth file loads it at every start of Python
(vLLM's own processes too), only where the import fails. Remove when torchvision and torch come from one index.
"""

import sys


class _Finder:
    """Defines the operators when torchvision is first looked for, and finds nothing itself."""

    _library = None  # torch forgets the operators with it

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(cls)
            import torch

            cls._library = torch.library.Library("torchvision", "DEF")
            cls._library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            cls._library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


sys.meta_path.insert(0, _Finder)
