"""A client of the live server that speaks its protocol as the page does."""

from __future__ import annotations

import json
import time
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.sync.client import connect

Frame = tuple[dict[str, Any], NDArray[np.uint8]]


def frame_of(contents: bytes) -> Frame:
    """Return the header of a frame and its planes."""
    length = int.from_bytes(contents[:4], "little")
    header = json.loads(contents[4 : 4 + length])
    planes = header["channels"] + header["alpha"]
    shape = (planes, header["rows"], header["columns"])
    return header, np.frombuffer(contents, np.uint8, offset=4 + length).reshape(shape)


class Client:
    """A connection to the live server."""

    def __init__(self, url: str, **options: Any) -> None:
        host = url.split("/")[2]
        options.setdefault("origin", f"http://{host}")
        self._connection = connect(
            f"ws{url.removeprefix('http')}session", max_size=None, compression=None, **options
        )
        self._request = 0

    def __enter__(self) -> Client:
        self._socket = self._connection.__enter__()
        self.scene = json.loads(self._socket.recv(timeout=20))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.__exit__(kind, error, trace)

    def send(self, **message: Any) -> None:
        self.send_text(json.dumps(message))

    def send_text(self, text: str) -> None:
        self._socket.send(text)

    def receive(self, timeout: float = 20) -> Frame | dict[str, Any]:
        """Wait for the next frame or message."""
        contents = self._socket.recv(timeout=timeout)
        return frame_of(contents) if isinstance(contents, bytes) else json.loads(contents)

    def look(self, view: tuple[float, ...] | None = None, **changes: Any) -> int:
        """Request a view (x, y, width, height, zoom), by default the whole image at 1:1; return its number."""
        self._request += 1
        names = ("x", "y", "width", "height", "zoom")
        whole = (0, 0, self.scene["columns"], self.scene["rows"], 1)
        asked = {**self.scene["automatic"], "epsilon": None, **changes}
        self.send(
            type="look", request=self._request, view=dict(zip(names, view or whole, strict=True)), **asked
        )
        return self._request

    def full(self, request: int) -> Frame:
        """Wait for the full image of a request."""
        while True:
            answer = self.receive()
            if isinstance(answer, tuple) and answer[0]["request"] == request and answer[0].get("isFinal"):
                return answer

    def message(self, kind: str) -> dict[str, Any]:
        """Wait for the next message of a kind."""
        while True:
            answer = self.receive()
            if isinstance(answer, dict) and answer["type"] == kind:
                return answer

    def move(self, strength: float, side: int) -> dict[str, float]:
        """Return the milliseconds until the first and the full image, with interleaved colours as on a screen."""
        start = time.perf_counter()
        request = self.look((0, 0, side, side, 1), mu=self.scene["automatic"]["mu"] / strength)
        first = None
        while True:
            answer = self.receive()
            if isinstance(answer, dict) or answer[0]["kind"] != "after" or answer[0]["request"] != request:
                continue
            header, planes = answer
            np.ascontiguousarray(np.moveaxis(planes, 0, -1))
            now = 1000 * (time.perf_counter() - start)
            first = first or now
            if header["isFinal"]:
                return {"first": first, "full": now, "evaluations": header["evaluations"]}
