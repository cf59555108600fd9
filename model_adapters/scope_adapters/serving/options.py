"""Options of vLLM, as a list of words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from scope_core import SpecError
from scope_core.adapters import quoted


def given(options: Sequence[str], name: str) -> str | None:
    """The value of one of vLLM's options; None if it is missing. vLLM accepts ``_`` for ``-``."""
    for number, word in enumerate(options):
        option, equals, value = word.partition("=")
        if option.replace("_", "-") == name:
            return value if equals else "".join(options[number + 1 : number + 2])
    return None


def user_overrides_in(options: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The user's ``--hf-overrides`` as a table, and the other options.

    Raises:
        SpecError: it is not a table in JSON, or an option would take the place of one that is set here.
    """
    text, rest, skip = given(options, "--hf-overrides"), [], False
    for word in options:
        name = word.partition("=")[0].replace("_", "-")
        if name.startswith("--hf-overrides."):
            raise SpecError(f"write '{word}' as a table: --hf-overrides '{{...}}'")
        if name.startswith("--hf-o") and name != "--hf-overrides":
            raise SpecError(f"'{name}': write --hf-overrides in full; vLLM would take the short form for all overrides")
        if name == "--model":
            raise SpecError("--model: the model is the first argument of `scope serve`, which checks it")
        if name != "--hf-overrides" and not skip:
            rest.append(word)
        skip = name == "--hf-overrides" and "=" not in word
    if text is None:
        return {}, rest
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"--hf-overrides {quoted(text)} is not JSON: {error}") from error
    if not isinstance(table, dict):
        raise SpecError(f"--hf-overrides {quoted(text)} is not a table; write '{{\"key\": value}}'")
    return table, rest
