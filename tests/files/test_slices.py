"""The order of slices, by their names."""

from __future__ import annotations

import pytest

from tvdenoise.files.slices import NumberingError, in_order


@pytest.mark.parametrize(
    "ordered",
    [
        ["s_8.png", "s_9.png", "s_10.png"],
        ["s_008.png", "s_9.png", "s_010.png"],
        ["s7.jp2", "s8.jp2"],
        ["3.tif", "4.tif", "5.tif"],
        ["run2_z1_of_3.tif", "run2_z2_of_3.tif", "run2_z3_of_3.tif"],
        ["at_930_z1.tif", "at_931_z2.tif", "at_950_z3.tif"],
        ["a[0].tif", "a[1].tif"],
    ],
)
def test_the_last_number_that_differs_tells_the_order(ordered: list[str]) -> None:
    assert in_order(sorted(ordered)) == ordered
    assert in_order(ordered[::-1]) == ordered


@pytest.mark.parametrize(
    ("names", "reason", "remedy"),
    [
        (
            ["s_1.tif", "s_2.tif", "s_2_small.tif"],
            "names of two patterns, such as s_1.tif and s_2_small.tif",
            "leave one out with --exclude 's_*_small.tif', or leave out --volume",
        ),
        (
            ["s_1.tif", "s_2.tif", "s_1_x.tif", "s_1_y.tif"],
            "names of three patterns, such as s_1.tif and s_1_x.tif",
            "put them into folders of their own, or leave out --volume",
        ),
        (
            ["s_1.tif", "s_2.tif", "mean.tif", "t_1.tif"],
            "names of three patterns, such as s_1.tif and mean.tif",
            "choose one with --include 's_*.tif', or leave out --volume",
        ),
        (
            ["a[b]1.tif", "a[b]2.tif", "a[b]1.png"],
            "names of two patterns, such as a[b]1.tif and a[b]1.png",
            "choose one with --include 'a[[]b]*.tif', or leave out --volume",
        ),
        (
            ["s1.tif", "s2.tif", "s4.tif"],
            "number 3 is missing between s2.tif and s4.tif",
            "add what is missing, or number the files without gaps",
        ),
        (
            ["s08.tif", "s11.tif"],
            "numbers 9 to 10 are missing between s08.tif and s11.tif",
            "add what is missing, or number the files without gaps",
        ),
        (
            ["t1_z1_c0.tif", "t1_z2_c0.tif", "t2_z1_c0.tif", "t2_z2_c0.tif"],
            "t1_z1_c0.tif and t2_z1_c0.tif have the same number",
            "choose one volume with --include 't1_z*_c0.tif', or leave out --volume",
        ),
        (["s1.tif", "s01.tif"], "s1.tif and s01.tif have the same number", "number the files differently"),
    ],
)
def test_names_that_tell_no_order_are_refused(names: list[str], reason: str, remedy: str) -> None:
    with pytest.raises(NumberingError) as refusal:
        in_order(names)
    assert reason in refusal.value.reason
    assert refusal.value.remedy == remedy
