"""`denoise_tiled`: what `denoise` does, for images and volumes that are too large to hold."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from tvdenoise import checks, limits
from tvdenoise.method import DEFAULT_MAX_ITERATIONS, EngineName, PenaltyName
from tvdenoise.model.objective import TotalVariation
from tvdenoise.noise.model import NoiseModel
from tvdenoise.settings import DEFAULT_CHROMA, NoiseName, Settings
from tvdenoise.solver import Solution
from tvdenoise.steps import StepName
from tvdenoise.tiling.passes import Windows
from tvdenoise.tiling.plan import Plan
from tvdenoise.tiling.progress import Stage, Tell, tell_nobody
from tvdenoise.tiling.refining import Refinement
from tvdenoise.tiling.result import TiledSolution
from tvdenoise.tiling.scratch import Scratch
from tvdenoise.tiling.source import Reader, Source

if TYPE_CHECKING:
    from tvdenoise.model.engines import Evaluation
    from tvdenoise.solver import Status

#: The scratch file holds this part of the memory at most, besides what is read and written.
_PART_FOR_SCRATCH = 64 * 4


@contextmanager
def denoise_tiled(
    source: Source,
    mu: float | None = None,
    epsilon: float | None = None,
    *,
    memory: int,
    scratch: Callable[[], BinaryIO] | None = None,
    folder: str | None = None,
    sigma: float | None = None,
    noise: NoiseName | NoiseModel = "auto",
    strength: float = 1.0,
    tolerance: float | None = None,
    max_iterations: int = DEFAULT_MAX_ITERATIONS,
    tv: TotalVariation = "isotropic",
    penalty: PenaltyName = "hyperbolic",
    step: StepName = "bb",
    engine: EngineName = "fused",
    chroma: float = DEFAULT_CHROMA,
    spacing: Sequence[float] | None = None,
    data_range: float | None = None,
    threads: int | None = None,
    overlap: int | None = None,
    tell: Tell = tell_nobody,
) -> Iterator[TiledSolution]:
    """Minimise J as `tvdenoise.denoise` does, with the same parameters and one certificate for the whole.

    The image is solved in windows that overlap; their solutions are joined smoothly in a scratch file, where ∇J of the
    whole is evaluated. Where its norm, or that of the pixels near a join by themselves, is too large, windows are
    solved again with their rings held, until both are small enough. Within the context the result can be read; at its
    end the scratch file is closed.

    memory: bytes that all arrays together may take; what the source holds besides is not among them, nor are the
        bounded samples on which parameters are chosen (about 0.1 GB for a moment).
    scratch: makes the file for four bytes a value, open for reading and writing without a buffer; by default a
        temporary one without a name in the folder, which is gone however this process ends.
    overlap: of the windows, to both sides (pixels); by default such that their ends do not matter at this ε.
    tell: called with what is being done. What it raises ends the work.

    The other arguments are those of `tvdenoise.denoise`. Raises as that does, TooLittleMemoryError (a ValueError) where
    the memory is too little, and OSError where the scratch file cannot be written.
    """
    settings = Settings.of(
        mu, epsilon, sigma=sigma, noise=noise, strength=strength,
        max_iterations=checks.count("max_iterations", max_iterations), tv=tv, penalty=penalty, step=step,
        engine=engine, chroma=chroma, threads=threads,
    )  # fmt: skip
    plan = Plan.of(
        Reader.of(source, checks.optional_number("data_range", data_range, limits.DATA_RANGE)),
        settings,
        memory=checks.count("memory", memory),
        tolerance=checks.tolerance(tolerance),
        spacing=spacing,
        overlap=None if overlap is None else checks.count("overlap", overlap),
        tell=tell,
    )
    with (scratch or partial(_anonymous_file, folder))() as file:
        reader = plan.reader
        composite = Scratch(file, reader.channels, reader.shape, memory // _PART_FOR_SCRATCH)
        windows = Windows(reader, composite, plan.form)
        windows.solve_each(plan.partition, plan.window_tolerance, partial(tell, Stage.SOLVING))
        refinement = Refinement(windows, plan, tell)
        status = refinement.run()
        yield TiledSolution(
            solution=_solution(plan, status, windows.evaluations, refinement.audit.whole),
            seam=refinement.seam,
            parts=plan.partition.parts,
            passes=refinement.passes,
            overlap=plan.partition.overlap,
            reader=reader,
            scratch=composite,
            band=plan.band,
        )


def _solution(plan: Plan, status: Status, iterations: int, found: Evaluation) -> Solution:
    """The solution without its image."""
    return Solution(
        image=np.empty((0,) * len(plan.reader.shape), np.float32),
        mu=plan.form.mu,
        epsilon=plan.form.epsilon,
        noise=plan.noise,
        tolerance=plan.certificate.tolerance,
        status=status,
        iterations=iterations,
        value=found.value,
        distance_bound=plan.certificate.distance_bound(found),
    )


def _anonymous_file(folder: str | None) -> BinaryIO:
    """A file that has no name, in a folder; None for the system's."""
    return cast("BinaryIO", tempfile.TemporaryFile(dir=folder, buffering=0))
