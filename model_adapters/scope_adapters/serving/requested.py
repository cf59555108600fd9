"""What a request may say about pruning, as plain data: checked before a spec is read from it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from typing import Any

from scope_core import SpecError
from scope_core.adapters import is_file_name, quoted

KEY = "visual_pruner"
"""The key of the spec in ``hf_overrides`` and in ``mm_processor_kwargs``."""


def check(value: Any) -> None:
    """Refuse a value that is no spec, or that names a file: clients must not read files of the server.

    Raises:
        SpecError: says what to write instead.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str, dict)):
        raise SpecError(f"{quoted(value)} is not a spec; give a number of tokens, a recipe ('scope@32') or a table")
    if isinstance(value, str) and (number := _number(value)) is not None:
        raise SpecError(f"{quoted(value)} is a text; write the number without quotes: {number}")
    if (file := next(_files(value), None)) is not None:
        raise SpecError(
            f"{quoted(file)} is a file, and requests cannot name files of the server; give a recipe ('scope@32'), a "
            f"number of tokens or a table, or start the engine with a spec that names the file"
        )


def unknown_options(options: Mapping[str, Any]) -> str:
    """The reason to refuse a request's ``mm_processor_kwargs``; empty if they hold nothing but `KEY`."""
    unknown = [name for name in options if name != KEY]
    if not unknown:
        return ""
    close = f" Did you mean '{KEY}'?" if difflib.get_close_matches(unknown[0], [KEY]) else ""
    return (
        f"mm_processor_kwargs: a request may set '{KEY}' only, not {', '.join(map(quoted, unknown))}.{close} vLLM's "
        f"--mm-processor-kwargs sets options of the image processor for the whole engine"
    )


def _files(value: Any) -> Iterator[Any]:
    """What may be a file: texts that end like a spec file or hold a separator, and values of options called `file`."""
    stack = [("", value)]
    while stack:
        name, item = stack.pop()
        if isinstance(item, dict):
            stack += item.items()
        elif isinstance(item, list):
            stack += [(name, one) for one in item]
        elif isinstance(item, str) and (name == "file" or is_file_name(item) or {"/", "\\"} & set(item)):
            yield item


def _number(text: str) -> str | None:
    """The number that a text is, as JSON writes it; None if it is none."""
    share = text.strip().removesuffix("%")
    try:
        number = float(share)
    except ValueError:
        return None
    if share != text.strip():
        number /= 100
    return None if not math.isfinite(number) else f"{number:g}"
