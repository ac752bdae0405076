"""Denoising one picture with the settings of a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, TypeVar

from tvdenoise.errors import UnsupportedImageError

if TYPE_CHECKING:
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

    @property
    def settings(self) -> Settings:
        return self._settings

    def solve(self, picture: Picture, threads: int | None = None, mu: float | None = None) -> Solution:
        """Denoise on so many threads, unless the settings say how many, with a mu that was chosen before, if any.

        Raises UnsupportedImageError for pictures and parameters that do not go together.
        """
        from tvdenoise.denoising import denoise

        options = self._options(picture, mu)
        if threads is not None:
            options.setdefault("threads", threads)
        return self._for_picture(picture, options, denoise)

    def choose(self, picture: Picture) -> Parameters:
        """The parameters for a picture by itself; raises as `solve`."""
        from tvdenoise.denoising import choose_parameters

        options = self._options(picture)
        for name in ("mu", "tolerance", "max_iterations"):
            options.pop(name, None)
        return self._for_picture(picture, options, choose_parameters)

    def _options(self, picture: Picture, mu: float | None = None) -> dict[str, Any]:
        return self._settings.solver_options(
            channels=picture.channels, is_float=picture.is_float, chosen_mu=mu
        )

    def _for_picture(
        self, picture: Picture, options: dict[str, Any], function: Callable[..., Result]
    ) -> Result:
        from tvdenoise.denoising import estimate_noise

        noisy = picture.noisy()
        try:
            if picture.visible is not None and self._settings.estimates_noise and "mu" not in options:
                layout = {name: options[name] for name in ("channel_axis", "data_range") if name in options}
                options["noise"] = estimate_noise(noisy, where=picture.visible, **layout)
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
        from tvdenoise.model import kernels

        is_ready = Event()

        def watch() -> None:
            while not is_ready.wait(_PATIENCE):
                if kernels.is_compiled_afresh():
                    self._announce_compilation()
                    return

        Thread(target=watch, daemon=True).start()
        try:
            kernels.prepare("float32")
        finally:
            is_ready.set()
