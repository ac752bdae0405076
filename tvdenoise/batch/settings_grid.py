"""Which settings a contact sheet shows: a grid of μ and ε, or a row of strengths."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tvdenoise.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tvdenoise.batch.request import Settings
    from tvdenoise.parameters import Parameters

#: From one column to the next μ is divided by this, from one row to the next ε is multiplied by that.
_MU_STEP, _EPSILON_STEP = 2**0.5, 3.0
_MOST = 9  # columns, and rows


@dataclass(frozen=True)
class Setting:
    """One setting of a sheet.

    name: a letter for the row and a number for the column; strength: what the chosen μ is divided by, before rounding.
    asks: the options of `tvdenoise run`, and their values, that ask for it.
    """

    name: str
    mu: float
    epsilon: float
    strength: float
    asks: tuple[tuple[str, str], ...]

    @property
    def is_centre(self) -> bool:
        """True for the setting around which the others lie."""
        return not self.asks

    def of(self, settings: Settings) -> Settings:
        """The settings of a run with this μ and ε."""
        return replace(
            settings, mu=self.mu, epsilon=self.epsilon, sigma=None, noise="auto", strength=None, threads=None
        )


@dataclass(frozen=True)
class Grid:
    """μ falls from column to column and ε rises from row to row; both numbers are odd."""

    columns: int = 5
    rows: int = 3

    def __post_init__(self) -> None:
        for number in (self.columns, self.rows):
            if not (1 <= number <= _MOST and number % 2):
                raise UsageError(
                    f"--grid must have an odd number of columns and rows, at most {_MOST}, "
                    f"not {self.columns}x{self.rows}",
                    "for example 5x3: five mu, three epsilon",
                )

    def settings(self, choose: Callable[[float], Parameters]) -> tuple[tuple[Setting, ...], ...]:
        """Rows of settings around the choice; all but that have μ and ε of three digits."""
        centre = choose(1.0)
        middle = self.rows // 2, self.columns // 2
        return tuple(
            tuple(
                _around(centre, _name(row, column), column - middle[1], row - middle[0])
                for column in range(self.columns)
            )
            for row in range(self.rows)
        )


def _around(centre: Parameters, name: str, right: int, below: int) -> Setting:
    if right == below == 0:
        return Setting(name, centre.mu, centre.epsilon, 1.0, ())
    mu = in_three_digits(centre.mu / _MU_STEP**right)
    epsilon = in_three_digits(centre.epsilon * _EPSILON_STEP**below)
    asks = (("--mu", mu), ("--epsilon", epsilon))
    return Setting(name, float(mu), float(epsilon), _MU_STEP**right, asks)


@dataclass(frozen=True)
class Strengths:
    """One row; 1 is always among them."""

    values: tuple[float, ...]

    def settings(self, choose: Callable[[float], Parameters]) -> tuple[tuple[Setting, ...], ...]:
        """The row, in which each μ has the ε that goes with it."""
        row = []
        for column, strength in enumerate(sorted({*self.values, 1.0})):
            chosen = choose(strength)
            asks = () if strength == 1 else (("--strength", f"{strength:.12g}"),)
            row.append(Setting(_name(0, column), chosen.mu, chosen.epsilon, strength, asks))
        return (tuple(row),)


def _name(row: int, column: int) -> str:
    return f"{chr(ord('A') + row)}{column + 1}"


def in_three_digits(value: float) -> str:
    """A number as it is shown and asked for."""
    return f"{float(f'{value:.3g}'):g}"
