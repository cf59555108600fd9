"""Short texts and small HTML for objects, on a console and in notebooks."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from scope_core.errors import quoted

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST = 200
"""The most characters of `brief_repr`."""
MOST_ROWS = 12
"""The most rows of a table in a notebook."""


def brief(value: Any, longest: int = 60) -> str:
    """A value in a few characters: a tensor as its shape and dtype, other values as a shortened ``repr``."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if dtype is not None and isinstance(shape, tuple):
        return f"{tuple(shape)} {str(dtype).removeprefix('torch.')}"
    return quoted(value, longest)


def brief_repr(self: Any) -> str:
    """``Class(field=value, ...)`` of a dataclass, for ``__repr__``: no tensors, no defaults, at most `LONGEST`."""
    shown = []
    for field in fields(self):
        value = getattr(self, field.name, None)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        plain = isinstance(value, (str, int, float, tuple, dict))
        if field.repr and not (value is default or (plain and value == default)):
            shown.append(f"{field.name}={brief(value)}")
    return shortened(f"{type(self).__name__}({', '.join(shown)})")


def shortened(text: str, longest: int = LONGEST) -> str:
    """``text``, cut with dots if it is longer than ``longest`` characters."""
    return text if len(text) <= longest else f"{text[: longest - 4]}...{text[-1]}"


def counted(count: int, noun: str) -> str:
    """``"1 image"``, ``"2 images"``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def card(title: str, *blocks: str, aside: str = "") -> str:
    """A small block of HTML: a title, a text beside it, and blocks of HTML below. Colours are those of the page."""
    beside = f' <span style="opacity:.65">{html.escape(aside)}</span>' if aside else ""
    below = "".join(f'<div style="margin-top:6px">{block}</div>' for block in blocks if block)
    return (
        f'<div style="border-left:3px solid #2f6fde;padding:2px 0 2px 10px;margin:4px 0">'
        f"<div><b>{html.escape(title)}</b>{beside}</div>{below}</div>"
    )


def facts_html(facts: Iterable[tuple[str, Any]]) -> str:
    """A table of names and values; values that are empty are left out."""
    cell = '<td style="text-align:left;vertical-align:top;padding:1px 12px 1px 0'
    rows = (
        f'<tr>{cell};opacity:.65">{html.escape(name)}</td>{cell}">{html.escape(str(value))}</td></tr>'
        for name, value in facts
        if str(value)
    )
    return f"<table>{''.join(rows)}</table>"


def table_html(columns: Sequence[str], rows: Sequence[Sequence[Any]], most: int = MOST_ROWS) -> str:
    """A table with a row of headings; after ``most`` rows it says how many more there are."""
    style = 'style="text-align:left;padding:1px 12px 1px 0"'
    head = "".join(f"<th {style}>{html.escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td {style}>{html.escape(str(value))}</td>" for value in row) + "</tr>"
        for row in rows[:most]
    )
    if len(rows) > most:
        body += f'<tr><td colspan="{len(columns)}" style="opacity:.65">and {len(rows) - most:,} more</td></tr>'
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def code_html(text: str) -> str:
    """Text with its line breaks, in letters of one width."""
    return f'<pre style="margin:0;white-space:pre-wrap">{html.escape(text)}</pre>'


def image_html(image: Image, alt: str) -> str:
    """An image inside the page."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(alt)}" style="margin-right:6px" src="data:image/png;base64,{data}">'
