"""A drawing of a learned prior: each filter, and its potential beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.pictures.figures import COLOURS, save_figure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.model.prior_file import LearnedPrior


_COLUMNS = 8
#: Responses are drawn up to so many times the noise level.
_WIDEST = 6.0


def save_prior(prior: LearnedPrior, path: str) -> None:
    """Draw filters and potentials as a PNG, SVG or PDF file, the filters of the largest share of ρ first.

    The filters of a group, in all channels, stand one below the other. Red is positive, blue negative,
    white zero; a potential is drawn for responses of up to 6 noise levels.
    Raises UnwritableImageError if the file cannot be written.
    """
    from matplotlib.figure import Figure

    bank = prior.bank
    order = np.argsort(-bank.potentials.scale * bank.potentials.curvature, kind="stable")
    rows = -(-len(bank.filters) // _COLUMNS)
    stacked = bank.members * bank.channels
    height = 0.8 * stacked + 0.8
    figure = Figure(figsize=(1.05 * _COLUMNS, height * rows + 0.5), layout="constrained")
    figure.suptitle(f"{bank.count} filters, ρ = {prior.rho:.2f}, {prior.steps} steps", fontsize="medium")
    grid = figure.subplots(
        2 * rows,
        _COLUMNS,
        squeeze=False,
        height_ratios=[stacked, 1] * rows,
        gridspec_kw={"hspace": 0.05},
    )
    for axes in grid.ravel():
        axes.set_axis_off()
    responses = np.linspace(-_WIDEST, _WIDEST, 201)
    values = bank.potentials.value(np.tile(responses, (len(bank.filters), 1)))
    for place, k in enumerate(order):
        row, column = divmod(place, _COLUMNS)
        drawn = _below_one_another(np.concatenate(bank.filters[k]))
        largest = np.nanmax(np.abs(drawn))
        grid[2 * row, column].imshow(drawn, cmap="RdBu_r", vmin=-largest, vmax=largest)
        curve = grid[2 * row + 1, column]
        curve.plot(responses, values[k], color=COLOURS[0], linewidth=1)
        curve.set_ylim(0, values.max())
    save_figure(figure, Path(path))


def _below_one_another(filters: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return filters (count, n, n) as one array, with a gap between them."""
    gap = np.full((1, filters.shape[2]), np.nan)
    rows = [part for one in filters for part in (one, gap)]
    return np.concatenate(rows[:-1])
