"""All that is settled before the first window is solved: parameters, certificate, partition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.data import axis_weights_of
from tvdenoise.parameters import choose_by_sample
from tvdenoise.tiling.evidence import held_whole
from tvdenoise.tiling.form import Form
from tvdenoise.tiling.memory import Budget, TooLittleMemoryError, overlap_for, partition_for
from tvdenoise.tiling.survey import survey
from tvdenoise.tiling.windows import size_of

if TYPE_CHECKING:
    from tvdenoise.method import Method
    from tvdenoise.noise.evidence import NoiseEvidence
    from tvdenoise.noise.model import NoiseModel
    from tvdenoise.settings import Settings
    from tvdenoise.stopping import Certificate
    from tvdenoise.tiling.partition import Partition
    from tvdenoise.tiling.progress import Tell
    from tvdenoise.tiling.source import Reader
    from tvdenoise.tiling.survey import Survey

#: Windows are solved to this part of the tolerance with which the whole would just be met.
_SLACK = 0.95


@dataclass(frozen=True, eq=False)
class Plan:
    """How an image is solved in windows.

    noise: that μ was chosen for, None where μ was given. band: pixels of a band that is streamed.
    """

    reader: Reader
    form: Form
    noise: NoiseModel | None
    certificate: Certificate
    partition: Partition
    budget: Budget
    band: int

    @classmethod
    def of(
        cls,
        reader: Reader,
        settings: Settings,
        *,
        memory: int,
        tolerance: float | None,
        spacing: Sequence[float] | None,
        overlap: int | None,
        tell: Tell,
    ) -> Plan:
        """From one pass over the image. Raises as `tvdenoise.tiling.denoise_tiled` does."""
        method = settings.method(reader.channels, axis_weights_of(spacing, len(reader.shape)))
        budget = Budget(memory, reader.channels, reader.stored_bytes, is_sparse=method.engine == "sparse")
        if settings.needs_estimate and (held := held_whole((reader.channels, *reader.shape))) > memory:
            raise TooLittleMemoryError(
                "the noise of so thin an image is estimated from all of it; give sigma or mu", held - memory
            )
        band = budget.band(reader.shape, reader.source.chunk)
        surveyed = survey(
            reader, band, tell, needs_noise=settings.needs_estimate, needs_sample=settings.mu is None
        )
        form, noise = _chosen(settings, method, surveyed)
        certificate = form.certificate(reader, tolerance, surveyed.extremes)
        if overlap is None:
            margins = overlap_for(certificate.objective, reader.shape, budget)
        else:
            margins = (overlap,) * len(reader.shape)
        partition = partition_for(reader.shape, margins, budget)
        return cls(reader, form, noise, certificate, partition, budget, band)

    @property
    def window_tolerance(self) -> float:
        """With which the windows are solved, so that the whole meets its own: their squared gradients add up."""
        share = np.sqrt(size_of(self.reader.shape) / self.partition.pixels)
        return float(_SLACK * share * self.certificate.tolerance)


def _chosen(settings: Settings, method: Method, surveyed: Survey) -> tuple[Form, NoiseModel | None]:
    """With the parameters that `tvdenoise.denoise` chooses for the same image, and the noise that they are for."""

    def evidence() -> NoiseEvidence:
        assert surveyed.noise is not None
        return surveyed.noise

    noise = settings.noise_model(len(method.channel_weights), evidence)
    mu, epsilon = choose_by_sample(
        surveyed.sample, surveyed.span, method, noise, settings.mu, settings.epsilon, settings.strength
    )
    return Form(method, mu, epsilon), noise
