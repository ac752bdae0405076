"""The level of white noise from patches of weak texture.

Liu, Tanaka and Okutomi, Single-image noise level estimation for blind denoising, IEEE TIP 22(12), 2013: of
patches whose gradient energy pure noise could have, the smallest eigenvalue of the covariance is the variance.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaincinv

from tvdenoise.noise.windows import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIDE = 7
_PIXELS = _SIDE * _SIDE
#: Where the patches are.
PATCHES = Grid(_SIDE, stride=2, most=100_000)
_ROUNDS = 3
#: Changes of the variance below this part end the rounds.
_SETTLED = 0.005
#: The part of pure-noise patches whose gradient energy stays below the threshold.
_CONFIDENCE = 1 - 1e-6
#: Fewer patches have a covariance whose smallest eigenvalue reads far too low.
_LEAST_PATCHES = 4 * _PIXELS
#: Planes with a shorter side have fewer, however long the other one is.
_LEAST_SHAPE = 32
_MEDIAN_OF_ABSOLUTE_NORMAL = 0.6744897501960817
#: The part of pure noise's bias that is taken away.
_BIAS = 0.5


def is_thin(rows: int, columns: int) -> bool:
    """True for planes of which there are too few patches."""
    return min(rows, columns) < _LEAST_SHAPE


def sigma_of_patches(windows: NDArray[np.floating]) -> float:
    """The level σ of white noise from the patches (..., 7, 7) of a plane, in its intensity units."""
    patches = windows.reshape(-1, _PIXELS).astype(np.float32)
    energies = np.einsum("ij,ij->i", patches @ _gradient_form().astype(np.float32), patches)
    variance = _smallest_eigenvalue(patches)
    for _ in range(_ROUNDS):
        weak = energies < variance * _energy_threshold()
        if np.count_nonzero(weak) < _LEAST_PATCHES:
            break
        before, variance = variance, _smallest_eigenvalue(patches[weak])
        if abs(variance - before) <= _SETTLED * before:
            break
    return float(np.sqrt(variance))


def sigma_of_thin_plane(plane: NDArray[np.floating]) -> float:
    """For planes (rows, columns) with few patches; 0 below three pixels.

    The median absolute second difference along the longer side, as if normal.
    """
    if max(plane.shape) < 3:
        return 0.0
    second = np.diff(plane, 2, axis=int(np.argmax(plane.shape)))
    return float(np.median(np.abs(second)) / (_MEDIAN_OF_ABSOLUTE_NORMAL * np.sqrt(6)))


def _smallest_eigenvalue(patches: NDArray[np.float32]) -> float:
    if len(patches) < 2:
        return 0.0
    smallest = max(float(np.linalg.eigvalsh(np.cov(patches, rowvar=False))[0]), 0.0)
    # A sample's smallest eigenvalue is too small by (1 − √(dimensions/patches))² for pure noise (Marchenko and
    # Pastur, Math. USSR-Sb. 1(4), 1967), and by less in pictures, whose texture has part of the dimensions.
    return smallest / (1 - _BIAS * min(float(np.sqrt(_PIXELS / len(patches))), 1.0)) ** 2


@cache
def _gradient_form() -> NDArray[np.float64]:
    """The quadratic form of a patch's central differences, both ways."""
    inner = np.zeros((_SIDE - 2, _SIDE))
    inner[np.arange(_SIDE - 2), np.arange(_SIDE - 2)] = -0.5
    inner[np.arange(_SIDE - 2), np.arange(_SIDE - 2) + 2] = 0.5
    across, down = np.kron(np.eye(_SIDE), inner), np.kron(inner, np.eye(_SIDE))
    form: NDArray[np.float64] = across.T @ across + down.T @ down
    return form


@cache
def _energy_threshold() -> float:
    """The gradient energy of unit white noise, a gamma variable in good approximation, at the confidence."""
    form = _gradient_form()
    trace, rank = np.trace(form), np.linalg.matrix_rank(form)
    return float(gammaincinv(rank / 2, _CONFIDENCE) * 2 * trace / rank)
