"""Pieces of Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

WIDTH = 88
"""Longest line of YAML that holds more than one value."""


def paper_links(paper: str) -> list[str]:
    """Papers as links to arXiv: "SCOPE, arXiv 2510.24214" as "[SCOPE](https://arxiv.org/abs/2510.24214)"."""
    about = re.split("[:;]", paper)[0]
    number = re.search(r", arXiv ([\w.]+)", about)
    return [f"[{about.replace(number[0], '')}](https://arxiv.org/abs/{number[1]})"] if number else [about] * bool(about)


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def wrapped(text: str) -> str:
    """A paragraph in lines of at most 120 characters."""
    return "\n".join(textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False))


def code(words: Iterable[str]) -> str:
    """Words as code, with commas between them."""
    return ", ".join(f"`{word}`" for word in words)


def yaml_line(value: Any) -> str:
    """A value as YAML writes it on one line."""
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    return text.removesuffix("\n").removesuffix("...").strip()


def yaml_lines(table: Mapping[str, Any], pad: str = "") -> str:
    """A table as YAML: each value on one line if that is short, else one line for each of its items."""
    lines = []
    for key, value in table.items():
        line = f"{pad}{key}: {yaml_line(value)}"
        if len(line) <= WIDTH or not value or not isinstance(value, (dict, list)):
            lines.append(line)
        elif isinstance(value, dict):
            lines += [f"{pad}{key}:", yaml_lines(value, f"{pad}  ")]
        else:
            lines.append(f"{pad}{key}:")
            for item in value:
                line = f"{pad}  - {yaml_line(item)}"
                inside = yaml_lines(item, f"{pad}    ") if len(line) > WIDTH and isinstance(item, dict) else ""
                lines.append(f"{pad}  - {inside.lstrip()}" if inside else line)
    return "\n".join(lines)


def changes(one: Any, other: Any, path: str = "") -> list[tuple[str, Any]]:
    """``(path, value)`` of everything in ``other`` that differs from ``one``; parts of another name are given whole."""
    if one == other:
        return []
    if isinstance(one, Mapping) and isinstance(other, Mapping) and one.get("name") == other.get("name"):
        keys = [key for key in other if key != "name"]
        return [found for key in keys for found in changes(one.get(key), other[key], f"{path}.{key}".lstrip("."))]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other) and isinstance(other[0], Mapping):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for number, (a, b) in pairs for found in changes(a, b, f"{path}.{number}")]
    return [(path, other)]
