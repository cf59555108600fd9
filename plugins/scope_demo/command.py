"""``scope demo``: options, and the steps from a name to a page that is served."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scope_core import MissingDependencyError
from scope_core.commands import CACHE_DIR, loading, note, state_of, working

if TYPE_CHECKING:
    from scope_core.adapters import ZooEntry
    from scope_core.commands import State
    from scope_demo.subject import Subject

PORT = 7860
"""The first port that is tried; Gradio's usual one."""


def demo(
    ctx: typer.Context,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="A zoo model.", show_default="see `scope models`")
    ] = None,
    tower: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A zoo tower instead of a model: no answers.", show_default=False),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=65535, help="Port.", show_default=f"the first free one from {PORT}"),
    ] = None,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
    cache_dir: Annotated[Path | None, CACHE_DIR] = None,
) -> None:
    """Open a local web page to try methods on your own photographs. Only this machine can reach it."""
    if model is not None and tower is not None:
        raise typer.BadParameter("give a model or a tower, not both", param_hint="'--tower'")
    if importlib.util.find_spec("gradio") is None:
        raise MissingDependencyError("the page needs Gradio: pip install 'scope-core[web]'")
    state = state_of(ctx, cache_dir=cache_dir)
    entry = state.zoo("model" if tower is None else "tower", model if tower is None else tower).item

    from scope_demo.server import free_socket, serve

    socket = free_socket(port, first=PORT)
    with loading(entry):
        subject = subject_of(entry, state)
    with working("making the page"):
        from scope_demo.demo import Demo

        page = Demo(subject, state.registry)
    address = f"http://127.0.0.1:{socket.getsockname()[1]}"
    serve(
        page, socket, opened=address if show else "", ready=lambda: note(f"{entry.name}: {address} (Ctrl+C stops it)")
    )


def subject_of(entry: ZooEntry, state: State) -> Subject:
    """The model or tower of a zoo entry, loaded."""
    loaded = entry.load()
    if entry.kind == "tower":
        from scope_demo.tower import TowerSubject

        return TowerSubject(entry.name, loaded, state.registry)
    from scope_demo.model import ModelSubject

    return ModelSubject(loaded, state.registry)
