"""Colour maps of a TIFF: which of them are the LUT of a grey image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL.TiffImagePlugin import BITSPERSAMPLE, COLORMAP, EXTRASAMPLES, IMAGEDESCRIPTION, SAMPLEFORMAT

from tvdenoise.formats.tiff.ome import is_ome

_LEAST_COLOURS = 16  # fewer are labels
_SMOOTH = 0.1  # neighbouring colours are this much closer than any two
_FAR = 97  # an odd distance of entries compared as "any two"


def is_ramp(tags: Mapping[int, Any]) -> bool:
    """Return whether the colour map in a directory's tags is a LUT, so that the indices are the data.

    A LUT rises or falls in every channel; those of ImageJ and OME may also turn, if they are smooth (Fire, Spectrum).
    """
    stated = tags.get(COLORMAP, ())
    is_of_integers = tags.get(SAMPLEFORMAT, (1,))[0] == 1 and EXTRASAMPLES not in tags
    if not is_of_integers or len(stated) != 3 << tags.get(BITSPERSAMPLE, (1,))[0]:
        return False
    colours = np.array(stated, np.int64).reshape(3, -1)
    steps = np.diff(colours)
    if np.count_nonzero(steps.any(axis=0)) < _LEAST_COLOURS - 1:
        return False
    if all((channel >= 0).all() or (channel <= 0).all() for channel in steps):
        return True
    text = str(tags.get(IMAGEDESCRIPTION, ""))
    far = colours - np.roll(colours, _FAR, axis=1)
    is_smooth = np.abs(steps).mean() < _SMOOTH * np.abs(far).mean()
    return bool(is_smooth) and (text.startswith("ImageJ=") or is_ome(text))
