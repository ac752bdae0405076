"""Pixels under full transparency have no say in the parameters."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from support.samples import clean, crop, with_noise

SIDE = 240


def said(report: Path, name: str) -> float:
    return json.loads(report.read_text().splitlines()[-1])[name]


@pytest.mark.slow
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("options", [(), ("--sigma", "12/255"), ("--noise", "white", "--strength", "1.5")])
def test_mu_is_that_of_what_is_visible(
    colour: bool, options: tuple[str, ...], make_image, command, tmp_path: Path
) -> None:
    noisy = with_noise(crop(clean("chelsea" if colour else "camera", colour=colour), SIDE), 12 / 255, 0)
    values = np.round(np.clip(noisy, 0, 1) * 255).astype(np.uint8)
    places = np.arange(SIDE) - SIDE / 2
    disc = np.hypot(places[:, None], places) < SIDE / 3  # a third of the picture
    edge = SIDE // 2 - int(SIDE / 3 / np.sqrt(2))
    square = slice(edge, -edge)  # within the disc
    make_image("disc.png", np.dstack([values, np.where(disc, 255, 0).astype(np.uint8)]))
    make_image("square.png", values[square, square])
    for name in ("disc", "square"):
        assert command("run", f"{name}.png", "--report", f"{name}.jsonl", *options).exit_code == 0
    assert said(tmp_path / "disc.jsonl", "mu") == pytest.approx(
        said(tmp_path / "square.jsonl", "mu"), rel=0.15
    )
    assert said(tmp_path / "disc.jsonl", "sigma") == pytest.approx(12 / 255, rel=0.1)
