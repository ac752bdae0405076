"""How close the automatic choice of μ comes to the best one, on pictures whose clean version is known.

    python tests/benchmarks/parameter_choice.py white FOLDER           # clean pictures, white noise added
    python tests/benchmarks/parameter_choice.py simulated FOLDER       # photons, and a camera down to its JPEG
    python tests/benchmarks/parameter_choice.py jpeg FOLDER            # white noise, saved as a colour JPEG
    python tests/benchmarks/parameter_choice.py pairs NOISY CLEAN      # two folders, matched in sorted order
    python tests/benchmarks/parameter_choice.py harm FOLDER...         # pictures without noise to remove
    python tests/benchmarks/parameter_choice.py cost                   # seconds for the choice and the solve

The loss is what the choice costs in PSNR against the best μ for that picture and the same method. With
--scikit-image the same pictures go through calibrate_denoiser over denoise_tv_chambolle.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy.optimize import minimize_scalar
from skimage.restoration import calibrate_denoiser, denoise_tv_chambolle

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "sample_images"))
from make_sample_images import (
    decoded,
    demosaicked,
    encoded,
    linear_light,
    mosaicked,
    quantised,
    srgb_encoded,
    with_photon_noise,
)

from support.samples import SAMPLES, psnr, rms
from tvdenoise import denoise, estimate_noise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
LEVELS = (5, 10, 15, 25, 50)


def pictures(folder: Path, *, grey: bool = False) -> Iterator[tuple[str, np.ndarray]]:
    """The pictures of a folder, float32 in [0, 1], (H, W) or (H, W, 3)."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in EXTENSIONS:
            with Image.open(path) as opened:
                is_grey = grey or opened.mode in ("L", "1")
                if not opened.mode.startswith(("I", "F")):
                    yield path.stem, np.asarray(opened.convert("L" if is_grey else "RGB"), np.float32) / 255


def axis_of(picture: np.ndarray) -> int | None:
    """Where the channels are."""
    return -1 if picture.ndim == 3 else None


@dataclass(frozen=True)
class Result:
    """PSNR in dB of the input, of the automatic choice, of the best μ, and of scikit-image; seconds."""

    name: str
    noisy: float
    chosen: float
    best: float
    sigma: float
    true_sigma: float
    seconds: float
    other: float = np.nan
    other_seconds: float = np.nan

    @property
    def loss(self) -> float:
        return self.best - self.chosen

    @property
    def gain(self) -> float:
        return self.chosen - self.noisy


def evaluate(name: str, noisy: np.ndarray, clean: np.ndarray, *, beside_scikit_image: bool) -> Result:
    """One picture through the automatic choice and through the best."""
    axis = axis_of(clean)
    start = time.perf_counter()
    solution = denoise(noisy, channel_axis=axis)
    seconds = time.perf_counter() - start

    def score(log_mu: float) -> float:
        return psnr(denoise(noisy, float(np.exp(log_mu)), channel_axis=axis).image, clean)

    chosen = score(np.log(solution.mu))
    centre = max(np.linspace(-2, 2, 9) + np.log(solution.mu), key=score)
    best = -minimize_scalar(
        lambda log_mu: -score(log_mu), bounds=(centre - 0.5, centre + 0.5), options={"xatol": 0.02}
    ).fun
    result = partial(
        Result,
        name,
        psnr(noisy, clean),
        psnr(solution.image, clean),
        max(best, chosen),
        solution.sigma,
        rms(noisy - clean),
        seconds,
    )
    return result(*scikit_image(noisy, clean)) if beside_scikit_image else result()


def scikit_image(noisy: np.ndarray, clean: np.ndarray) -> tuple[float, float]:
    """PSNR and seconds of Chambolle's method with the weight that calibrate_denoiser chooses."""
    start = time.perf_counter()
    denoiser = calibrate_denoiser(
        noisy,
        partial(denoise_tv_chambolle, channel_axis=axis_of(clean)),
        {"weight": np.geomspace(0.005, 0.5, 12)},
    )
    return psnr(denoiser(noisy), clean), time.perf_counter() - start


def report(title: str, results: Iterable[Result]) -> None:
    """Print one line a set, and the worst picture of it."""
    results = list(results)
    loss, gain, seconds = (
        np.array([getattr(result, name) for result in results]) for name in ("loss", "gain", "seconds")
    )
    line = (
        f"{title}: {len(results)} pictures, loss {loss.mean():.3f} dB (worst {loss.max():.2f}), "
        f"gain {gain.mean():.2f} dB (least {gain.min():.2f}), {seconds.mean():.2f} s"
    )
    errors = np.array([abs(result.sigma / result.true_sigma - 1) for result in results])
    line += f", level off by {100 * errors.mean():.1f} % (worst {100 * errors.max():.0f} %)"
    if not np.isnan(results[0].other):
        ahead = np.array([result.chosen - result.other for result in results])
        other_seconds = np.mean([result.other_seconds for result in results])
        line += f"; calibrate_denoiser {ahead.mean():.2f} dB behind, {other_seconds:.1f} s"
    print(line, flush=True)


def white(folder: Path, *, beside_scikit_image: bool, stride: int) -> None:
    """White noise added in float, neither clipped nor rounded; then clipped and rounded to 8 bits."""
    for grey in (True, False):
        for clipped in (False, True):
            for level in LEVELS:
                results = []
                for seed, (name, clean) in list(enumerate(pictures(folder, grey=grey)))[::stride]:
                    noise = np.random.default_rng(seed).normal(0, level / 255, clean.shape)
                    noisy = (clean + noise).astype(np.float32)
                    if clipped:
                        noisy = np.round(np.clip(noisy, 0, 1) * 255).astype(np.float32) / 255
                    results.append(evaluate(name, noisy, clean, beside_scikit_image=beside_scikit_image))
                kind = f"{'grey' if grey else 'colour'}{', clipped to 8 bits' if clipped else ''}"
                report(f"white σ = {level}, {kind}", results)


def simulated(folder: Path, *, beside_scikit_image: bool, stride: int) -> None:
    """Poisson–Gaussian noise, 8-bit grey; and the same in linear light behind a mosaic, down to an 8-bit JPEG."""
    for photons in (20, 100, 400):
        results, camera = [], []
        for seed, (name, clean) in list(enumerate(pictures(folder)))[::stride]:
            generator = np.random.default_rng(seed)
            grey = np.round(clean.mean(axis=-1) * 255).astype(np.float32) / 255
            noisy = quantised(with_photon_noise(grey, photons, 2, generator)).astype(np.float32) / 255
            results.append(evaluate(name, noisy, grey, beside_scikit_image=beside_scikit_image))
            seen = mosaicked(linear_light(clean.astype(np.float64)))
            shot = srgb_encoded(demosaicked(with_photon_noise(seen, 10 * photons, 2, generator)))
            jpeg = decoded(io.BytesIO(encoded(quantised(shot), ".jpg"))).astype(np.float32) / 255
            still = np.asarray(srgb_encoded(demosaicked(seen)), np.float32)
            camera.append(evaluate(name, jpeg, still, beside_scikit_image=beside_scikit_image))
        report(f"Poisson–Gaussian, {photons} photons at white, grey", results)
        report(f"camera, {10 * photons} photons at white, JPEG", camera)


def jpeg(folder: Path, *, beside_scikit_image: bool, stride: int) -> None:
    """White noise in 8 bits, or none, saved as JPEGs whose colours have half the resolution."""
    for quality in (95, 90, 75):
        for level in (0, 5, 10, 25, 50):
            results = []
            for seed, (name, clean) in list(enumerate(pictures(folder)))[::stride]:
                noise = np.random.default_rng(seed).normal(0, level / 255, clean.shape)
                stream = io.BytesIO()
                saved = Image.fromarray(quantised(clean + noise))
                saved.save(stream, "JPEG", quality=quality, subsampling="4:2:0")
                noisy = decoded(stream).astype(np.float32) / 255
                results.append(evaluate(name, noisy, clean, beside_scikit_image=beside_scikit_image))
            report(f"white σ = {level}, colour JPEG of quality {quality}", results)


def pairs(noisy: Path, clean: Path, *, beside_scikit_image: bool, stride: int) -> None:
    """Real noise: pictures matched in sorted order."""
    matched = list(zip(pictures(noisy), pictures(clean), strict=True))[::stride]
    results = [
        evaluate(name, before, after, beside_scikit_image=beside_scikit_image)
        for (name, before), (_, after) in matched
    ]
    for result in sorted(results, key=lambda result: -result.loss)[:3]:
        print(f"  {result.name}: loss {result.loss:.2f} dB, gain {result.gain:.2f} dB")
    report(f"{noisy.parent.name}/{noisy.name}", results)


def harm(folders: Iterable[Path]) -> None:
    """Pictures that should come back as they are."""
    for folder in folders:
        kept = [
            (psnr(denoise(clean, channel_axis=axis_of(clean)).image, clean), name)
            for name, clean in pictures(folder)
        ]
        values = np.minimum([value for value, _ in kept], 99)
        print(
            f"{folder.name}: kept at {values.mean():.1f} dB on average, worst {min(kept)[1]} {values.min():.1f}"
        )
    for name, picture in synthetic().items():
        change = np.abs(denoise(picture).image - picture).max() * 255
        print(f"{name}: largest change {change:.2f} grey levels, {psnr_or_exact(picture)}")


def psnr_or_exact(picture: np.ndarray) -> str:
    """The PSNR of a denoised picture against itself."""
    result = denoise(picture).image
    return "exact" if np.array_equal(result, picture) else f"{psnr(result, picture):.1f} dB"


def synthetic() -> dict[str, np.ndarray]:
    """Pictures without noise that estimators take for noisy, 8-bit values in [0, 1]."""
    rows, columns = np.mgrid[:256, :256]
    ramp = np.round(columns.astype(np.float32)) / 255
    return {
        "constant": np.full((256, 256), 0.5, np.float32),
        "ramp": ramp,
        "steep ramp": np.round((columns + rows) / 2).astype(np.float32) / 255,
        "checkerboard": ((rows + columns) % 2).astype(np.float32),
        "coarse checkerboard": ((rows // 8 + columns // 8) % 2).astype(np.float32),
        "text": _text(),
    }


def _text() -> np.ndarray:
    from PIL import ImageDraw, ImageFont

    canvas = Image.new("L", (400, 300), 255)
    draw = ImageDraw.Draw(canvas)
    for line in range(20):
        draw.text((5, 15 * line), "total variation keeps edges " * 2, fill=0, font=ImageFont.load_default(12))
    return np.asarray(canvas, np.float32) / 255


def cost(rows: int = 4000, columns: int = 6000) -> None:
    """Seconds for the whole, with and without μ given."""
    source = dict(pictures(SAMPLES / "clean"))["coffee_clean"]
    for height, width in ((512, 512), (rows, columns)):
        for clean in (source[..., 0], source):
            repeats = (-(-height // clean.shape[0]), -(-width // clean.shape[1]), 1)[: clean.ndim]
            large = np.tile(clean, repeats)[:height, :width]
            noise = np.random.default_rng(1).standard_normal(large.shape, np.float32) * np.float32(25 / 255)
            noisy = np.asarray(large + noise, np.float32)
            solution = denoise(noisy, channel_axis=axis_of(clean))
            times = []
            for mu in (None, solution.mu):
                start = time.perf_counter()
                denoise(noisy, mu, channel_axis=axis_of(clean))
                times.append(time.perf_counter() - start)
            start = time.perf_counter()
            estimate_noise(noisy, channel_axis=axis_of(clean))
            print(
                f"{height}×{width} {'colour' if clean.ndim == 3 else 'grey'}: choice "
                f"{times[0] - times[1]:.2f} s (noise alone {time.perf_counter() - start:.2f} s), solve {times[1]:.2f} s"
            )


def main() -> None:
    """Run one of the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=("white", "simulated", "jpeg", "pairs", "harm", "cost"))
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--scikit-image", action="store_true", help="run calibrate_denoiser beside it (slow)")
    parser.add_argument("--stride", type=int, default=1, help="take every so many pictures")
    options = parser.parse_args()
    beside = {"beside_scikit_image": options.scikit_image, "stride": options.stride}
    if options.table == "white":
        white(options.folders[0], **beside)
    elif options.table == "simulated":
        simulated(options.folders[0], **beside)
    elif options.table == "jpeg":
        jpeg(options.folders[0], **beside)
    elif options.table == "pairs":
        pairs(*options.folders, **beside)
    elif options.table == "harm":
        harm(options.folders)
    else:
        cost()


if __name__ == "__main__":
    main()
