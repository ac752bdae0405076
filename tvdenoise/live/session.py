"""One open page: what it asks for, and what it is shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, Any

from tvdenoise.live.frames import frame
from tvdenoise.live.newest import Newest
from tvdenoise.live.preview import Preview
from tvdenoise.live.saving import Saver, TargetExistsError
from tvdenoise.live.setting import InvalidMessageError, Setting, number, parameter
from tvdenoise.live.telling import certificate, scene_message, setting_values
from tvdenoise.live.view import Region, region_of

if TYPE_CHECKING:
    from tvdenoise.batch.outcome import Outcome
    from tvdenoise.live.scene import Scene


class PageClosedError(Exception):
    """There is nobody to show anything to."""


@dataclass(frozen=True)
class Look:
    """request: its number, which comes back with every picture; asked: when it arrived, by the clock."""

    request: int
    region: Region
    setting: Setting
    asked: float


@dataclass(frozen=True)
class Studio:
    """What all pages share: the picture, where it is saved, and how an outcome is told in a line."""

    scene: Scene
    saver: Saver
    line_of: Callable[[Outcome], str]


class Session:
    """Understands the messages of a page and works for it in a thread of its own.

    show: takes a frame to the page, and returns when the page can take another; raises PageClosedError.
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
        """Give up what is at work."""
        self._looks.close()

    def is_at_work(self) -> bool:
        return self._thread.is_alive()

    def greeting(self) -> dict[str, Any]:
        """What a page is told first."""
        return scene_message(self._studio.scene, self._studio.saver.target)

    def look(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Show a view with a setting, soon; what is said at once. Raises InvalidMessageError."""
        scene = self._studio.scene
        view = message.get("view")
        if not isinstance(view, Mapping):
            raise InvalidMessageError("no view")
        setting = self._setting(message)
        request = int(number(message, "request"))
        self._looks.put(Look(request, region_of(view, *scene.size), setting, time.perf_counter()))
        command = setting.command(scene.source, self._studio.saver.target, scene.settings, scene.channels)
        return {"type": "setting", "request": request, "command": command, **setting_values(setting)}

    def save(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Solve the whole picture and write it, which takes its time. Raises InvalidMessageError."""
        scene = self._studio.scene
        settings = self._setting(message).settings(scene.settings, scene.channels)
        try:
            outcome = self._studio.saver.save(settings, overwrite=message.get("overwrite") is True)
        except TargetExistsError as error:
            return {"type": "exists", "line": error.reason}
        return {"type": "saved", "line": self._studio.line_of(outcome), "fate": outcome.fate.value}

    def _setting(self, message: Mapping[str, Any]) -> Setting:
        """An epsilon of null follows mu."""
        mu, chroma = parameter(message, "mu"), parameter(message, "chroma")
        if message.get("epsilon") is None:
            return Setting(mu, self._studio.scene.epsilon_for(mu, chroma), chroma)
        return Setting(mu, parameter(message, "epsilon"), chroma)

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
        pictures = self._preview.pictures(region, look.setting, self._looks.has_newer, look.asked)
        for shown in pictures:
            header = {
                "kind": "after",
                "request": look.request,
                **setting_values(look.setting),
                **certificate(scene, shown.stage, look.region.scale),
                "milliseconds": round(1000 * (time.perf_counter() - look.asked)),
            }
            self._show(frame(scene, look.region, shown.planes, header, rotated=True))
