"""What a contact sheet shows: a part of a picture with each of some settings, and how close it is to a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tvdenoise.batch.settings_grid import Setting
    from tvdenoise.files.picture import Picture
    from tvdenoise.files.upright import Box, Orientation
    from tvdenoise.parameters import Parameters


@dataclass(frozen=True)
class Likeness:
    """How close pixels are to a clean reference; ssim: None where there are too few pixels."""

    psnr: float
    ssim: float | None


@dataclass(frozen=True, eq=False)
class Cell:
    """The crop with one setting: its intensities as `run` would store them.

    converged: whether the solve reached its tolerance, without which it shows little of the setting.
    """

    setting: Setting
    intensities: NDArray[Any]
    converged: bool = True
    likeness: Likeness | None = None


@dataclass(frozen=True, eq=False)
class Tuned:
    """All that a sheet shows.

    picture: the whole, as read; box: the crop's place in the picture as it is stored, shown_box: in that as shown.
    parameters: those around which the settings lie; cells: in rows.
    reference: the crop of the clean picture, of the picture's type; noisy_likeness: that of the noisy crop.
    """

    picture: Picture
    box: Box
    shown_box: Box
    orientation: Orientation
    parameters: Parameters
    cells: tuple[tuple[Cell, ...], ...]
    reference: NDArray[Any] | None = None
    noisy_likeness: Likeness | None = None

    @property
    def noisy(self) -> NDArray[Any]:
        """The crop as it was."""
        return self.picture.intensities[self.box.rows, self.box.columns]

    @property
    def alpha(self) -> NDArray[Any] | None:
        alpha = self.picture.alpha
        return None if alpha is None else alpha[self.box.rows, self.box.columns]

    @property
    def best(self) -> Setting | None:
        """The setting of the highest PSNR, where there is a reference."""
        return self._highest(lambda likeness: likeness.psnr)

    @property
    def most_similar(self) -> Setting | None:
        """The setting of the highest SSIM, where there is a reference."""
        return self._highest(lambda likeness: likeness.ssim)

    def marks(self, cell: Cell) -> tuple[str, ...]:
        """What is to be said of a cell."""
        setting = cell.setting
        centre = "given" if self.parameters.noise is None else "automatic"
        marks = (
            (centre, setting.is_centre),
            ("best PSNR", setting is self.best),
            ("best SSIM", setting is self.most_similar),
            ("not converged", not cell.converged),
        )
        return tuple(mark for mark, is_true in marks if is_true)

    def _highest(self, measure: Callable[[Likeness], float | None]) -> Setting | None:
        known = [
            (value, cell.setting)
            for row in self.cells
            for cell in row
            if cell.likeness is not None and (value := measure(cell.likeness)) is not None
        ]
        return max(known, key=lambda pair: pair[0])[1] if known else None
