"""Options: the form of the total variation, and the way down."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

_PANEL = "Advanced"


class TotalVariation(StrEnum):
    ISOTROPIC = "isotropic"
    COMPONENTWISE = "componentwise"


class Penalty(StrEnum):
    HYPERBOLIC = "hyperbolic"
    HUBER = "huber"


class Step(StrEnum):
    BB = "bb"
    FIXED = "fixed"


class Engine(StrEnum):
    FUSED = "fused"
    SPARSE = "sparse"


TotalVariationName = Annotated[
    TotalVariation,
    typer.Option(
        "--tv", help="One root for all of a pixel's differences, or one each.", rich_help_panel=_PANEL
    ),
]
PenaltyName = Annotated[
    Penalty, typer.Option("--penalty", help="Of the image gradient.", rich_help_panel=_PANEL)
]
StepName = Annotated[
    Step,
    typer.Option("--step", help="Barzilai–Borwein step lengths, or always 1/L.", rich_help_panel=_PANEL),
]
EngineName = Annotated[
    Engine,
    typer.Option(
        "--engine",
        help="The fast kernel, or the sparse operators that define it.",
        rich_help_panel=_PANEL,
    ),
]
