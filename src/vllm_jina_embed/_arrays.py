"""Types of arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


MultiVectors = Sequence[npt.NDArray[np.floating]]
