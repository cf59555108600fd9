"""The server of the page: on this machine alone, with its files in a folder that goes with it."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import tempfile
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scope_core import ZooError
from scope_demo.guard import Guard
from scope_demo.photos import BYTES

if TYPE_CHECKING:
    from scope_demo.demo import Demo

HOST = "127.0.0.1"
TRIES = 50
"""Ports that are tried one after another."""
GRACE = 1
"""Seconds that open connections get when the server stops."""


def free_socket(port: int | None, *, first: int) -> socket.socket:
    """A socket on the loopback interface.

    Args:
        port: Its port; None for the first free one.
        first: The first port that is tried.

    Raises:
        ZooError: the port is taken.
    """
    for one in (port,) if port is not None else range(first, first + TRIES):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, one))
        except OSError as error:
            listener.close()
            reason = error.strerror or str(error)
            continue
        return listener
    if port is not None:
        raise ZooError(f"port {port} cannot be used: {reason}; give another --port, or none for a free one")
    raise ZooError(f"no port from {first} to {first + TRIES - 1} is free; give one with --port")


def serve(demo: Demo, listener: socket.socket, *, opened: str = "", ready: Callable[[], Any] = lambda: None) -> None:
    """Serve the page until the process is told to stop.

    Args:
        demo: What the page asks.
        listener: A bound socket.
        opened: The address to open in the browser; empty for none.
        ready: Called when the server answers.
    """
    import uvicorn

    with temporary_folder() as folder:
        config = uvicorn.Config(
            app_of(demo, folder), log_level="error", timeout_graceful_shutdown=GRACE, lifespan="on", server_header=False
        )
        server = uvicorn.Server(config)
        server.capture_signals = nullcontext  # uvicorn's would end the process before the folder is removed

        async def run() -> None:
            loop = asyncio.get_running_loop()
            for one in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(one, stop, server)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            while not server.started and not serving.done():
                await asyncio.sleep(0.05)
            if server.started:
                ready()
                if opened:
                    webbrowser.open(opened)
            await serving

        try:
            asyncio.run(run())
        finally:
            listener.close()


def stop(server: Any) -> None:
    """Tell the server to stop; requests that are cut off by that are no errors to report."""
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    server.should_exit = True


def app_of(demo: Demo, folder: Path) -> Any:
    """The application: Gradio's, behind `Guard`."""
    import gradio as gr
    from fastapi import FastAPI

    from scope_demo.page.build import build, css, theme

    demo.folder = folder
    page = build(demo)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, folder=folder)
    app = gr.mount_gradio_app(
        app,
        page,
        path="",
        server_name=HOST,
        allowed_paths=[],
        blocked_paths=[],
        max_file_size=BYTES,
        show_error=False,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=theme(),
        css=css(),
    )
    # Gradio checks that a file which a request names was uploaded only in pages that say that they are running
    page.has_launched = page.is_running = True
    return app


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for everything that is written meanwhile, uploads too; it is removed at the end.

    Python's own folder for temporary files is this one until then, since Gradio has no other setting but an environment
    variable.

    Raises:
        ScopeError: it cannot be made.
    """
    before = tempfile.tempdir
    try:
        folder = tempfile.TemporaryDirectory(prefix="scope-demo-", ignore_cleanup_errors=True)
    except OSError as error:
        raise ZooError(f"no folder for temporary files can be made: {error.strerror or error}") from error
    with folder as name:
        tempfile.tempdir = name
        try:
            yield Path(name).resolve()
        finally:
            tempfile.tempdir = before
