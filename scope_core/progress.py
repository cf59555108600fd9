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
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task(text, total=None)
    with bar:
        yield lambda done, total: bar.update(task, completed=done, total=total)


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
