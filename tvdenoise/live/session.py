"""One open page: its requests, the images and messages it gets, and saving."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Lock, Thread
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from tvdenoise.batch.denoiser import Denoiser
from tvdenoise.batch.outputs import destination_of
from tvdenoise.batch.plan import make_plan
from tvdenoise.batch.request import Found, Request
from tvdenoise.batch.runner import Runner, failed
from tvdenoise.errors import TvdenoiseError, UsageError
from tvdenoise.files.paths import printable
from tvdenoise.live.preview import Preview
from tvdenoise.live.scene import frame
from tvdenoise.live.view import LIMITS, InvalidMessageError, Region, Setting, number, parameter, region_of
from tvdenoise.model.colour import RGB_CHANNELS

if TYPE_CHECKING:
    from tvdenoise.batch.outcome import Outcome
    from tvdenoise.live.preview import SolveStage
    from tvdenoise.live.scene import Scene
    from tvdenoise.noise.model import NoiseModel
    from tvdenoise.options import FileOptions


Item = TypeVar("Item")


class Newest(Generic[Item]):
    """The newest request, passed from one thread to another; older requests are dropped."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._item: Item | None = None
        self._is_closed = False

    def put(self, item: Item) -> None:
        """Make a request, in place of the last one."""
        with self._changed:
            self._item = item
            self._changed.notify()

    def take(self) -> Item | None:
        """Wait for a request; None once it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._item is not None)
            item, self._item = self._item, None
            return None if self._is_closed else item

    def has_newer(self) -> bool:
        """True if the request taken last is outdated."""
        return self._is_closed or self._item is not None

    def close(self) -> None:
        """Accept no more requests."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()


_GREY_LEVELS = 255
_BROKEN = "the solve broke down; choose other parameters"


def scene_message(scene: Scene, target: Path) -> dict[str, Any]:
    """The message about the image, its noise and its automatic parameters."""
    rows, columns = scene.size
    sliders = scene.settings.sliders
    return {
        "type": "scene",
        "name": printable(scene.source.name),
        "target": printable(target),
        "rows": rows,
        "columns": columns,
        "isColour": scene.channels == RGB_CHANNELS,
        "hasWindow": scene.bits != 8,
        "window": [edge * _GREY_LEVELS for edge in scene.window],
        "automatic": scene.automatic.values,
        "limits": {name: LIMITS[name] for name in sliders},
        "spans": {name: spec.slider for name, spec in sliders.items()},
        "noise": (
            None
            if scene.chosen.noise is None
            else _noise(scene.chosen.noise, is_colour=scene.channels == RGB_CHANNELS)
        ),
    }


def certificate(scene: Scene, stage: SolveStage, scale: int) -> dict[str, Any]:
    """The accuracy of a shown image, in the words of `run`."""
    bound = stage.distance_bound
    resolution = "full resolution" if scale == 1 else f"1/{scale} of the resolution"
    known = {"evaluations": stage.evaluations, "resolution": resolution}
    if not math.isfinite(bound):
        return known | {"bound": None, "within": "–", "isFinal": True, "status": _BROKEN}
    levels = "grey levels" if scene.bits == 8 else "of 255 grey levels"
    text = f"{bound:.2g} of the data range" if scene.bits is None else f"{bound * _GREY_LEVELS:.2g} {levels}"
    return known | {
        "bound": bound,
        "within": f"{text} (rms)",
        "isFinal": stage.status is not None,
        "status": "solving" if stage.status is None else stage.status.value,
    }


def _noise(model: NoiseModel, *, is_colour: bool) -> dict[str, Any]:
    """The standard deviation against the intensity, in 255ths of the data range, as in `tvdenoise noise --plot`."""
    channel = model.channels[0]
    intensities, deviations = channel.intensities, np.sqrt(channel.variances)
    if len(intensities) == 1:  # white noise: the same at every intensity
        intensities, deviations = np.array([0.0, 1.0]), np.repeat(deviations, 2)
        scale = float(_GREY_LEVELS)
    else:
        scale = _GREY_LEVELS / np.sqrt(RGB_CHANNELS) if is_colour else _GREY_LEVELS
    return {
        "kind": model.kind.value,
        "sigma": model.sigma * _GREY_LEVELS,
        "intensities": (intensities * scale).tolist(),
        "deviations": (deviations * _GREY_LEVELS).tolist(),
    }


class TargetExistsError(TvdenoiseError):
    """The output already exists, and the user has not agreed to replace it."""


@dataclass(frozen=True)
class Saver:
    """Writes results to the output that was given, or to the default output of the source.

    output: a file, a folder or None, as for `run -o`.
    """

    source: Path
    output: str | None
    _one_at_a_time: Lock = field(default_factory=Lock, compare=False)

    @property
    def target(self) -> Path:
        """The file to write. Raises UsageError if the output's name does not determine the format."""
        return destination_of(self._request(overwrite=True)).target(
            Found(self.source, Path(self.source.name))
        )

    def save(self, settings: FileOptions, *, overwrite: bool) -> Outcome:
        """Solve and write. Raises TargetExistsError if the file exists and overwrite is False."""
        with self._one_at_a_time:
            if not overwrite and os.path.lexists(self.target):
                raise TargetExistsError(f"{printable(self.target)} already exists")
            try:
                plan = make_plan(self._request(overwrite=overwrite))
            except TvdenoiseError as error:
                return failed(str(self.source), str(self.target), error)
            if plan.failures:
                return failed(str(self.source), str(self.target), plan.failures[0].error)
            runner = Runner(settings, Denoiser(settings, _say_nothing))
            return runner.attempt(plan.jobs[0])

    def require_possible(self) -> None:
        """Raise UsageError if saving cannot succeed, for example into a folder without write permission.

        Errors of the source itself are raised with its name.
        """
        plan = make_plan(self._request(overwrite=True))
        if plan.failures:
            error = plan.failures[0].error
            raise type(error)(f"{printable(self.source)}: {error.reason}", error.remedy)
        if not plan.jobs:
            raise UsageError("nothing to denoise")

    def _request(self, *, overwrite: bool) -> Request:
        return Request((str(self.source),), self.output, overwrite=overwrite)


def _say_nothing() -> None:
    """Say nothing of compilations: who saves looks at the page, not at a terminal."""


class PageClosedError(Exception):
    """The page has been closed."""


@dataclass(frozen=True)
class Look:
    """request: its number, returned with every image; asked: the time of its arrival, by the clock."""

    request: int
    region: Region
    setting: Setting
    asked: float


@dataclass(frozen=True)
class Studio:
    """What all pages share: the image, where it is saved, and how an outcome is worded."""

    scene: Scene
    saver: Saver
    line_of: Callable[[Outcome], str]


class Session:
    """Handles the messages of a page, and solves in a thread of its own.

    show: sends a frame to the page, and returns when the page is ready for another; raises PageClosedError.
    """

    def __init__(self, studio: Studio, show: Callable[[bytes], None]) -> None:
        self._studio = studio
        self._show = show
        self._looks: Newest[Look] = Newest()
        self._preview = Preview(studio.scene)
        self._shown_noisy: Region | None = None
        self._thread = Thread(target=self._work, name="preview", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the current work."""
        self._looks.close()

    def is_at_work(self) -> bool:
        return self._thread.is_alive()

    def greeting(self) -> dict[str, Any]:
        """The first message to a page."""
        return scene_message(self._studio.scene, self._studio.saver.target)

    def look(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Request a view with a setting, and answer with the resulting setting. Raises InvalidMessageError."""
        scene = self._studio.scene
        view = message.get("view")
        if not isinstance(view, Mapping):
            raise InvalidMessageError("the message has no view")
        setting = self._setting(message)
        request = int(number(message, "request"))
        self._looks.put(Look(request, region_of(view, *scene.size), setting, time.perf_counter()))
        command = setting.command(scene.source, self._studio.saver.target, scene.channels)
        return {"type": "setting", "request": request, "command": command, **setting.values}

    def save(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Solve the whole image and write it; this takes a while. Raises InvalidMessageError."""
        scene = self._studio.scene
        settings = self._setting(message).for_channels(scene.channels)
        try:
            outcome = self._studio.saver.save(settings, overwrite=message.get("overwrite") is True)
        except TargetExistsError as error:
            return {"type": "exists", "line": error.reason}
        return {"type": "saved", "line": self._studio.line_of(outcome), "status": outcome.status.value}

    def _setting(self, message: Mapping[str, Any]) -> Setting:
        """The setting in a message; if epsilon is null, it follows from mu."""
        scene = self._studio.scene
        sliders = scene.settings.sliders
        follows = "epsilon" in sliders and message.get("epsilon") is None
        asked = {name: parameter(message, name) for name in sliders if not (follows and name == "epsilon")}
        if follows:
            asked["epsilon"] = scene.epsilon_for(asked["mu"], scene.settings.with_given(asked))
        return Setting.of(scene.settings, **asked)

    def _work(self) -> None:
        try:
            while (look := self._looks.take()) is not None:
                self._answer(look)
        except PageClosedError:
            pass

    def _answer(self, look: Look) -> None:
        scene = self._studio.scene
        if look.region != self._shown_noisy:
            header: dict[str, Any] = {"kind": "before", "request": look.request}
            self._show(frame(scene, look.region, scene.planes.part(scene.stored(look.region)), header))
            self._shown_noisy = look.region
        region = scene.stored(look.region)
        images = self._preview.images(region, look.setting, self._looks.has_newer, look.asked)
        for shown in images:
            header = {
                "kind": "after",
                "request": look.request,
                **look.setting.values,
                **certificate(scene, shown.stage, look.region.scale),
                "milliseconds": round(1000 * (time.perf_counter() - look.asked)),
            }
            self._show(frame(scene, look.region, shown.planes, header, rotated=True))
