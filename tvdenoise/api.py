"""The public functions: `denoise`, `denoise_tiled`, `choose_parameters` and `estimate_noise`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from tvdenoise.images.arrangement import Arrangement, array_of
from tvdenoise.images.data import data_of, fill
from tvdenoise.machine import limited_threads
from tvdenoise.model.colour import RGB_CHANNELS, from_opponent, to_opponent
from tvdenoise.model.fidelity import ABSENT, HELD
from tvdenoise.model.filters import FilterObjective
from tvdenoise.model.objective import Objective
from tvdenoise.noise.estimation import estimate_planes
from tvdenoise.noise.evidence import noise_shown
from tvdenoise.noise.model import NoiseModel
from tvdenoise.options import Count, Options, checked, with_option_keywords
from tvdenoise.parameters import MOST_SAMPLED_IMAGES, Parameters, in_data_ranges, median_of, problem_of
from tvdenoise.solver.descent import Solution, Status, TracePoint
from tvdenoise.solver.filling import filled
from tvdenoise.solver.implicit import Gradients, of_filters, of_total_variation

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from tvdenoise.images.arrangement import Place
    from tvdenoise.images.data import Layout
    from tvdenoise.model.engines import Evaluation
    from tvdenoise.parameters import Problem
    from tvdenoise.solver.descent import Minimiser
    from tvdenoise.tiling.passes import TiledSolution
    from tvdenoise.tiling.plan import TilingPlan
    from tvdenoise.tiling.source import Source, Tell


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

    noisy: (rows, columns); or three axes, of which ``channel_axis`` holds the channels; or a signal, a volume or a
        stack, with ``spatial_axes``. Any integer or real floating type, integers up to 2⁵³. It is never modified. In a
        masked array, pixels with a masked channel are absent, as with ``nodata``.
    mu, epsilon and all further keywords: the fields of `tvdenoise.Options`.
    options: the fields as one record. A field that is also given as a keyword must have its default there.
    channel_axis: the axis of the channels. Three channels are red, green and blue; any other number is coupled
        with equal weights.
    spatial_axes: the one, two or three axes along which differences are taken: of a signal, an image or a volume. In a
        volume noise is estimated within the planes of the last two. By default those of an image. If axes are left
        besides these and that of the channels, the array is a stack: its images are denoised one by one with the same
        parameters, those of the image with the median μ among up to nine that are spread evenly over it.
    spacing: the distances of neighbours along the spatial axes, > 0, in the same order and in any unit. Differences
        along an axis are multiplied by the least distance over its own, so that ‖∇‖² ≤ 4 Σ (h_min/hᵢ)².
    weights: w ≥ 0, with the shape of the image without its channels; by default ones. Zero marks missing pixels:
        their values are ignored, and only the total variation determines them.
    mask: booleans of the same shape; pixels with false are returned unchanged, bit for bit. They act as fixed data
        for their neighbours, are not unknowns, and their ``weights`` are ignored.
    trace: record J and the distance bound at every evaluation in the solution's ``trace``; changes nothing else. Not
        for a stack.
    progress: called after every evaluation with the progress of the solve, from 0 to 1 at convergence: the way
        from the first distance bound to the tolerance, on a logarithmic scale.

    Returns a `Solution`. Its image has the input's shape, float32 (float64 for float64 input and integers of 32 bits
    or more), in the units of float input, and divided by the data range for integers: [0, 1] by default if they are
    unsigned. For a masked array it is masked alike. For a stack the bound, the tolerance and the status are the worst
    of its images, so that the bound holds for each; the value, the iterations, the absent pixels and the impulses are
    sums.

    With unequal ``weights`` the distance bound is in the weighted norm:
    √(Σ w (x − x*)² / Σ w) ≤ √(Σ g²/w / Σ w)/μ with g = ∇J(x), since J is μ-strongly convex in that norm. The
    defaults of ε and the tolerance then use μ times the mean weight in place of μ. With missing pixels J is not
    strongly convex, and no distance can be bounded: the solve stops once rms(∇J) ≤ 0.03 (μ times ``tolerance``), both
    over all unknowns and over the missing pixels alone; the bound is infinite, and the status says so. The default
    ε is then at least 1/256 of the span of the intensities (1/128 for RGB).

    Raises ValueError for images of other dimensions, without pixels or with non-finite values, and for options that
    are out of range or contradict each other; TypeError for images that are not real numbers, for unknown keywords,
    and for a field that is given twice.
    """
    given = Options.of(options, _given(fields, mu=mu, epsilon=epsilon))
    array = array_of(noisy)
    arranged = Arrangement.of(array.shape, channel_axis, spatial_axes)
    with limited_threads(given.threads):
        if arranged is not None:
            images = _Images(arranged, array, given, spacing, weights, mask)
            solution = images.denoised(trace=trace, progress=progress)
        else:
            solution = _solution_of(
                problem_of(
                    array,
                    given,
                    channel_axis=channel_axis,
                    spatial_axes=spatial_axes,
                    spacing=spacing,
                    weights=weights,
                    mask=mask,
                ),
                trace=trace,
                progress=progress,
            )
    if np.ma.isMaskedArray(array):
        return replace(solution, image=_masked_like(array, solution.image))
    return solution


def _solution_of(
    problem: Problem, *, trace: bool = False, progress: Callable[[float], None] | None = None
) -> Solution:
    """Solve a problem that nobody else needs any more."""
    layout = problem.data.layout
    # The bound is over the unknowns, at most so many times that over all pixels.
    concentration = problem.unknown_part**-0.5
    tolerance = problem.tolerance
    if concentration > 1:
        tolerance = (problem.default_tolerance if tolerance is None else tolerance) / concentration
    found = problem.method.minimise(
        problem.data.planes,
        problem.mu,
        problem.epsilon,
        fidelity=problem.data.fidelity,
        tolerance=tolerance,
        stored=layout.precision,
        returned=layout.rounding,
        trace=trace,
        progress=progress,
    )
    removed = 0 if problem.data.impulses is None else int(np.count_nonzero(problem.data.impulses))
    if removed and problem.data.fidelity is not None:
        found = _with_filled_impulses(found, problem)
    data, chosen, scale = problem.data, problem.parameters, layout.scale
    kept, opponent, absent = data.kept, data.opponent, problem.absent - removed
    of_value = _unit_of_value(chosen, scale)
    del problem, data  # frees memory for the result
    return Solution(
        image=_image(found, layout, kept, opponent),
        mu=chosen.mu,
        epsilon=chosen.epsilon,
        level=chosen.level,
        noise=chosen.noise,
        tolerance=found.tolerance * concentration * scale,
        status=found.status,
        iterations=found.iterations,
        value=found.value * of_value,
        distance_bound=found.distance_bound * concentration * scale,
        trace=tuple(
            TracePoint(point.value * of_value, point.distance_bound * concentration * scale)
            for point in found.trace
        ),
        absent=absent,
        impulses=removed,
    )


def _unit_of_value(chosen: Parameters, scale: float) -> float:
    """Return the unit of J for intensities in units of a scale: that of ‖x − f‖², times μ with total variation."""
    return scale if chosen.level is None else scale**2


def _with_filled_impulses(found: Minimiser, problem: Problem) -> Minimiser:
    """The minimiser with its impulses filled by the least total variation while the rest is held."""
    data, x = problem.data, found.x
    assert data.fidelity is not None
    assert data.impulses is not None
    coded = np.where(data.fidelity.coded == ABSENT, ABSENT, HELD)
    coded[data.impulses] = 0
    fill(x, (coded == 0) | (coded == ABSENT))
    of_impulses = filled(x, coded, problem.method, problem.epsilon)
    return replace(found, x=of_impulses.x, iterations=found.iterations + of_impulses.iterations)


def _masked_like(noisy: Any, image: NDArray[np.floating]) -> NDArray[np.floating]:
    """The image as a masked array with the mask of the noisy one."""
    masked: NDArray[np.floating] = np.ma.array(image, mask=np.ma.getmaskarray(noisy))
    return masked


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
    """The parameters that `denoise` would use for the same arguments. Raises the same errors."""
    given = Options.of(options, _given(fields, epsilon=epsilon))
    array = array_of(noisy)
    arranged = Arrangement.of(array.shape, channel_axis, spatial_axes)
    with limited_threads(given.threads):
        if arranged is not None:
            return _Images(arranged, array, given, spacing, weights, mask).parameters()
        return problem_of(
            array,
            given,
            channel_axis=channel_axis,
            spatial_axes=spatial_axes,
            spacing=spacing,
            weights=weights,
            mask=mask,
        ).parameters


@with_option_keywords
def vjp(
    noisy: ArrayLike,
    solution: Solution,
    cotangent: ArrayLike,
    mu: float | None = None,
    epsilon: float | None = None,
    *,
    accuracy: float = 1e-6,
    options: Options | None = None,
    channel_axis: int | None = None,
    spatial_axes: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    **fields: Any,
) -> Gradients:
    """Differentiate through `denoise`: the vector-Jacobian product of the minimiser.

    noisy: the image, of a floating type. solution: what `denoise` returned for it. cotangent: the derivative of a
    function of ``solution.image`` by that image, with its shape.
    accuracy: the relative residual of the linear system with the Hessian of J, which conjugate gradients solve in
        double precision. The solution should be as exact: give `denoise` a small ``tolerance``.
    All other arguments are those that `denoise` had. Parameters that it chose count as given: how the choice depends on
    the image is left out.

    Raises ValueError for Huber's function, which has no second derivative, for missing pixels, impulses, stacks,
    ``chroma_only`` and the solution of another prior; TypeError for integers, and as `denoise`.
    """
    given = Options.of(options, _given(fields, mu=mu, epsilon=epsilon))
    if given.is_learned == (solution.level is None):
        raise ValueError(
            "the solution belongs to another prior; pass the keywords that you passed to denoise"
        )
    given = given.with_choice(solution.mu, solution.epsilon)
    array, by_image = array_of(noisy), array_of(cotangent)
    if array.dtype.kind != "f":
        raise TypeError(f"derivatives need an image of a floating type, not {array.dtype}")
    if by_image.shape != array.shape or solution.image.shape != array.shape:
        raise ValueError(f"solution and cotangent must have the shape {array.shape} of the image")
    if Arrangement.of(array.shape, channel_axis, spatial_axes) is not None:
        raise ValueError("vjp takes a single image; differentiate the images of a stack one by one")
    if given.impulses != "off" or given.chroma_only:
        raise ValueError("vjp supports neither impulses nor chroma_only")
    with limited_threads(given.threads):
        problem = problem_of(
            array, given, channel_axis=channel_axis, spatial_axes=spatial_axes, spacing=spacing, weights=weights,
            mask=mask,
        )  # fmt: skip
        if problem.is_completed:
            raise ValueError("learned filters have no derivatives where pixels are masked or missing")
        data = problem.data.in_double_precision()
        layout = replace(data.layout, dtype=np.dtype(np.float64))
        x = _opponent_planes(layout, solution.image)
        c = layout.unit * _opponent_planes(replace(layout, centre=0.0, unit=1.0), by_image)
        objective = problem.method.posed(data.planes, problem.mu, problem.epsilon, data.fidelity)
        if isinstance(objective, FilterObjective):
            found = of_filters(objective, x, c, accuracy, given.threads)
        else:
            found = of_total_variation(cast(Objective, objective), x, c, accuracy)
    by_noisy = from_opponent(found.noisy) if len(found.noisy) == RGB_CHANNELS else found.noisy
    image = replace(layout, centre=0.0, unit=1 / layout.unit).image(by_noisy)
    scale = layout.scale
    return replace(
        found,
        noisy=image.astype(solution.image.dtype),
        mu=None if found.mu is None else found.mu * scale,
        epsilon=None if found.epsilon is None else found.epsilon / scale,
        level=None if found.level is None else found.level / scale,
    )


def _opponent_planes(layout: Layout, image: NDArray[np.generic]) -> NDArray[np.floating]:
    planes = layout.planes(image)
    return to_opponent(planes) if len(planes) == RGB_CHANNELS else planes


def _given(fields: dict[str, Any], **positional: float | None) -> dict[str, Any]:
    """The keywords, and the arguments that may be positional."""
    return fields | {name: value for name, value in positional.items() if value is not None}


#: From the best to the worst.
_STATUSES = (Status.CONVERGED, Status.FILLED, Status.PRECISION, Status.ITERATION_LIMIT)


@dataclass(frozen=True, eq=False)
class _Images:
    """The images of a stack, or a signal, with the arguments of `denoise`."""

    arranged: Arrangement
    array: NDArray[np.generic]
    options: Options
    spacing: Sequence[float] | None
    weights: ArrayLike | None
    mask: ArrayLike | None

    def _problem(self, place: Place, options: Options) -> Problem:
        channel_axis, spatial_axes = self.arranged.axes
        return problem_of(
            self.arranged.image(self.array, place),
            options,
            channel_axis=channel_axis,
            spatial_axes=spatial_axes,
            spacing=self.arranged.spacing(self.spacing),
            weights=self.arranged.pixels("weights", self.weights, place),
            mask=self.arranged.pixels("mask", self.mask, place),
        )

    def parameters(self) -> Parameters:
        """Choose parameters for all images, on a sample: those with the median μ."""
        places = self.arranged.spread_places(MOST_SAMPLED_IMAGES)
        return median_of([self._problem(place, self.options).parameters for place in places])

    def denoised(self, *, trace: bool, progress: Callable[[float], None] | None) -> Solution:
        """Denoise all images with the same parameters."""
        count = self.arranged.count
        if count == 1:
            (place,) = self.arranged.places()
            solution = _solution_of(self._problem(place, self.options), trace=trace, progress=progress)
            return replace(solution, image=solution.image.reshape(self.arranged.shape))
        if trace:
            raise ValueError("trace=True needs a single image; denoise the images of the stack one by one")
        chosen = self.parameters()
        options = self.options.with_choice(chosen.mu, chosen.epsilon)
        solutions = []
        image: NDArray[np.floating] | None = None
        for number, place in enumerate(self.arranged.places()):
            part = None if progress is None else partial(_part_of, progress, number, count)
            solution = _solution_of(self._problem(place, options), progress=part)
            if image is None:
                image = np.empty(self.arranged.shape, solution.image.dtype)
            self.arranged.image(image, place)[...] = solution.image
            solutions.append(replace(solution, image=solution.image[:0].copy()))
        assert image is not None
        return Solution(
            image=image,
            mu=chosen.mu,
            epsilon=chosen.epsilon,
            level=chosen.level,
            noise=chosen.noise,
            tolerance=max(solution.tolerance for solution in solutions),
            status=max((solution.status for solution in solutions), key=_STATUSES.index),
            iterations=sum(solution.iterations for solution in solutions),
            value=sum(solution.value for solution in solutions),
            distance_bound=max(solution.distance_bound for solution in solutions),
            absent=sum(solution.absent for solution in solutions),
            impulses=sum(solution.impulses for solution in solutions),
        )


def _part_of(progress: Callable[[float], None], number: int, count: int, part: float) -> None:
    progress((number + part) / count)


def estimate_noise(
    image: ArrayLike,
    *,
    channel_axis: int | None = None,
    spatial_axes: Sequence[int] | None = None,
    data_range: float | None = None,
    nan: str = "refuse",
    nodata: float | None = None,
    where: ArrayLike | None = None,
) -> NoiseModel:
    """Estimate the noise of an image: its level, growth with intensity and correlation, for each channel.

    The image and its layout are as for `denoise`, and so are the errors. In a volume, and in a stack of images, it is
    the noise within planes. Stacks of signals and of volumes are refused.

    nan, nodata: pixels that hold no measurement, as in `tvdenoise.Options`; they do not count.
    where: the shape of the image without channels, false for pixels without information about the noise, such as
        pixels filled in.

    Levels are in data ranges. For RGB images they are those of the luminance/opponent basis, in which images are
    denoised. The rotation to this basis is orthonormal, so white noise keeps its level.
    """
    array = array_of(image)
    arranged = Arrangement.of(array.shape, channel_axis, spatial_axes)
    if arranged is not None:
        array, where, channel_axis, spatial_axes = arranged.together(array, where)
    data = data_of(
        array,
        channel_axis,
        data_range,
        spatial_axes=spatial_axes,
        nan=checked("nan", nan),
        nodata=checked("nodata", nodata),
        finds_clipped=True,
    )
    planes, is_informative = noise_shown(data)
    if where is not None:
        known = np.asarray(where, bool)
        needed = data.layout.pixel_shape(array)
        if known.shape != needed:
            raise ValueError(f"where must have the shape {needed} of the image, not {known.shape}")
        known = data.layout.of_pixels(known)
        is_informative = known if is_informative is None else known & is_informative
    found = replace(estimate_planes(planes, is_informative), step=data.layout.step)
    return in_data_ranges(found, data.layout, data.channels)


def _image(
    found: Minimiser,
    layout: Layout,
    kept: tuple[NDArray[np.generic], NDArray[np.bool_]] | None,
    opponent: NDArray[np.floating] | None,
) -> NDArray[np.floating]:
    """The returned image, with the input's own pixels where the mask keeps them.

    opponent: the luminance that is kept, before two planes to overwrite; None if all planes were solved.
    """
    planes = found.x
    if opponent is not None:
        opponent[1:] = planes
        planes = opponent
    if len(planes) == RGB_CHANNELS:
        planes = from_opponent(planes, out=planes)
    image = layout.image(planes)
    if kept is not None:
        layout.keep(image, *kept)
    return image


#: The scratch file uses at most one part in this many of the memory, besides what is being read and written.
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
    tell: Tell | None = None,
    **fields: Any,
) -> Iterator[TiledSolution]:
    """Minimise J as `tvdenoise.denoise` does, with the same parameters and one certificate for the whole image.

    The image is solved in overlapping windows. Their solutions are blended in a scratch file, where ∇J of the whole
    image is evaluated. If its norm, or its norm near the seams alone, is too large, windows are solved again with
    their outer rings fixed, until both norms are small enough. The result can be read inside the context; on exit the
    scratch file is closed.

    memory: bytes for all arrays together. It excludes memory of the source itself, and the bounded samples on which
        parameters are chosen (about 0.1 GB for a moment).
    scratch: opens the scratch file, with four bytes per value (eight in double precision), for unbuffered reading and
        writing. By default it is an unnamed temporary file in the folder, which disappears however this process ends.
    overlap: overlap of the windows to both sides, in pixels; by default wide enough for this ε that their ends have
        no influence.
    tell: called with the stage and its progress. An exception that it raises ends the work.

    The other arguments are those of `tvdenoise.denoise`, without weights, masks, ``impulses`` and ``nan="fill"``, which
    need the whole image; with learned filters, pixels without data need it too. Raises the same errors,
    TooLittleMemoryError (a ValueError) if the memory is too small, and OSError if the scratch file cannot be written.
    """
    from tvdenoise.tiling.passes import Scratch, TiledSolution, Windows
    from tvdenoise.tiling.plan import TilingPlan
    from tvdenoise.tiling.refining import Refinement
    from tvdenoise.tiling.source import Reader, Stage, tell_nobody

    given = Options.of(options, _given(fields, mu=mu, epsilon=epsilon))
    if given.impulses != "off":
        raise ValueError("impulses cannot be removed in parts, which know only a part of the image")
    tell = tell or tell_nobody
    plan = TilingPlan.of(
        Reader.of(source, given),
        given,
        memory=Count().check("memory", memory),
        spacing=spacing,
        overlap=None if overlap is None else Count().check("overlap", overlap),
        tell=tell,
    )
    with (scratch or partial(_anonymous_file, folder))() as file:
        reader = plan.reader
        composite = Scratch(
            file, reader.solved_channels, reader.shape, memory // _PART_FOR_SCRATCH, reader.layout.precision
        )
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
    """The solution, without an image."""
    chosen, scale = plan.parameters, plan.reader.layout.scale
    return Solution(
        image=np.empty((0,) * len(plan.reader.shape), plan.reader.layout.precision),
        mu=chosen.mu,
        epsilon=chosen.epsilon,
        level=chosen.level,
        noise=chosen.noise,
        tolerance=plan.certificate.tolerance * scale,
        status=status,
        iterations=iterations,
        value=found.value * _unit_of_value(chosen, scale),
        distance_bound=plan.certificate.distance_bound(found) * scale,
        absent=plan.absent,
    )


def _anonymous_file(folder: str | None) -> BinaryIO:
    """An unnamed file in a folder; None means the system's temporary folder."""
    return cast("BinaryIO", tempfile.TemporaryFile(dir=folder, buffering=0))
