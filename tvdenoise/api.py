"""The public functions: `denoise`, `denoise_tiled`, `choose_parameters` and `estimate_noise`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from tvdenoise.images.data import data_of
from tvdenoise.model.colour import RGB_CHANNELS, from_opponent
from tvdenoise.noise.estimation import estimate_planes
from tvdenoise.noise.evidence import noise_shown
from tvdenoise.noise.model import NoiseModel
from tvdenoise.options import Count, Options, checked, with_option_keywords
from tvdenoise.parameters import Parameters
from tvdenoise.problem import problem_of
from tvdenoise.solver.descent import Solution
from tvdenoise.tiling.passes import Scratch, TiledSolution, Windows
from tvdenoise.tiling.plan import TilingPlan
from tvdenoise.tiling.refining import Refinement
from tvdenoise.tiling.source import Reader, Source, Stage, Tell, tell_nobody

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from tvdenoise.images.layout import Layout
    from tvdenoise.model.engines import Evaluation
    from tvdenoise.solver.descent import Minimiser, Status


@with_option_keywords
def denoise(
    noisy: ArrayLike,
    mu: float | None = None,
    epsilon: float | None = None,
    *,
    options: Options | None = None,
    channel_axis: int | None = None,
    spatial_axes: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    trace: bool = False,
    progress: Callable[[float], None] | None = None,
    **fields: Any,
) -> Solution:
    """Minimise J(x) = Σ h(∇x) + μ/2 Σ w (x − f)² for the noisy image f.

    noisy: (rows, columns), or three axes with ``channel_axis`` naming the channels, or a volume whose three
        ``spatial_axes`` are named; any integer or real floating type. It is never modified.
    mu, epsilon, and all further keywords: the fields of `tvdenoise.Options`, by their names.
    options: the same as one record. A field that is given by keyword must have its default there.
    channel_axis: the axis of the channels. Three channels are red, green and blue; other counts are coupled
        with equal weight.
    spatial_axes: two or three axes along which differences are taken: all that are not the channels. In a volume
        noise is estimated within the planes of the last two. By default those of an image.
    spacing: the distances of neighbours along the spatial axes, > 0, in their order and any unit. Differences
        along an axis are multiplied by the least distance over its own, so that ‖∇‖² ≤ 4 Σ (h_min/hᵢ)².
    weights: w ≥ 0, with the shape of the image without its channels; ones where not given. Zero for missing
        pixels: their values are ignored, and the total variation alone fills them.
    mask: booleans of the same shape, false for pixels that are kept: data that the others are compared with,
        which come back as they were, bit for bit. They are no unknowns, and ``weights`` do not count there.
    trace: keep J and the distance bound at every evaluation, in the solution's ``trace``; changes nothing else.
    progress: called after every evaluation with the part of the solve that is done, from 0 to 1 where it converged:
        that of the way from the first distance bound to the tolerance, on a logarithmic scale.

    Returns a `Solution`. Its image has the input's shape, float32 (float64 for float64 input), in the units
    of float input and in [0, 1] for integers. With unequal ``weights`` its distance bound is in the weighted
    norm: √(Σ w (x − x*)² / Σ w) ≤ √(Σ g²/w / Σ w)/μ with g = ∇J(x), since J is μ-strongly convex in it. The
    defaults of ε and the tolerance have μ times the mean weight in the place of μ. Where pixels are
    missing J is not strongly convex, and no distance can be bounded: the solve stops once rms(∇J) ≤ 0.03
    (μ times ``tolerance``), over all unknowns and over the missing pixels by themselves; the bound is infinite and
    the status says so. ε is then by default at least 1/256 of the span of the intensities (1/128 for RGB).

    Raises ValueError for images of other dimensions, without pixels or with values that are not finite, and
    for options outside their range or that contradict each other; TypeError for images that are not real numbers,
    for unknown keywords, and for a field that is given twice.
    """
    given = Options.of(options, _given(fields, mu=mu, epsilon=epsilon))
    posed = problem_of(
        noisy,
        given,
        channel_axis=channel_axis,
        spatial_axes=spatial_axes,
        spacing=spacing,
        weights=weights,
        mask=mask,
    )
    found = posed.method.minimise(
        posed.data.planes,
        posed.parameters.mu,
        posed.parameters.epsilon,
        fidelity=posed.data.fidelity,
        tolerance=given.tolerance,
        stored=posed.data.layout.precision,
        trace=trace,
        progress=progress,
    )
    layout, kept, chosen = posed.data.layout, posed.data.kept, posed.parameters
    del posed  # the result is made where there is room
    return Solution(
        image=_image(found, layout, kept),
        mu=chosen.mu,
        epsilon=chosen.epsilon,
        noise=chosen.noise,
        tolerance=found.tolerance,
        status=found.status,
        iterations=found.iterations,
        value=found.value,
        distance_bound=found.distance_bound,
        trace=found.trace,
    )


@with_option_keywords
def choose_parameters(
    noisy: ArrayLike,
    epsilon: float | None = None,
    *,
    options: Options | None = None,
    channel_axis: int | None = None,
    spatial_axes: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    **fields: Any,
) -> Parameters:
    """The parameters with which `denoise` would denoise an image, given the same arguments; raises the same errors."""
    return problem_of(
        noisy,
        Options.of(options, _given(fields, epsilon=epsilon)),
        channel_axis=channel_axis,
        spatial_axes=spatial_axes,
        spacing=spacing,
        weights=weights,
        mask=mask,
    ).parameters


def _given(fields: dict[str, Any], **positional: float | None) -> dict[str, Any]:
    """Keywords, and the arguments that may be given by position."""
    return fields | {name: value for name, value in positional.items() if value is not None}


def estimate_noise(
    image: ArrayLike,
    *,
    channel_axis: int | None = None,
    spatial_axes: Sequence[int] | None = None,
    data_range: float | None = None,
    nan: str = "refuse",
    where: ArrayLike | None = None,
) -> NoiseModel:
    """The noise of an image: its level, its growth with intensity, and its correlation, by channel.

    The image and its layout are as for `denoise`, and so are the errors. In a volume it is the noise within planes.

    nan: "refuse" NaN, or "fill": pixels that are NaN are missing.
    where: (rows, columns), false for pixels that say nothing of the noise, such as those that were filled in.

    Levels are in data ranges. RGB images have the noise of the luminance/opponent basis, in which they are
    denoised; the rotation there is orthonormal, so that white noise has the same level in it.
    """
    data = data_of(
        image, channel_axis, data_range, spatial_axes=spatial_axes, fills=checked("nan", nan) == "fill"
    )
    planes, is_telling = noise_shown(data)
    if where is None:
        return estimate_planes(planes, is_telling)
    known = np.asarray(where, bool)
    needed = data.layout.pixel_shape(np.asarray(image))
    if known.shape != needed:
        raise ValueError(f"where must have the shape {needed} of the picture, not {known.shape}")
    known = data.layout.of_pixels(known)
    return estimate_planes(planes, known if is_telling is None else known & is_telling)


def _image(
    found: Minimiser, layout: Layout, kept: tuple[NDArray[np.generic], NDArray[np.bool_]] | None
) -> NDArray[np.floating]:
    """The result as it is returned, with the image's own pixels where they are kept."""
    planes = from_opponent(found.x, out=found.x) if len(found.x) == RGB_CHANNELS else found.x
    image = layout.image(planes)
    if kept is not None:
        layout.keep(image, *kept)
    return image


#: The scratch file holds this part of the memory at most, besides what is read and written.
_PART_FOR_SCRATCH = 64 * 4


@with_option_keywords
@contextmanager
def denoise_tiled(
    source: Source,
    mu: float | None = None,
    epsilon: float | None = None,
    *,
    memory: int,
    options: Options | None = None,
    scratch: Callable[[], BinaryIO] | None = None,
    folder: str | None = None,
    spacing: Sequence[float] | None = None,
    overlap: int | None = None,
    tell: Tell = tell_nobody,
    **fields: Any,
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
    tell: called with the stage and the part of it that is done. What it raises ends the work.

    The other arguments are those of `tvdenoise.denoise`. Raises as that does, TooLittleMemoryError (a ValueError) where
    the memory is too little, and OSError where the scratch file cannot be written.
    """
    given = Options.of(options, _given(fields, mu=mu, epsilon=epsilon))
    plan = TilingPlan.of(
        Reader.of(source, given.data_range),
        given,
        memory=Count().check("memory", memory),
        spacing=spacing,
        overlap=None if overlap is None else Count().check("overlap", overlap),
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


def _solution(plan: TilingPlan, status: Status, iterations: int, found: Evaluation) -> Solution:
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
