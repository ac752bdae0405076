"""``tvdenoise tune --live``: the page, from the command line."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from tvdenoise.errors import TvdenoiseError, UsageError
from tvdenoise.files.paths import printable

if TYPE_CHECKING:
    from tvdenoise.batch.request import Settings
    from tvdenoise.live.scene import Scene

_NEEDED = ("starlette", "uvicorn", "websockets")


def tune_live(
    image: str,
    output: str | None,
    *,
    port: int | None,
    opens_browser: bool,
    data_range: float | None,
    max_megapixels: float | None,
) -> None:
    """Serve the page until it says that it is done. Raises TvdenoiseError and KeyboardInterrupt."""
    if any(find_spec(name) is None for name in _NEEDED):
        raise UsageError("--live needs further packages", "install tvdenoise[live]")
    from tvdenoise.batch.request import Settings
    from tvdenoise.commands.wording import line_of
    from tvdenoise.files.surveying import DEFAULT_MAX_MEGAPIXELS
    from tvdenoise.live.saving import Saver
    from tvdenoise.live.server import listen, serve
    from tvdenoise.live.session import Studio

    source = Path(image)
    if image == "-" or source.is_dir():
        raise UsageError(f"{printable(image)} is not a file", "name an image")
    saver = Saver(source, output)
    settings = Settings(data_range=data_range, max_megapixels=max_megapixels or DEFAULT_MAX_MEGAPIXELS)
    listening = listen(port)
    try:
        saver.require_possible()
        scene = _scene_of(image, settings)
    except BaseException:
        listening.close()
        raise

    def announce(url: str) -> None:
        _tell(f"{printable(image)} is at {url} until Ctrl-C")
        if opens_browser and sys.stderr.isatty() and _has_screen():
            _open(url)

    serve(Studio(scene, saver, line_of), listening, announce)


def _scene_of(image: str, settings: Settings) -> Scene:
    """The picture; errors name it."""
    from tvdenoise.live.scene import Scene

    try:
        return Scene.read(Path(image), settings, _tell_compilation)
    except TvdenoiseError as error:
        raise type(error)(f"{printable(image)}: {error.reason}", error.remedy) from error


def _has_screen() -> bool:
    """Else a browser for terminals might be started, in the place of this command."""
    return sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )


def _open(url: str) -> None:
    import webbrowser

    Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def _tell_compilation() -> None:
    _tell("preparing the fast kernel for this machine (once; a few seconds)")


def _tell(message: str) -> None:
    print(f"tvdenoise: {message}", file=sys.stderr, flush=True)
