"""The floating-point precision that suits a stored type."""

from __future__ import annotations

from typing import Any

import numpy as np


def precision_of(dtype: np.dtype[Any]) -> np.dtype[np.floating]:
    """Return float64 for double-precision floats and for integers of 32 bits or more, float32 for all others."""
    most = 4 if dtype.kind == "f" else 2  # bytes that single precision holds
    return np.dtype(np.float64 if dtype.itemsize > most else np.float32)
