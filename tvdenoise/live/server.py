"""The server of the page: it listens on the loopback interface only, and answers only requests with the token.

The token keeps out other users and other pages. The Host header must name this machine; otherwise a page elsewhere
could point its own name here (DNS rebinding). So must the Origin header, which browsers send with WebSockets and with
requests from other pages.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, Router, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketClose, WebSocketDisconnect

from tvdenoise.errors import UsageError
from tvdenoise.live.session import PageClosedError, Session, Studio
from tvdenoise.live.view import InvalidMessageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def load_page() -> Mapping[str, tuple[bytes, str]]:
    """The contents and the media type of every file of the page, by name; nothing else is served."""
    page = files("tvdenoise.live") / "page"
    found = {}
    for entry in page.iterdir():
        ending = f".{entry.name.rpartition('.')[2]}"
        if ending in _TYPES:
            found[entry.name] = (entry.read_bytes(), _TYPES[ending])
    return MappingProxyType(found)


LOOPBACK = "127.0.0.1"
_NAMES = (LOOPBACK, "localhost")


@dataclass(frozen=True)
class Address:
    """The address of the page: the port on the loopback interface, and the token that every path begins with."""

    port: int
    token: str

    @classmethod
    def at(cls, port: int) -> Address:
        """An address with a new 256-bit token."""
        return cls(port, secrets.token_urlsafe(32))

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}/{self.token}/"

    @property
    def hosts(self) -> frozenset[str]:
        """The values of the Host header that name this server."""
        return frozenset(f"{name}:{self.port}" for name in _NAMES)


class Guard:
    """Answers forbidden requests with 403, and adds headers to other responses that isolate the page."""

    def __init__(self, app: ASGIApp, address: Address) -> None:
        self._app = app
        self._address = address
        sockets = " ".join(f"ws://{host}" for host in sorted(address.hosts))
        self._headers = {
            "Content-Security-Policy": f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
            f"connect-src 'self' {sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "Cache-Control": "no-store",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        if self._admits(scope):
            await self._app(scope, receive, send_guarded)
        elif scope["type"] == "websocket":
            await WebSocketClose(1008)(scope, receive, send)  # before it is accepted, so the client gets 403
        else:
            await PlainTextResponse("forbidden\n", 403)(scope, receive, send_guarded)

    def _admits(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        first = scope["path"].removeprefix("/").partition("/")[0]
        has_token = secrets.compare_digest(first.encode(), self._address.token.encode())
        hosts = headers.getlist("host")
        is_here = len(hosts) == 1 and hosts[0].lower() in self._address.hosts
        return has_token and is_here and self._is_own(headers.getlist("origin"), scope["type"])

    def _is_own(self, origins: list[str], kind: str) -> bool:
        """True if a request comes from a page of this server, or from the address bar."""
        if not origins:
            return kind == "http"
        return all(origin.removeprefix("http://") in self._address.hosts for origin in origins) and all(
            origin.startswith("http://") for origin in origins
        )


_INVALID, _LARGEST_MESSAGE = 1008, 1 << 16
_GRACE = 1  # seconds for pages to disconnect at the end


def listen(port: int | None) -> socket.socket:
    """A socket listening on a port, or on any free one. Raises UsageError if the port is not available."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name != "nt":  # on Windows it would let two servers share a port
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, port or 0))
        listening.listen()
    except OSError as error:
        listening.close()
        remedy = "choose another with --port, or leave it out for any free port"
        raise UsageError(f"port {port} of {LOOPBACK} is in use or not permitted", remedy) from error
    return listening


def serve(studio: Studio, listening: socket.socket, announce: Callable[[str], None]) -> None:
    """Serve the page until the user is done. Raises KeyboardInterrupt on Ctrl-C.

    announce: called with the address.
    """
    address = Address.at(listening.getsockname()[1])

    def end() -> None:
        server.should_exit = True

    config = uvicorn.Config(
        application(studio, address, end),
        log_config=None,  # paths contain the token
        log_level="critical",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws_max_size=_LARGEST_MESSAGE,
        ws_per_message_deflate=False,  # compression costs more time than it saves on one machine
        timeout_graceful_shutdown=_GRACE,
    )
    server = uvicorn.Server(config)
    with listening:
        announce(address.url)
        server.run(sockets=[listening])


def application(studio: Studio, address: Address, end: Callable[[], None]) -> ASGIApp:
    """The application: the files of the page, and a WebSocket for each open page.

    end: called when the user is done.
    """
    pages = load_page()

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
        """Converse until the page is closed or sends an invalid message."""
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
            raise InvalidMessageError("the message is not an object")
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
                raise InvalidMessageError("unknown type of message")

    async def _save(self, session: Session, message: dict[str, Any]) -> None:
        try:
            answer = await asyncio.to_thread(session.save, message)
        except InvalidMessageError as error:
            answer = {"type": "saved", "line": str(error), "status": "failed"}
        with suppress(RuntimeError, WebSocketDisconnect):  # the page may be closed by now
            await self._websocket.send_json(answer)

    def _show(self, contents: bytes) -> None:
        """Send a frame, from the session's thread."""
        try:
            sending = asyncio.run_coroutine_threadsafe(self._websocket.send_bytes(contents), self._loop)
            sending.result()
        except (RuntimeError, WebSocketDisconnect, asyncio.CancelledError) as error:
            raise PageClosedError from error
