"""Denoise one image or one volume with the settings of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from itertools import repeat
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tvdenoise.batch.masks import mask_file_of
from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.decoded import white_of
from tvdenoise.files.stack import DEPTH, TIME, Volume
from tvdenoise.model import preparation
from tvdenoise.model.colour import RGB_CHANNELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.files.decoded import DecodedImage
    from tvdenoise.files.stack import Axes, Stack
    from tvdenoise.model.prior_file import LearnedPrior
    from tvdenoise.noise.model import NoiseModel
    from tvdenoise.options import FileOptions, Options
    from tvdenoise.parameters import Parameters
    from tvdenoise.solver.descent import Solution


Spacing = tuple[float, float, float]
_PIXELS = {None, "pixel", "pixels"}  # not physical units
_OTHERWISE = "change it with --spacing Z,Y,X"
_IN_TIME = "neighbours in time count as much as neighbouring pixels; --spacing 2,1,1 makes them count less"
_NO_PLANES = f"the distance between its planes is not stated, and that of its pixels is assumed; {_OTHERWISE}"
_ONE_SIDE = f"it states the distance of only rows or columns, which is assumed for both; {_OTHERWISE}"


def spacing_of(axes: Axes, given: tuple[float, ...] | None) -> tuple[Spacing, tuple[str, ...]]:
    """Distances between planes, rows and columns, and sentences about the assumptions made.

    Time does not compare with length, so frames are one pixel apart unless the spacing is given.
    """
    if given is not None:
        planes, rows, columns = given
        return (planes, rows, columns), ()
    in_time = axes.plane_axis == TIME
    stated = [axes.spacing[name] for name in ("Y", "X") if name in axes.spacing]
    depth = None if in_time else axes.spacing.get(DEPTH)
    pixels = 1.0 if depth is None or axes.unit in _PIXELS else depth
    rows, columns = (*stated, *stated, pixels, pixels)[:2]
    assumed = (_ONE_SIDE,) * (len(stated) == 1)
    if depth is None:
        return (min(rows, columns), rows, columns), (_IN_TIME if in_time else _NO_PLANES, *assumed)
    if not stated:
        assumed = (
            f"its planes are {depth:g} apart, and its pixels are assumed to be {pixels:g}; {_OTHERWISE}",
        )
    return (depth, rows, columns), assumed


def shown(spacing: tuple[float, ...]) -> str:
    """Format a spacing for --spacing."""
    return ",".join(f"{distance:g}" for distance in spacing)


Result = TypeVar("Result")
AnyOptions = TypeVar("AnyOptions", bound="Options")
_EQUAL = 1.0  #: chroma for channels of equal weight
_LEAST_SIDE_FOR_HINTS = 32  # pixels


def of_type_range(dtype: np.dtype[Any], data_range: float | None) -> float:
    """The factor that turns results in data ranges into fractions of the largest integer of a type; 1 for floats."""
    return 1.0 if data_range is None or dtype.kind == "f" else data_range / white_of(dtype)


def with_equal_channels(options: AnyOptions) -> AnyOptions:
    """The options for bands, which are no colours: learned filters treat channels alike in any case."""
    return options if options.is_learned else replace(options, chroma=_EQUAL)


def _hints_of_filters(prior: LearnedPrior, noise: NoiseModel | None) -> tuple[str, ...]:
    """Sentences about filters that suit the noise better."""
    from tvdenoise.model.prior_file import FOR_WHITE_NOISE
    from tvdenoise.noise.model import NoiseKind

    if prior.name != FOR_WHITE_NOISE or noise is None or noise.sigma == 0 or noise.kind is NoiseKind.WHITE:
        return ()
    return (f"its noise is not white ({noise.kind.value}); --prior learned suits it better",)


class Denoiser:
    """Denoises images and volumes with the same settings.

    announce_compilation: called before each compilation of a kernel.
    """

    def __init__(self, settings: FileOptions, announce_compilation: Callable[[], None]) -> None:
        self._settings = settings
        self._announce_compilation = announce_compilation
        self._mask_file = mask_file_of(settings)

    def masks(
        self, found: DecodedImage | Stack, numbers: Iterable[int]
    ) -> Iterator[NDArray[np.bool_] | None]:
        """Yield masks of the images with these increasing numbers, None for no mask; see `MaskFile.masks`.

        May yield more masks than numbers.
        """
        return repeat(None) if self._mask_file is None else self._mask_file.masks(found, numbers)

    def without_shared(self) -> Denoiser:
        """A denoiser that chooses mu anew, for bands, whose noise differs."""
        if not self._settings.shared_mu:
            return self
        apart = copy(self)
        apart._settings = replace(self._settings, shared_mu=())
        return apart

    def solve(
        self,
        noisy: DecodedImage | Volume,
        threads: int | None = None,
        mu: float | None = None,
        mask: NDArray[np.bool_] | None = None,
        *,
        trace: bool = False,
        progress: Callable[[float], None] | None = None,
    ) -> Solution:
        """Denoise an image or a volume; integers are returned as fractions of the largest of their type.

        threads: used unless the settings give a number; mu: chosen before, or None; mask: True where to denoise, one
        value per pixel; trace, progress: see `tvdenoise.denoise`.
        Raises UnsupportedImageError if the parameters do not suit the image.
        """
        from tvdenoise.api import denoise

        options, layout = self._options(noisy, mu), self._layout(noisy, mask)
        if options.threads is None and threads is not None:
            options = replace(options, threads=threads)
        values = noisy.noisy()
        with self.announcing():
            chosen = self._chosen_where_telling(values, noisy.telling, options, layout)
            if chosen is not None:
                options = options.with_choice(chosen.mu)
            solution = _done(denoise, values, options, **layout, trace=trace, progress=progress)
        factor = of_type_range(values.dtype, options.data_range)
        if factor != 1:
            np.multiply(solution.image, factor, out=solution.image)
        return solution if chosen is None else replace(solution, noise=chosen.noise)

    def hints(self, image: DecodedImage, noise: NoiseModel | None) -> tuple[str, ...]:
        """Sentences about what other options would do for an image, in which this noise was found."""
        from tvdenoise.images.impulses import suspected
        from tvdenoise.parameters import prior_of

        settings, prior = self._settings, prior_of(self._settings)
        if prior is not None:
            return _hints_of_filters(prior, noise)
        if settings.impulses != "off" or settings.given_mu is not None:
            return ()
        if min(image.size) < _LEAST_SIDE_FOR_HINTS:
            return ()
        count = suspected(image.intensities, image.visible, settings.nodata_of(image.nodata))
        if count == 0:
            return ()
        return (f"it has about {count:,} pixels that no neighbour supports; --impulses auto removes them",)

    def choose(self, noisy: DecodedImage | Volume, mask: NDArray[np.bool_] | None = None) -> Parameters:
        """Choose parameters for one image or volume; raises as `solve`."""
        from tvdenoise.api import choose_parameters

        options, layout = self._options(noisy), self._layout(noisy, mask)
        values = noisy.noisy()
        with self.announcing():
            chosen = self._chosen_where_telling(values, noisy.telling, options, layout)
            return _done(choose_parameters, values, options, **layout) if chosen is None else chosen

    def _options(self, noisy: DecodedImage | Volume, mu: float | None = None) -> Options:
        chroma_only = self._settings.chroma_only
        require_colour_noise(noisy.channels, chroma_only=chroma_only, in_bands=noisy.in_bands)
        options = self._settings.for_image(
            channels=noisy.channels, is_float=noisy.is_float, mu=mu, nodata=noisy.nodata
        )
        if noisy.in_bands:  # three bands are not red, green and blue
            return with_equal_channels(options)
        return options

    def _layout(self, noisy: DecodedImage | Volume, mask: NDArray[np.bool_] | None) -> dict[str, Any]:
        """The arguments of `tvdenoise.denoise` for axes and mask."""
        spacing = noisy.spacing if isinstance(noisy, Volume) else None
        if self._settings.volume and spacing is None:
            raise no_volume()
        layout: dict[str, Any] = {} if mask is None else {"mask": mask}
        if noisy.channels > 1:
            layout["channel_axis"] = -1
        if noisy.weights is not None:
            layout["weights"] = noisy.weights
        return layout if spacing is None else layout | {"spatial_axes": (0, 1, 2), "spacing": spacing}

    def _chosen_where_telling(
        self,
        values: NDArray[Any],
        telling: NDArray[np.bool_] | None,
        options: Options,
        layout: dict[str, Any],
    ) -> Parameters | None:
        """Parameters chosen on the pixels that show the noise; None if all or none do, or if mu is given.

        Filled-in pixels carry no noise and would look like structure.
        """
        from tvdenoise.api import choose_parameters

        if telling is None or options.given_mu is not None:
            return None
        where = telling & layout["mask"] if "mask" in layout else telling
        layout = {name: value for name, value in layout.items() if name != "weights"}
        if not where.any():
            return None
        return _done(choose_parameters, values, options, **(layout | {"mask": where}))

    def prepare_parts(self, channels: int) -> None:
        """Load the kernels for solving an image with this number of channels in parts, because they take memory."""
        if self._settings.engine == "fused":
            with self.announcing():
                for count in {1, channels}:  # a band, or the whole
                    self._prepare_parts(count)

    def _prepare_parts(self, channels: int) -> None:
        from tvdenoise.model.engines import FusedEngine
        from tvdenoise.model.part_sums import squared_norm_of_part, value_of_part
        from tvdenoise.parameters import method_of

        settings = self._settings
        if settings.chroma_only and channels != RGB_CHANNELS:
            return
        try:
            method = method_of(settings, channels)
        except ValueError:  # told when the image is solved
            return
        shape = (2, 2, 2) if settings.volume else (2, 2)
        planes = np.zeros((len(method.channel_weights), *shape), np.float32)
        objective, whole = method.objective(planes, 1.0, 1.0), tuple(slice(0, side) for side in shape)
        with FusedEngine(objective, planes, 1) as engine:
            engine.advance(0.0)
            value_of_part(objective, engine.iterate, whole)
            squared_norm_of_part(engine.direction, whole)
        if method.bank is not None:
            method.minimise(planes, 1.0, 0.0)

    @contextmanager
    def announcing(self) -> Iterator[None]:
        """Within the context, announce each compilation of a kernel; it takes seconds, once on a machine."""
        with preparation.announcing(self._announce_compilation):
            yield


def _done(function: Callable[..., Result], noisy: NDArray[Any], options: Options, **arguments: Any) -> Result:
    try:
        return function(noisy, options=options, **arguments)
    except ValueError as error:
        raise UnsupportedImageError(f"cannot be denoised: {error}") from error


def no_volume() -> UnsupportedImageError:
    """The error for a single image where a volume is required."""
    return UnsupportedImageError(
        "it holds a single image, not a volume",
        "leave out --volume, or name the folder of all its slices in tvdenoise run",
    )


def require_colour_noise(channels: int, *, chroma_only: bool, in_bands: bool = False) -> None:
    """Raise UnsupportedImageError if only colour noise is to be removed from an image that is not RGB.

    channels: without alpha; in_bands: they are bands, and not colours.
    """
    if not chroma_only or (channels == RGB_CHANNELS and not in_bands):
        return
    if channels == 1:
        raise UnsupportedImageError("it is grey and has no colour noise", "leave out --chroma-only")
    raise UnsupportedImageError(
        f"--chroma-only is for red, green and blue, and it has {channels} other channels",
        "leave it out, or convert the image to RGB",
    )
