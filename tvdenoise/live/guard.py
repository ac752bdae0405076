"""Who is served: requests that know the token, from a page that was served here, by the address of this machine.

The token keeps other users and other pages out. The Host header must be this machine's, else a page elsewhere
could have its own name lead here (DNS rebinding); so must the Origin, which browsers send with WebSockets and
with what other pages ask for.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocketClose

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = "127.0.0.1"
_NAMES = (LOOPBACK, "localhost")


@dataclass(frozen=True)
class Address:
    """Where the page is: the port of the loopback device, and the token that every path begins with."""

    port: int
    token: str

    @classmethod
    def at(cls, port: int) -> Address:
        """With a new token, of 256 bits."""
        return cls(port, secrets.token_urlsafe(32))

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}/{self.token}/"

    @property
    def hosts(self) -> frozenset[str]:
        """The values of a Host header that mean this server."""
        return frozenset(f"{name}:{self.port}" for name in _NAMES)


class Guard:
    """Refuses with 403 whatever may not be served, and gives the rest headers that keep the page to itself."""

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
        """One request or WebSocket."""
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
            await WebSocketClose(1008)(scope, receive, send)  # before it is accepted: the client reads 403
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
        """Whether a request comes from a page of this server, or from an address line."""
        if not origins:
            return kind == "http"
        return all(origin.removeprefix("http://") in self._address.hosts for origin in origins) and all(
            origin.startswith("http://") for origin in origins
        )
