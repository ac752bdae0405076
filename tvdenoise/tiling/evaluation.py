"""J and ∇J in a window of an image, with total variation or learned filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tvdenoise.model.engines import FusedEngine
from tvdenoise.model.filters import FilterObjective
from tvdenoise.model.objective import Objective
from tvdenoise.model.part_sums import value_of_part

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tvdenoise.model.objective import Minimisable
    from tvdenoise.tiling.source import Window


def evaluated(
    objective: Minimisable, x: NDArray[np.floating], part: Window, threads: int | None
) -> tuple[float, NDArray[np.floating]]:
    """Return J over a part of a window, and ∇J, which holds in that part.

    objective, x: of the window. The values of disjoint parts of an image add up to its J. The part keeps away from ends
    of the window inside the image as far as the gradient of a pixel reaches (`Method.reach`).
    """
    if isinstance(objective, FilterObjective):
        from tvdenoise.model.filter_engine import FilterEngine  # its kernels take time to import

        rows_and_columns = cast("tuple[slice, slice]", part)
        with FilterEngine(objective, x, threads, preconditioned=False, part=rows_and_columns) as of_filters:
            del x
            return of_filters.advance(0.0).value, of_filters.gradient
    assert isinstance(objective, Objective)
    with FusedEngine(objective, x, threads) as engine:
        del x
        engine.advance(0.0)
        return value_of_part(objective, engine.iterate, part, threads), engine.direction


def value_of(objective: Minimisable, x: NDArray[np.floating], threads: int | None) -> float:
    """Return J of a window, up to a constant."""
    every = tuple(slice(0, length) for length in x.shape[1:])
    if isinstance(objective, FilterObjective):
        return evaluated(objective, x, every, threads)[0]
    assert isinstance(objective, Objective)
    return value_of_part(objective, x, every, threads)
