"""Limits of a spec: how much it may hold, so that whatever is given is read or refused at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from scope_core.errors import SpecError, quoted

BYTES = 250_000
"""The largest spec file."""

VALUES = 10_000
"""Values in a spec, those in lists and tables counted, and each alias counted as what it stands for."""

DEPTH = 40
"""Tables and lists inside each other."""

TEXT = 4_000
"""Characters of one text."""


def check_size(value: Any, where: str) -> None:
    """Refuse a spec that holds more than a spec may.

    Args:
        value: The spec as plain data.
        where: The spec's name in messages.

    Raises:
        SpecError: it holds too many values, too long a text, tables in tables without end, or itself.
    """
    stack: list[Iterator[tuple[Any, Any]]] = [iter([("", value)])]
    path: list[Any] = []  # the tables and lists that the current value is inside of
    count, top = 0, ""
    while stack:
        step = next(stack[-1], None)
        if step is None:
            stack.pop()
            path = path[: len(stack) - 1]
            continue
        key, item = step
        count += 1
        if len(path) == 1:
            top = f", under {quoted(key)}"
        for text in (key, item):
            if isinstance(text, (str, bytes)) and len(text) > TEXT:
                raise SpecError(f"{where} holds a text of {len(text):,} characters{top}; at most {TEXT:,} are read")
        if isinstance(item, Iterator):
            raise SpecError(f"{where} holds {quoted(item)}{top}, which can be read only once; give a list")
        inner = _items(item)
        if count > VALUES or (inner is not None and len(item) > VALUES):
            raise SpecError(f"{where} holds more than {VALUES:,} values (each alias counts as what it stands for){top}")
        if inner is None:
            continue
        if any(item is outer for outer in path):
            raise SpecError(f"{where} holds itself{top}: a table or list may not be inside itself")
        if len(path) >= DEPTH:
            raise SpecError(f"{where} holds more than {DEPTH} tables or lists inside each other{top}")
        stack.append(inner)
        path.append(item)


def _items(value: Any) -> Iterator[tuple[Any, Any]] | None:
    """The keys and values of a table, or the values of a list; None for anything else."""
    if isinstance(value, Mapping):
        return iter(value.items())
    if isinstance(value, (Sequence, Set)) and not isinstance(value, (str, bytes, bytearray)):
        return (("", item) for item in value)
    return None
