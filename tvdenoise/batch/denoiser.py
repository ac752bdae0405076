"""Denoising one picture with the settings of a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, TypeVar

from tvdenoise.batch.masks import read_mask, require_size_of
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
        self._prepared: set[str] = set()
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
            require_size_of(self._mask, picture, self._settings.mask)
            options["mask"] = self._mask
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

    def prepare(self, *, in_parts: bool = False) -> float:
        """Load what solving needs, and compile it once on a machine; the seconds that it took.

        in_parts: also what pictures in parts need.
        """
        start = time.perf_counter()
        needed = (
            self._kernels(in_parts=in_parts) - self._prepared if self._settings.engine == "fused" else set()
        )
        if needed:
            self._prepared |= needed
            self._prepare_kernels(needed)
        return time.perf_counter() - start

    def _kernels(self, *, in_parts: bool) -> set[str]:
        settings = self._settings
        weighted = settings.volume or settings.fills_missing or settings.mask is not None or in_parts
        return {
            name
            for name, is_needed in (
                ("plain", not settings.volume),
                ("volumes", weighted),
                ("parts", in_parts),
            )
            if is_needed
        }

    def _prepare_kernels(self, names: set[str]) -> None:
        from tvdenoise.model import kernels, part_kernels, volume_kernels

        known = {
            "plain": (kernels.prepare, kernels.is_compiled_afresh),
            "volumes": (volume_kernels.prepare_volumes, volume_kernels.is_compiled_afresh),
            "parts": (part_kernels.prepare_parts, part_kernels.is_compiled_afresh),
        }
        needed = [known[name] for name in known if name in names]
        is_ready = Event()

        def watch() -> None:
            while not is_ready.wait(_PATIENCE):
                if any(is_compiled_afresh() for _, is_compiled_afresh in needed):
                    self._announce_compilation()
                    return

        Thread(target=watch, daemon=True).start()
        try:
            for prepare, _ in needed:
                prepare("float32")
        finally:
            is_ready.set()
