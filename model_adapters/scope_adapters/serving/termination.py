"""The end of a server's process: by a signal, or since its engine died."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from multiprocessing.process import BaseProcess
from typing import Any

from scope_adapters.serving.open_requests import OpenRequests

SIGNALS = (signal.SIGINT, signal.SIGTERM)

requests = OpenRequests()
"""Those of this process's server."""

asked: list[int] = []
"""The signals that asked this process to end, in order."""

deaths: list[str] = []
"""A note for each engine of this process that ended by itself."""


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """`SIGNALS` inside end the process, also while the engine starts.

    Meanwhile vLLM's own handler raises KeyboardInterrupt, which its handshake with the engine catches and forgets: it
    would go on waiting, for ten minutes. So that becomes a SystemExit. `watch` is for the time after.
    """
    set_handler, before, process = signal.signal, [signal.getsignal(one) for one in SIGNALS], os.getpid()

    def wrapped(number: int, handler: Any) -> Any:
        is_ours = number == signal.SIGTERM and callable(handler) and os.getpid() == process
        return set_handler(number, _ending(handler) if is_ours else handler)

    signal.signal = wrapped  # type: ignore[assignment]
    try:
        for one, handler in zip(SIGNALS, before, strict=True):
            if handler != signal.SIG_IGN:  # as shells set it for what runs in the background
                set_handler(one, _ending(signal.default_int_handler))
        yield
    finally:
        signal.signal = set_handler
        for one, handler in zip(SIGNALS, before, strict=True):
            set_handler(one, handler)


def watch(engine: Any) -> None:
    """Note why a server that has started ends; called in its event loop.

    Args:
        engine: vLLM's engine. It has died if it had an error when the server first shuts it down; vLLM then exits as
            after an orderly end.
    """
    if engine is None:
        return
    shutdown, processes = engine.shutdown, multiprocessing.active_children()

    def noted(*arguments: Any, **named: Any) -> Any:
        engine.shutdown = shutdown
        if engine.errored and not asked:
            deaths.append(_death(processes))
        try:
            return shutdown(*arguments, **named)
        finally:
            requests.unanswerable = True

    engine.shutdown = noted
    requests.guard(engine)


def watch_signals() -> None:
    """Note SIGTERM, and end the server as SIGINT does; called in the event loop of a server that has started."""

    def terminated() -> None:
        asked.append(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)  # vLLM has the same handler for both

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated)


def status() -> int:
    """The exit status of this process after its server has ended."""
    if deaths:
        return 1
    return 128 + (asked[0] if asked else signal.SIGINT)  # vLLM returns for nothing else


def reasons() -> list[str]:
    """Lines that say why it ended."""
    if deaths:
        return deaths
    return [{signal.SIGTERM: "terminated", signal.SIGINT: "interrupted"}[signal.Signals(asked[0])]] if asked else []


def _death(processes: Sequence[BaseProcess]) -> str:
    """Words for the death of the engine, which ran in ``processes``."""
    for one in processes:
        if (code := one.exitcode or 0) < 0:
            number = -code
            hint = ", as the system does when memory runs out" if number == signal.SIGKILL else ""
            return f"the engine died: its process {one.name} was ended by {signal.Signals(number).name}{hint}"
    return "the engine died; its reason is in the log above"


def _ending(handler: Any) -> Any:
    def end(number: int, frame: Any) -> None:
        try:
            handler(number, frame)
        except KeyboardInterrupt:
            asked.append(number)
            raise SystemExit(status()) from None

    return end
