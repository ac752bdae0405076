"""Pictures turned as their EXIF orientation says."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from support.values import noise
from tvdenoise.files.orientation import Box, Orientation


@pytest.mark.parametrize("number", range(1, 9))
def test_what_is_shown_is_what_other_programs_show(number):
    values = noise(5, 7)
    opened = Image.fromarray(values)
    opened.getexif()[0x0112] = number
    assert (Orientation(number).shown(values) == np.asarray(ImageOps.exif_transpose(opened))).all()
    assert Orientation(number).shown_size((7, 5)) == ImageOps.exif_transpose(opened).size


@pytest.mark.parametrize("number", range(1, 9))
def test_what_is_stored_is_found_from_what_is_shown(number):
    values = noise(5, 7, 3)
    assert (Orientation(number).stored(Orientation(number).shown(values)) == values).all()


@pytest.mark.parametrize("number", range(1, 9))
def test_a_box_of_what_is_shown_is_found_where_it_is_stored(number):
    values, orientation, box = noise(5, 7), Orientation(number), Box(1, 2, 3, 2)
    stored = orientation.stored_box(box, (7, 5))
    expected = orientation.shown(values)[box.rows, box.columns]
    assert (orientation.shown(values[stored.rows, stored.columns]) == expected).all()
    assert orientation.shown_box(stored, (7, 5)) == box


def test_a_widened_box_stays_within_the_picture():
    assert Box(3, 10, 4, 5).widened(6, 100, 18) == Box(0, 4, 13, 14)
    assert Box(3, 10, 4, 5).seen_from(Box(0, 4, 13, 14)) == Box(3, 6, 4, 5)
