"""The server of the page, on the loopback device alone, until the page or the user ends it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount, Route, Router, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tvdenoise.errors import UsageError
from tvdenoise.live import assets
from tvdenoise.live.guard import LOOPBACK, Address, Guard
from tvdenoise.live.session import PageClosedError, Session, Studio
from tvdenoise.live.setting import InvalidMessageError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

_INVALID, _LARGEST_MESSAGE = 1008, 1 << 16
_GRACE = 1  # seconds that pages have to let go at the end


def listen(port: int | None) -> socket.socket:
    """A socket that listens on a port, or on any free one. Raises UsageError where it cannot."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name != "nt":  # where it would let two servers share a port
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, port or 0))
        listening.listen()
    except OSError as error:
        listening.close()
        remedy = "choose another with --port, or leave it out for a free one"
        raise UsageError(f"port {port} of {LOOPBACK} is taken or not allowed", remedy) from error
    return listening


def serve(studio: Studio, listening: socket.socket, announce: Callable[[str], None]) -> None:
    """Serve the page until it says that it is done. Raises KeyboardInterrupt where the user ends it.

    announce: called with the address.
    """
    address = Address.at(listening.getsockname()[1])

    def end() -> None:
        server.should_exit = True

    config = uvicorn.Config(
        application(studio, address, end),
        log_config=None,  # the paths hold the token
        log_level="critical",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws_max_size=_LARGEST_MESSAGE,
        ws_per_message_deflate=False,  # which takes longer than it saves on this machine
        timeout_graceful_shutdown=_GRACE,
    )
    server = uvicorn.Server(config)
    with listening:
        announce(address.url)
        server.run(sockets=[listening])


def application(studio: Studio, address: Address, end: Callable[[], None]) -> ASGIApp:
    """The application: the files of the page, and a WebSocket for each page that is open.

    end: called where a page says that all is done.
    """
    pages = assets.load()

    async def page(request: Request) -> Response:
        name = request.path_params.get("name") or "index.html"
        if name not in pages:
            return Response("not found\n", 404, media_type="text/plain")
        contents, kind = pages[name]
        return Response(contents, media_type=kind)

    async def converse(websocket: WebSocket) -> None:
        await _Conversation(websocket, studio, end).hold()

    routes = [Route("/", page), Route("/{name}", page), WebSocketRoute("/session", converse)]
    router = Router(routes, redirect_slashes=False)
    return Guard(Starlette(routes=[Mount(f"/{address.token}", router)]), address)


class _Conversation:
    """The messages between one page and its session."""

    def __init__(self, websocket: WebSocket, studio: Studio, end: Callable[[], None]) -> None:
        self._websocket = websocket
        self._studio = studio
        self._end = end
        self._saving: set[asyncio.Task[None]] = set()

    async def hold(self) -> None:
        """Until the page is closed, or says something that it should not."""
        await self._websocket.accept()
        self._loop = asyncio.get_running_loop()
        session = Session(self._studio, self._show)
        try:
            await self._websocket.send_json(session.greeting())
            while True:
                await self._answer(session, json.loads(await self._websocket.receive_text()))
        except WebSocketDisconnect:
            pass
        except (InvalidMessageError, ValueError, KeyError, TypeError):
            await self._websocket.close(_INVALID)
        finally:
            session.close()

    async def _answer(self, session: Session, message: Any) -> None:
        if not isinstance(message, dict):
            raise InvalidMessageError("not an object")
        match message.get("type"):
            case "look":
                await self._websocket.send_json(session.look(message))
            case "save":
                task = asyncio.create_task(self._save(session, message))
                self._saving.add(task)
                task.add_done_callback(self._saving.discard)
            case "done":
                self._end()
            case _:
                raise InvalidMessageError("an unknown message")

    async def _save(self, session: Session, message: dict[str, Any]) -> None:
        try:
            answer = await asyncio.to_thread(session.save, message)
        except InvalidMessageError as error:
            answer = {"type": "saved", "line": str(error), "fate": "failed"}
        with suppress(RuntimeError, WebSocketDisconnect):  # where the page was closed meanwhile
            await self._websocket.send_json(answer)

    def _show(self, contents: bytes) -> None:
        """From the session's thread."""
        try:
            sending = asyncio.run_coroutine_threadsafe(self._websocket.send_bytes(contents), self._loop)
            sending.result()
        except (RuntimeError, WebSocketDisconnect, asyncio.CancelledError) as error:
            raise PageClosedError from error
