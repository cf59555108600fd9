"""ASGI middleware of ``scope serve``: refuses keys that vLLM would ignore, and watches for the end of the server."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from scope_adapters.serving.requested import KEY, check, unknown_options
from scope_adapters.serving.termination import requests, watch, watch_signals
from scope_core import SpecError

MIDDLEWARE = f"{__name__}.PruningMiddleware"
"""The value of vLLM's ``--middleware``."""

OPTIONS = "mm_processor_kwargs"
"""The key of a request whose value is a table with `KEY`."""

ENDED = "the server is ending, and has no engine any more; send the request again to another one, or later"
"""The answer to requests that cannot be answered."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_MEANT = re.compile(r"visual[_-]?prun\w*", re.IGNORECASE)
_WORTH_READING = re.compile(rb'"(visual[_-]?prun\w*|mm_processor_kwargs)"\s*:', re.IGNORECASE)


def refusal(request: Any) -> str:
    """The reason to refuse the body of a request; empty if vLLM may read it."""
    if not isinstance(request, dict):
        return ""
    options = request.get(OPTIONS)
    elsewhere: list[Any] = [{key: value for key, value in request.items() if key != OPTIONS}]
    while elsewhere:  # e.g. in `extra_body`, which is a word of the Python client, or beside an image
        value = elsewhere.pop()
        if wrong := [key for key in value if _MEANT.fullmatch(key)] if isinstance(value, dict) else []:
            return f'{wrong[0]}: write it into the request\'s {OPTIONS}, e.g. "{OPTIONS}": {{"{KEY}": 32}}'
        if isinstance(value, (dict, list)):
            elsewhere += value.values() if isinstance(value, dict) else value
    return (unknown_options(options) or _wrong_spec(options.get(KEY))) if isinstance(options, dict) else ""


def _wrong_spec(value: Any) -> str:
    """The reason to refuse a request's spec, also where no image would be pruned by it."""
    try:
        if value is not None:
            check(value)
    except SpecError as error:
        return f"{KEY}: {error}"
    return ""


class PruningMiddleware:
    """The middleware; `Send` and `Receive` are those of ASGI."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "lifespan":
            watch(getattr(scope["app"].state, "engine_client", None))
            watch_signals()
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        has_started = False

        async def sent(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        if requests.over:
            return await refuse(send, ENDED, 503)
        try:
            with requests.entered():
                await self._answer(scope, receive, sent)
        except asyncio.CancelledError:
            if not requests.over:
                raise
            if not has_started:  # otherwise the connection is closed in the middle of the answer
                await refuse(send, ENDED, 503)

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            return await self.app(scope, receive, send)
        received = [await receive()]
        while received[-1].get("more_body"):
            received.append(await receive())
        body = b"".join(message.get("body", b"") for message in received)
        if _WORTH_READING.search(body) and (reason := refusal(_table(body))):
            return await refuse(send, reason)

        async def replay() -> Message:
            return received.pop(0) if received else await receive()

        return await self.app(scope, replay, send)


async def refuse(send: Send, reason: str, status: int = 400) -> None:
    """Answer with an error, in the form of vLLM's."""
    kind = "BadRequestError" if status == 400 else "ServiceUnavailableError"
    error = {"error": {"message": reason, "type": kind, "param": None, "code": status}}
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(error).encode()})


def _table(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # vLLM says what is wrong with it
        return None
