"""Files passed through the command with almost no smoothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from support.makers import values_of
from support.values import noise
from tvdenoise.files.decoded import DecodedImage


def returned(command, name: str, target: str | None = None) -> Path:
    """Run the command on a file with almost no smoothing; return the result's path."""
    target = target or f"out{Path(name).suffix}"
    result = command("run", name, "--mu", "1e9", "--data-range", "8", "-o", target)
    assert result.exit_code == 0, result.output
    return Path(target)


def close(after: np.ndarray, before: np.ndarray) -> None:
    assert after.dtype == before.dtype
    if before.dtype.kind == "u":
        np.testing.assert_array_equal(after, before)
    else:
        np.testing.assert_allclose(after, before, rtol=0, atol=4 * float(np.spacing(before.dtype.type(8))))


def gradual(*shape: int) -> np.ndarray:
    """Return values that change slowly, with some noise, differently in each channel."""
    steps = np.indices(shape).sum(axis=0) * 3 + noise(*shape) // 32
    return np.clip(steps, 0, 255).astype(np.uint8)


def gradual_image(kind: str) -> DecodedImage:
    shape = (30, 40) if kind.startswith("L") else (30, 40, 3)
    return DecodedImage(gradual(*shape), noise(30, 40) if kind.endswith("A") else None)


def decoded_of(kind: str) -> DecodedImage:
    """Return a decoded image of 9 × 13 random pixels of a kind."""
    values = values_of(kind, 9, 13)
    in_bands = kind.startswith("MULTI")
    if "A" in kind:
        colours = values[..., :-1] if values.shape[-1] > 2 else values[..., 0]
        return DecodedImage(colours, values[..., -1], in_bands=in_bands)
    return DecodedImage(values, in_bands=in_bands)
