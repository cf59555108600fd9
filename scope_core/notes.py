"""Notes on errors: which third-party code raised an error, shown under its message."""

from __future__ import annotations


def add_note(error: BaseException, note: str) -> None:
    """Add a line under the error's message, as ``error.add_note`` of Python 3.11 does; works on 3.10 too."""
    if hasattr(error, "add_note"):
        error.add_note(note)
    else:
        note_in_message(error, note)


def note_in_message(error: BaseException, note: str) -> None:
    """Put the note into the message or the cause of the error, for Python 3.10, whose tracebacks show no notes."""
    error.__notes__ = [*getattr(error, "__notes__", ()), note]  # type: ignore[attr-defined]
    first, *rest = error.args or ("",)
    if isinstance(first, str):
        error.args = (f"{first}\n{note}" if first else note, *rest)
    if note in str(error):
        return
    # OSError and pydantic's errors do not print their first argument; tracebacks show causes, so add the note as one
    last = error
    while last.__cause__ is not None:
        last = last.__cause__
    cause = RuntimeError(note)
    cause.__context__ = None if last.__suppress_context__ else last.__context__
    last.__cause__ = cause


def notes_beside(error: BaseException) -> list[str]:
    """The error's notes that its message does not contain."""
    text = str(error)
    return [note for note in getattr(error, "__notes__", ()) if note not in text]
