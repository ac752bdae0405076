"""`denoise_tiled`: what `denoise` does, for images and volumes that are too large to hold."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from tvdenoise import checks, limits
from tvdenoise.method import DEFAULT_MAX_ITERATIONS, EngineName, Method, PenaltyName
from tvdenoise.model.objective import TotalVariation
from tvdenoise.noise.model import NoiseModel
from tvdenoise.parameters import Parameters, choose_by_sample
from tvdenoise.posing import axis_weights_of
from tvdenoise.settings import DEFAULT_CHROMA, NoiseName, Settings
from tvdenoise.solver import Solution
from tvdenoise.steps import StepName
from tvdenoise.tiling.memory import Budget, overlap_for, partition_for
from tvdenoise.tiling.passes import Form, Windows
from tvdenoise.tiling.progress import Stage, Tell, tell_nobody
from tvdenoise.tiling.refining import Refinement
from tvdenoise.tiling.result import TiledSolution
from tvdenoise.tiling.scratch import Scratch
from tvdenoise.tiling.source import Reader, Source
from tvdenoise.tiling.survey import Survey, survey
from tvdenoise.tiling.windows import size_of

if TYPE_CHECKING:
    from tvdenoise.noise.evidence import NoiseEvidence

_SINGLE = np.dtype(np.float32)
#: Windows are solved to this part of the tolerance with which the whole would just be met.
_SLACK = 0.95


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
    asked = checks.tolerance(tolerance)
    reader = Reader.of(source, checks.optional_number("data_range", data_range, limits.DATA_RANGE))
    method = settings.method(reader.channels, axis_weights_of(spacing, len(reader.shape)))
    budget = Budget(
        checks.count("memory", memory), reader.channels, reader.stored_bytes, is_sparse=engine == "sparse"
    )
    band = budget.band(reader.shape, source.chunk)
    surveyed = survey(
        reader, band, tell, needs_noise=settings.needs_estimate, needs_sample=settings.mu is None
    )
    parameters = _parameters(settings, method, surveyed)
    extremes = surveyed.extremes
    del surveyed
    form = Form(method, parameters.mu, parameters.epsilon)
    certificate = form.certificate(reader, asked, extremes)
    margins = (
        overlap_for(certificate.objective, reader.shape, budget)
        if overlap is None
        else (checks.count("overlap", overlap),) * len(reader.shape)
    )
    partition = partition_for(reader.shape, margins, budget)
    with (scratch or partial(_anonymous_file, folder))() as file:
        windows = Windows(reader, Scratch(file, reader.channels, reader.shape, memory // 64), form)
        share = float(np.sqrt(size_of(reader.shape) / partition.pixels))
        windows.solve_each(partition, _SLACK * share * certificate.tolerance, partial(tell, Stage.SOLVING))
        refinement = Refinement(windows, certificate, partition, budget, band, tell)
        status = refinement.run()
        found = refinement.audit.whole
        yield TiledSolution(
            solution=Solution(
                image=np.empty((0,) * len(reader.shape), _SINGLE),
                mu=parameters.mu,
                epsilon=parameters.epsilon,
                noise=parameters.noise,
                tolerance=certificate.tolerance,
                status=status,
                iterations=windows.evaluations,
                value=found.value,
                distance_bound=certificate.distance_bound(found),
            ),
            seam=refinement.seam,
            parts=partition.parts,
            passes=refinement.passes,
            overlap=partition.overlap,
            reader=reader,
            scratch=windows.scratch,
            band=band,
        )


def _parameters(settings: Settings, method: Method, surveyed: Survey) -> Parameters:
    """Those that `tvdenoise.denoise` chooses for the same image."""

    def evidence() -> NoiseEvidence:
        assert surveyed.noise is not None
        return surveyed.noise

    model = settings.noise_model(len(method.channel_weights), evidence)
    chosen = choose_by_sample(
        surveyed.sample, surveyed.span, method, model, settings.mu, settings.epsilon, settings.strength
    )
    return Parameters(*chosen, model)


def _anonymous_file(folder: str | None) -> BinaryIO:
    """A file that has no name, in a folder; None for the system's."""
    return cast("BinaryIO", tempfile.TemporaryFile(dir=folder, buffering=0))
