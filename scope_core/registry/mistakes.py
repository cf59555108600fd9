"""Mistakes of a spec, collected so that all of them are reported at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from scope_core.errors import listed, quoted

MOST = 12
"""Unknown options of one table that are reported one by one."""


MANY = 200
"""Parts or stages in one list."""


def check_many(items: Sequence[Any], what: str) -> None:
    """Refuse a list of more parts or stages than any pruner has.

    Raises:
        PydanticCustomError: says how many there are.
    """
    if len(items) > MANY:
        text = f"{len(items):,} {what} in one list; at most {MANY} are read"
        raise PydanticCustomError("scope_list_wanted", "{text}", {"text": text})


def mistake(kind: str, text: str, *place: str | int, given: Any = None) -> InitErrorDetails:
    """One mistake: its kind (``"scope_unknown_option"``), what is wrong, and its place in the table."""
    return InitErrorDetails(type=PydanticCustomError(kind, "{text}", {"text": text}), loc=place, input=given)


def mistakes_of(error: ValidationError) -> list[InitErrorDetails]:
    """The mistakes that a validation found."""
    return [
        mistake(issue["type"], issue["msg"], *issue["loc"], given=issue["input"])
        for issue in error.errors(include_url=False)
    ]


def raise_all(title: str, mistakes: Iterable[InitErrorDetails]) -> None:
    """Raise one ValidationError with all mistakes; does nothing without any."""
    found = list(mistakes)
    if found:
        raise ValidationError.from_exception_data(title, found)


def known_options(
    data: Mapping[Any, Any], known: Collection[str], complain: Callable[[str, str], str]
) -> tuple[dict[str, Any], list[InitErrorDetails]]:
    """The options of a table that exist, and a mistake for each that does not.

    Args:
        data: The table.
        known: Names of the options that exist.
        complain: The message about an option that does not exist, given it and the list of options (once a table).
    """
    wrong = [key for key in data if key not in known]
    options = f". Options: {listed(name for name in known if name != 'name')}"
    found: list[InitErrorDetails] = []
    for key in wrong[:MOST]:
        text = complain(key, "" if found else options) if isinstance(key, str) else _key_text(key)
        found.append(mistake("scope_unknown_option", text, str(key)))
    if len(wrong) > MOST:
        text = f"and {len(wrong) - MOST:,} further options that do not exist"
        found.append(mistake("scope_unknown_option", text, str(wrong[MOST])))
    return {key: value for key, value in data.items() if key in known}, found


def check_keys(data: Mapping[Any, Any]) -> None:
    """Refuse a table whose keys are not all text."""
    for key in data:
        if not isinstance(key, str):
            raise PydanticCustomError("scope_unknown_option", "{text}", {"text": _key_text(key)})


def _key_text(key: Any) -> str:
    hint = "; YAML reads an unquoted on, off, yes or no as true or false" if isinstance(key, bool) else ""
    return f"there is no option {quoted(key)}: names of options must be text{hint}"
