"""`Guard`: what the page's server refuses, whatever Gradio would answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]

HOSTS = ("127.0.0.1", "localhost", "[::1]")
"""Names under which this machine is asked; another one means that a foreign page was made to point here."""
HEADERS = {
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; media-src 'none'; object-src 'none'; base-uri 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
"""Browsers then fetch nothing from elsewhere. Gradio's components need inline scripts and evaluated templates."""


class Guard:
    """Refuses requests for other hosts, for files outside a folder and for addresses elsewhere; adds `HEADERS`.

    Args:
        app: The application behind.
        folder: The only folder whose files may be asked for by path.
    """

    def __init__(self, app: App, folder: Path) -> None:
        self.app, self.folder = app, folder

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if not self.is_local(scope) or not self.is_allowed(scope["path"]):
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"not allowed"})
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                kept = [(key, value) for key, value in message["headers"] if key.decode().lower() not in HEADERS]
                message["headers"] = [*kept, *((key.encode(), value.encode()) for key, value in HEADERS.items())]
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def is_local(self, scope: Scope) -> bool:
        """True if the request names this machine as its host, and comes from no page of another one."""
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1")
        return _is_here(headers.get(b"host", b"").decode("latin-1")) and (
            not origin or _is_here(origin.partition("://")[2])
        )

    def is_allowed(self, path: str) -> bool:
        """True for a path that names no file, or one in the folder."""
        if "/proxy=" in path:
            return False
        _, asked, name = path.partition("/file=")
        if not asked:
            return "/file/" not in path
        found = Path(unquote(name))
        try:
            return found.is_absolute() and found.resolve().is_relative_to(self.folder)
        except (OSError, ValueError, RuntimeError):
            return False


def _is_here(host: str) -> bool:
    """True for a name of this machine, with or without a port."""
    name, _, port = host.rpartition(":")
    return host in HOSTS or (name in HOSTS and port.isdecimal())
