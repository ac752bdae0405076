"""What the parameters may be: their squares and quotients must fit the range of single precision."""

from __future__ import annotations

#: The least and the largest value of each.
MU = (1e-12, 1e30)
EPSILON = (1e-15, 1e6)
SIGMA = (1e-12, 1e6)
#: ε as the command line takes it: a part of the data range, so that 5 for 5/255 is noticed.
ASKED_EPSILON = (EPSILON[0], 1.0)
CHROMA = (1e-3, 1e3)
STRENGTH = (1e-6, 1e6)
DATA_RANGE = (1e-12, 1e12)
SPACING = (1e-12, 1e12)
WEIGHT = (1e-6, 1e6)
#: Bytes for a run, of which the program itself takes about 0.2 GB.
MEMORY = (300_000_000, 1_000_000_000_000_000)
