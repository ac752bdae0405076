"""The sample pictures are what their README says."""

import math
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "sample_images"


@dataclass(frozen=True)
class Described:
    """A row of the README's table."""

    file_name: str
    stored_as: str
    simulated: str
    psnr: str
    origin: str
    licence: str

    @property
    def noisy(self) -> Path:
        """The noisy picture."""
        return FOLDER / self.file_name

    @property
    def clean(self) -> Path:
        """Its clean reference."""
        return FOLDER / "clean" / f"{self.noisy.stem}_clean.png"


def described() -> list[Described]:
    """The rows of the README's table."""
    lines = (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return [Described(name.strip("`"), *others) for name, _, *others in rows]


SAMPLES = described()
each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.file_name)


def visible_values(path: Path) -> np.ndarray:
    """Values in [0, 1] of the pixels that are not fully transparent."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    values = pixels / float(np.iinfo(pixels.dtype).max)
    return values[pixels[..., 3] > 0][:, :3] if values.shape[2:] == (4,) else values


def test_there_are_at_least_six_samples_and_every_kind_is_among_them():
    kinds = {sample.stored_as.split(",")[0].strip("`") for sample in SAMPLES}
    assert len(SAMPLES) >= 6
    assert kinds == {"L", "RGB", "RGBA", "I;16"}
    assert {sample.noisy.suffix for sample in SAMPLES} == {".png", ".jpg"}


def test_every_clean_reference_belongs_to_a_described_sample():
    references = {path.name for path in (FOLDER / "clean").glob("*_clean.png")}
    assert references == {sample.clean.name for sample in SAMPLES}


@each_sample
def test_a_sample_and_its_reference_are_stored_as_described(sample):
    mode, width, height = re.fullmatch(r"`(.+)`, \d+ bits, (\d+)×(\d+)", sample.stored_as).groups()
    for path in (sample.noisy, sample.clean):
        with Image.open(path) as picture:
            picture.load()
            assert picture.mode == mode
            assert picture.size == (int(width), int(height))


@each_sample
def test_a_sample_is_as_noisy_as_described(sample):
    difference = visible_values(sample.noisy) - visible_values(sample.clean)
    psnr = -10 * math.log10(np.mean(difference**2))
    assert psnr == pytest.approx(float(sample.psnr.removesuffix(" dB")), abs=0.02)


@each_sample
def test_a_sample_says_what_is_simulated_and_may_be_redistributed(sample):
    assert re.search(r"noise.*seed \d+", sample.simulated)
    assert sample.origin.startswith("`skimage.data.")
    assert sample.licence in {"CC0", "public domain"}


def test_sixteen_bits_are_more_than_eight():
    sample = next(sample for sample in SAMPLES if "16 bits" in sample.stored_as)
    for path in (sample.noisy, sample.clean):
        with Image.open(path) as picture:
            assert np.unique(np.asarray(picture)).size > 256


def test_alpha_is_smooth_and_the_same_in_both_pictures():
    sample = next(sample for sample in SAMPLES if "`RGBA`" in sample.stored_as)
    alphas = []
    for path in (sample.noisy, sample.clean):
        with Image.open(path) as picture:
            alphas.append(np.asarray(picture.getchannel("A")))
    assert np.array_equal(*alphas)
    values = np.unique(alphas[0])
    assert values[0] == 0
    assert values[-1] == 255
    assert values.size > 100


def test_the_samples_are_small():
    sizes = [path.stat().st_size for sample in SAMPLES for path in (sample.noisy, sample.clean)]
    assert sum(sizes) < 1_500_000


@pytest.mark.slow
def test_the_script_makes_the_same_pixels_again():
    pytest.importorskip("skimage", reason="the clean pictures come with scikit-image")
    script = [sys.executable, str(FOLDER / "make_sample_images.py"), "--check"]
    checked = subprocess.run(script, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
