"""Notes on errors: where an error of third-party code came from, shown under its message."""

from __future__ import annotations


def add_note(error: BaseException, note: str) -> None:
    """A line under the error's message, as ``error.add_note`` of Python 3.11 adds it; on 3.10 too."""
    if hasattr(error, "add_note"):
        error.add_note(note)
    else:
        note_in_message(error, note)


def note_in_message(error: BaseException, note: str) -> None:
    """The note as part of what a traceback shows; for Python 3.10, whose tracebacks show no notes."""
    error.__notes__ = [*getattr(error, "__notes__", ()), note]  # type: ignore[attr-defined]
    first, *rest = error.args or ("",)
    if isinstance(first, str):
        error.args = (f"{first}\n{note}" if first else note, *rest)
    if note in str(error):
        return
    # its text is not its first argument (OSError, errors of pydantic): the traceback shows causes, so the note is one
    last = error
    while last.__cause__ is not None:
        last = last.__cause__
    cause = RuntimeError(note)
    cause.__context__ = None if last.__suppress_context__ else last.__context__
    last.__cause__ = cause


def notes_beside(error: BaseException) -> list[str]:
    """The notes that the error's own text does not show."""
    text = str(error)
    return [note for note in getattr(error, "__notes__", ()) if note not in text]
