"""Output of commands: results on stdout (tables or JSON), messages on stderr."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from scope_core.errors import ZooError, did_you_mean
from scope_core.progress import Tell, rich_bar

if TYPE_CHECKING:
    from scope_core.registry.entries import ZooEntry


def out() -> Console:
    """The console of results. New each time, since tests and pipes replace ``sys.stdout``."""
    return Console(highlight=False)


def err() -> Console:
    """The console of messages."""
    return Console(stderr=True, highlight=False)


def complain(message: str) -> None:
    """Print an error, in red, on stderr."""
    err().print(Text("error: ", style="bold red") + Text(message, style="red"), soft_wrap=True)


def warn(message: str) -> None:
    """Print a warning, in yellow, on stderr."""
    err().print(Text("warning: ", style="bold yellow") + Text(message), soft_wrap=True)


def note(message: str) -> None:
    """Print a note, on stderr."""
    err().print(Text("note: ", style="bold cyan") + Text(message), soft_wrap=True)


def done(message: str) -> None:
    """Print a success message, on stderr."""
    err().print(Text(message, style="green"), soft_wrap=True)


def show_json(data: Any) -> None:
    """Print ``data`` as pure JSON on stdout; NaN and infinity become null."""
    unicode = (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")
    typer.echo(json.dumps(_finite(data), indent=2, ensure_ascii=not unicode))


def _finite(data: Any) -> Any:
    if isinstance(data, float) and not math.isfinite(data):
        return None
    if isinstance(data, dict):
        return {str(key): _finite(value) for key, value in data.items()}
    return [_finite(value) for value in data] if isinstance(data, (list, tuple)) else data


def cell(value: Any, style: str = "") -> RenderableType:
    """``value`` for a table; brackets in texts are not markup."""
    return Text(value, style=style) if isinstance(value, str) else value


def table(columns: Sequence[str | tuple[str, dict[str, Any]]], rows: Sequence[Sequence[Any]], **options: Any) -> Table:
    """A plain table.

    Args:
        columns: Headers, with options of the rich column if needed.
        rows: Texts or rich renderables.
        options: Options of the rich table.
    """
    settings: dict[str, Any] = {
        "box": box.SIMPLE_HEAD,
        "pad_edge": False,
        "padding": (0, 1, 0, 0),
        "header_style": "bold",
        **options,
    }
    result = Table(**settings)
    for column in columns:
        name, how = (column, {}) if isinstance(column, str) else column
        result.add_column(name, **{"overflow": "fold", **how})
    for row in rows:
        result.add_row(*map(cell, row))
    return result


@contextlib.contextmanager
def working(text: str) -> Iterator[None]:
    """Show a spinner on stderr, if that is a terminal; output of code inside goes to stderr, too."""
    console = err()
    status = console.status(Text(text)) if console.is_terminal else contextlib.nullcontext()
    with status, contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def loading(entry: ZooEntry, text: str = "") -> Iterator[None]:
    """`working` while a zoo entry is loaded; log lines of its package, such as downloads, become notes."""
    logger = logging.getLogger(entry.target.partition(":")[0].partition(".")[0])
    shower, before = _Notes(logging.INFO), logger.level
    logger.addHandler(shower)
    logger.setLevel(min(logger.getEffectiveLevel(), logging.INFO))
    try:
        with working(text or f"loading {entry.name}"):
            yield
    finally:
        logger.removeHandler(shower)
        logger.setLevel(before)


class _Notes(logging.Handler):
    """Shows log records as notes and warnings."""

    def emit(self, record: logging.LogRecord) -> None:
        (warn if record.levelno >= logging.WARNING else note)(record.getMessage())


@contextlib.contextmanager
def progress(text: str, *, log: bool = False) -> Iterator[Tell]:
    """Show a progress bar on stderr, if that is a terminal; output of code inside goes to stderr, too.

    Args:
        text: Name of the task.
        log: True to write a line at every tenth without a terminal, for tasks that take hours.

    Yields:
        A function to call with (steps done, total steps).
    """
    (bar, move), tenths = rich_bar(text, err()), -1

    def tell(made: int, total: int) -> None:
        nonlocal tenths
        move(made, total)
        if log and bar.disable and 10 * made // total > tenths:
            tenths = 10 * made // total
            note(f"{text}: {made} of {total}")

    with contextlib.redirect_stdout(sys.stderr), bar:
        yield tell


def plain_text(shown: RenderableType, *, width: int = 80) -> str:
    """The text on a terminal without colours and with ``width`` columns."""
    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False)
    with console.capture() as capture:
        console.print(shown)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def check_out(path: Path | None, suffixes: Sequence[str] = (), *, option: str = "--out") -> None:
    """Refuse a file that cannot be written, before any work is done.

    Raises:
        typer.BadParameter: the folder does not exist, or the ending is not one of ``suffixes``.
    """
    if path is None:
        return
    if suffixes and path.suffix.lower() not in suffixes:
        raise typer.BadParameter(f"'{path}' must end in one of {', '.join(suffixes)}", param_hint=f"'{option}'")
    if path.is_dir():
        raise typer.BadParameter(f"'{path}' is a folder; give a file name in it", param_hint=f"'{option}'")
    if not path.parent.is_dir():
        beside = path.parent.parent
        near = did_you_mean(path.parent.name, [p.name for p in beside.iterdir()]) if beside.is_dir() else ""
        raise typer.BadParameter(
            f"folder '{path.parent}' does not exist{near}; create it first", param_hint=f"'{option}'"
        )


def make_folder(folder: Path | None, plot: str) -> None:
    """Create a folder for results before any work is done; warn if ``plot`` cannot be drawn.

    Raises:
        ZooError: it cannot be created.
    """
    if folder is None:
        return
    if importlib.util.find_spec("matplotlib") is None:
        warn(f"matplotlib is not installed, so no {plot} is drawn: pip install matplotlib")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZooError(f"folder '{folder}' cannot be created: {error.strerror or error}") from error


def write_text(path: Path, text: str) -> None:
    """Write a result to a file.

    Raises:
        ZooError: it cannot be written.
    """
    with writing(path):
        path.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn failures to write ``path`` into errors that name it."""
    try:
        yield
    except OSError as error:
        raise ZooError(f"'{path}' cannot be written: {error.strerror or error}") from error
    done(f"wrote {path}")
