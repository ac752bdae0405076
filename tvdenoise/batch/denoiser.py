"""Denoising one picture with the settings of a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, TypeVar

from tvdenoise.batch.masks import mask_for, read_mask
from tvdenoise.errors import UnsupportedImageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tvdenoise.batch.request import Settings
    from tvdenoise.files.picture import Picture
    from tvdenoise.parameters import Parameters
    from tvdenoise.solver import Solution

Result = TypeVar("Result")
_PATIENCE = 0.5  # seconds without a sign of life


class Denoiser:
    """Denoises pictures with the same settings.

    announce_compilation: called, once, where the kernels have to be compiled.
    """

    def __init__(self, settings: Settings, announce_compilation: Callable[[], None]) -> None:
        self._settings = settings
        self._announce_compilation = announce_compilation
        self._is_prepared = False
        self._mask: NDArray[np.bool_] | None = None

    @property
    def settings(self) -> Settings:
        return self._settings

    def solve(
        self,
        picture: Picture,
        threads: int | None = None,
        mu: float | None = None,
        *,
        trace: bool = False,
    ) -> Solution:
        """Denoise on so many threads, unless the settings say how many, with a mu that was chosen before, if any.

        trace: see `tvdenoise.denoise`.

        Raises UnsupportedImageError for pictures and parameters that do not go together.
        """
        from tvdenoise.denoising import denoise

        options = self._options(picture, mu)
        if threads is not None:
            options.setdefault("threads", threads)
        return self._for_picture(picture, options | {"trace": trace}, denoise)

    def choose(self, picture: Picture) -> Parameters:
        """The parameters for a picture by itself; raises as `solve`."""
        from tvdenoise.denoising import choose_parameters

        options = self._options(picture)
        for name in ("tolerance", "max_iterations"):
            options.pop(name, None)
        return self._for_picture(picture, options, choose_parameters)

    def _options(self, picture: Picture, mu: float | None = None) -> dict[str, Any]:
        has_planes = picture.intensities.ndim > (3 if picture.channels > 1 else 2)
        if self._settings.volume and not has_planes:
            raise UnsupportedImageError("it holds a single picture, not a volume", "leave out --volume")
        options = self._settings.solver_options(
            channels=picture.channels, is_float=picture.is_float, has_planes=has_planes, chosen_mu=mu
        )
        if self._settings.mask is not None:
            if self._mask is None:
                self._mask = read_mask(self._settings.mask, self._settings.max_megapixels)
            options["mask"] = mask_for(picture, self._mask, self._settings.mask)
        return options

    def _for_picture(
        self, picture: Picture, options: dict[str, Any], function: Callable[..., Result]
    ) -> Result:
        from tvdenoise.denoising import estimate_noise

        noisy = picture.noisy()
        try:
            if picture.visible is not None and self._settings.estimates_noise and "mu" not in options:
                names = ("channel_axis", "spatial_axes", "data_range", "nan")
                layout = {name: options[name] for name in names if name in options}
                where = picture.visible & options["mask"] if "mask" in options else picture.visible
                options["noise"] = estimate_noise(noisy, where=where, **layout)
            return function(noisy, **options)
        except ValueError as error:
            raise UnsupportedImageError(f"cannot be denoised: {error}") from error

    def prepare(self) -> float:
        """Load what solving needs, and compile it once on a machine; the seconds that it took."""
        if self._is_prepared:
            return 0.0
        start = time.perf_counter()
        self._is_prepared = True
        if self._settings.engine == "fused":
            self._prepare_kernels()
        return time.perf_counter() - start

    def _prepare_kernels(self) -> None:
        from tvdenoise.model import kernels, volume_kernels

        settings = self._settings
        needs_plain = not settings.volume
        needs_volumes = settings.volume or settings.fills_missing or settings.mask is not None
        is_ready = Event()

        def watch() -> None:
            while not is_ready.wait(_PATIENCE):
                if (needs_plain and kernels.is_compiled_afresh()) or (
                    needs_volumes and volume_kernels.is_compiled_afresh()
                ):
                    self._announce_compilation()
                    return

        Thread(target=watch, daemon=True).start()
        try:
            if needs_plain:
                kernels.prepare("float32")
            if needs_volumes:
                volume_kernels.prepare_volumes("float32")
        finally:
            is_ready.set()
