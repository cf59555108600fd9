"""Notes reach whoever reads the error, on a Python without notes as well."""

from __future__ import annotations

import traceback

import pydantic
import pytest

from scope_core.notes import add_note, note_in_message, notes_beside

NOTE = "raised by score() of saliency 'acme.bad'"


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def invalid() -> pydantic.ValidationError:
    with pytest.raises(pydantic.ValidationError) as caught:
        pydantic.TypeAdapter(int).validate_python("x")
    return caught.value


ERRORS = {
    "message": lambda: ValueError("no such token"),
    "empty": ZeroDivisionError,
    "key": lambda: KeyError("clip"),
    "os": lambda: FileNotFoundError(2, "No such file"),
    "pydantic": invalid,
}


@pytest.mark.parametrize("add", [add_note, note_in_message])
@pytest.mark.parametrize("kind", ERRORS)
def test_a_traceback_shows_every_note_and_the_message(kind, add):
    error = ERRORS[kind]()
    before = str(error).strip("'")
    for note in (NOTE, "raised by the second"):
        add(error, note)
    text = shown(error)
    assert all(part in text for part in (before, NOTE, "raised by the second"))
    assert error.__notes__ == [NOTE, "raised by the second"]


def test_the_chain_of_errors_stays_in_the_traceback():
    error = FileNotFoundError(2, "No such file")
    error.__cause__ = LookupError("cause")
    note_in_message(error, NOTE)
    assert all(part in shown(error) for part in ("cause", NOTE, "No such file"))


@pytest.mark.parametrize("kind", ERRORS)
def test_a_command_shows_each_note_once(kind):
    noted, in_message = ERRORS[kind](), ERRORS[kind]()
    add_note(noted, NOTE)
    note_in_message(in_message, NOTE)
    for error in (noted, in_message):
        assert (NOTE in str(error)) != (NOTE in notes_beside(error))
