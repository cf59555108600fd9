"""Requests that are being answered, and the end of those that cannot be any more.

A server that ends waits for them: without an engine that would be for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

GRACE = 5.0
"""Seconds that vLLM has to answer with its own error when there is no engine any more."""

PERIOD = 0.5
"""Seconds between two looks at the engine."""


class OpenRequests:
    """The requests of a server."""

    def __init__(self) -> None:
        self.unanswerable = False
        """True once the engine was shut down."""
        self.over = False
        """True if requests end with an error from now on."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._guard: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """A request, handled by the current task inside, which is cancelled when it cannot be answered any more."""
        task = asyncio.current_task()
        if task is None:
            yield
            return
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    def guard(self, engine: Any) -> None:
        """End open requests `GRACE` seconds after the engine has died or was shut down; called in the event loop."""
        self._guard = asyncio.get_running_loop().create_task(self._end(engine))

    async def _end(self, engine: Any) -> None:
        while not (self.unanswerable or engine.errored):
            await asyncio.sleep(PERIOD)
        await asyncio.sleep(GRACE)
        self.over = True
        for task in list(self._tasks):
            task.cancel()
