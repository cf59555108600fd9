"""`progress_bar`: a bar with the time that remains, on a terminal or in a notebook."""

from __future__ import annotations

import contextlib
import html
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

Tell = Callable[[int, int], None]
"""``tell(done, total)``."""

STEADY = 600.0
"""Seconds over which the time that remains is estimated; rich's 30 are too few for steps that take longer."""


@contextlib.contextmanager
def progress_bar(text: str) -> Iterator[Tell]:
    """Show a progress bar on stderr if that is a terminal, or below the cell of a notebook; else nothing.

    Args:
        text: Name of the task.

    Yields:
        A function to call with (steps done, total steps).
    """
    if notebook() is not None:
        with _in_notebook(text) as tell:
            yield tell
        return
    from rich.console import Console

    bar, tell = rich_bar(text, Console(stderr=True, highlight=False))
    with bar:
        yield tell


def rich_bar(text: str, console: Any) -> tuple[Any, Tell]:
    """A rich progress bar, shown inside its ``with`` on a ``console`` that is a terminal, and what moves it."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    settings = {"console": console, "transient": True, "disable": not console.is_terminal}
    bar = Progress(*columns, TimeRemainingColumn(), speed_estimate_period=STEADY, **settings)
    task = bar.add_task(text, total=None)
    return bar, lambda done, total: bar.update(task, completed=done, total=total)


def notebook() -> Any:
    """The notebook's shell; None outside of notebooks."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell if getattr(shell, "kernel", None) is not None else None


@contextlib.contextmanager
def _in_notebook(text: str) -> Iterator[Tell]:
    display = sys.modules["IPython"].display
    handle = display.display(display.HTML(""), display_id=True)
    start = time.perf_counter()

    def tell(done: int, total: int) -> None:
        spent = time.perf_counter() - start
        left = f", {spent / done * (total - done):.0f} s remaining" if done else ""
        bar = f'<progress value="{done}" max="{total}"></progress>'
        handle.update(display.HTML(f"{html.escape(text)} {bar} {done} of {total}{left}"))

    try:
        yield tell
    finally:
        handle.update(display.HTML(""))
