"""Messages that the tables of the documentation quote are messages of the code."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from architecture.sources import everything

from docs.pages import PAGES, blocks, name_of

TABLE = re.compile(r"^\| message \|[^\n]*\n\|[-| ]+\|\n((?:\|[^\n]*\n)+)", re.MULTILINE)


def quotes(text: str) -> list[str]:
    """What stands between backticks in the first column of tables of messages; ``...`` stands for what varies."""
    cells = (row.split(" | ")[0] for table in TABLE.findall(text) for row in table.splitlines())
    return [quote for cell in cells for quote in re.findall(r"`([^`]+)`", cell)]


@cache
def files() -> tuple[str, ...]:
    """The texts in each file, without docstrings; a text ends where an f-string holds an expression."""
    return tuple("\n".join(text for text, _ in source.strings()) for source in everything())


def is_quoted_right(quote: str, page: str) -> bool:
    """True if one file of the code, or what a block of the page prints, has all pieces of the quote."""
    pieces = [piece.strip(" `") for piece in quote.split("...") if piece.strip(" `")]
    shown = [block.body for block in blocks(page) if block.language == "text"]  # compared with the output elsewhere
    return any(all(piece in text for piece in pieces) for text in (*files(), *shown))


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=name_of(page)) for page in PAGES if quotes(page.read_text("utf-8"))]
)
def test_quoted_messages_are_those_of_the_code(page: Path) -> None:
    text = page.read_text("utf-8")
    assert [quote for quote in quotes(text) if not is_quoted_right(quote, text)] == []


def test_a_quote_that_no_message_has_is_noticed() -> None:
    page = "| message | do |\n|---|---|\n| `prompt pruned, too`, `prompt pruned as well` | nothing |\n"
    assert [is_quoted_right(quote, page) for quote in quotes(page)] == [True, False]
