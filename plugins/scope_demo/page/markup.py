"""Texts and numbers as HTML; everything that comes from a visitor, a model or a plugin is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from scope_demo.specs import Mistake


def alert(text: str) -> str:
    """A message about something that went wrong; empty for no text."""
    return f'<div class="sd-alert" role="alert">{escape(text)}</div>' if text else ""


def notes(texts: Sequence[str]) -> str:
    """Notes, one below the other."""
    return "".join(f'<p class="sd-note">{escape(text)}</p>' for text in texts)


def mistakes(text: str, found: Sequence[Mistake]) -> str:
    """The mistakes of a spec, each below the line that it is on."""
    if not found:
        return ""
    lines = text.split("\n")
    shown = "".join(_mistake(lines, one) for one in found)
    marked = ",".join(str(one.line) for one in found if one.line is not None)
    return f'<div role="alert" data-lines="{marked}">{shown}</div>'


def _mistake(lines: Sequence[str], one: Mistake) -> str:
    place = ""
    if one.line is not None and one.line <= len(lines):
        place = f'<span class="sd-place">line {one.line}: <mark>{escape(lines[one.line - 1][:300])}</mark></span>'
    return f'<div class="sd-alert">{place}{escape(one.text)}</div>'


def answers(rows: Sequence[dict[str, Any]], question: str, right: str, *, waiting: int = 0) -> str:
    """The answers as a table.

    Args:
        rows: See `Demo.answers`.
        question: The question.
        right: The right answer; empty if unknown.
        waiting: Methods whose answers are still to come.
    """
    head = ("method", "answer", "compared", "visual tokens", "prompt", "selection, ms", "language model, ms")
    body = "".join(_answer(row) for row in rows)
    body += "<tr><td>...</td>" + "<td></td>" * (len(head) - 1) + "</tr>" if waiting else ""
    tower = next((row["tower_ms"] for row in rows if row.get("tower_ms") is not None), None)
    times = "Times are of this machine, for one call."
    if tower is not None:
        times += f" The vision tower took {tower:,.0f} ms, once for all methods at its point."
    if any(row.get("tower") for row in rows):
        times += " * with tower and selection, which cannot be timed apart."
    return (
        f"<p>{escape(question)}{f' Right: <b>{escape(right)}</b>.' if right else ''}</p>"
        + table(head, body, numbers=range(3, 7))
        + f"<p class='sd-small'>{times}</p>"
    )


def _answer(row: dict[str, Any]) -> str:
    label = f"<th scope='row'>{escape(row['label'])}</th>"
    if "error" in row:
        return f"<tr>{label}<td colspan='6'>{alert(row['error'])}</td></tr>"
    said = {True: "same", False: "differs", None: ""}[row["same"]]
    right = {True: "right", False: "wrong", None: ""}[row["right"]]
    verdict = ", ".join(word for word in (right, said) if word)
    star = "*" if row["tower"] else ""
    cells = (
        _number(row["visual"], "{:,d}"),
        _number(row["prompt"], "{:,d}"),
        _number(row["select_ms"], "{:,.1f}"),
        _number(row["ms"], "{:,.0f}") + star,
    )
    numbers = "".join(f"<td class='number'>{cell}</td>" for cell in cells)
    return f"<tr>{label}<td class='answer'>{escape(row['text'])}</td><td>{verdict}</td>{numbers}</tr>"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def table(head: Sequence[Any], body: str, *, numbers: Sequence[int] = ()) -> str:
    """A table that scrolls by itself on narrow screens.

    Args:
        head: Texts of the first row.
        body: Its other rows, as HTML.
        numbers: Columns that hold numbers.
    """
    cells = "".join(
        f"<th scope='col'{' class=number' if column in numbers else ''}>{escape(str(text))}</th>"
        for column, text in enumerate(head)
    )
    return (
        "<div class='sd-table' tabindex='0' role='region' aria-label='table'>"
        f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def curve(address: str, rows: Sequence[Sequence[Any]], theta: float, texts: Sequence[str]) -> str:
    """The curve, and its numbers as a table."""
    if not address:
        return notes(texts) or "<p>Choose a method.</p>"
    head, *lines = rows
    body = "".join(
        f"<tr><th scope='row'>{escape(str(name))}</th>"
        + "".join(f"<td class='number'>{value:.1%}</td>" for value in values)
        + "</tr>"
        for name, *values in lines
    )
    names = ", ".join(str(line[0]) for line in lines)
    text = (
        f"theta-coverage at {theta:g} over the number of kept tokens, for {names}; the numbers are in the table below"
    )
    return (
        f"<div class='sd-curve'><img src='{address}' alt='{escape(text, quote=True)}'></div>"
        f"<details><summary>The numbers</summary>{table(head, body, numbers=range(1, len(head)))}</details>"
        + notes(texts)
    )


def refused(reasons: dict[str, str]) -> str:
    """The recipes that do not run here, with the reasons."""
    body = "".join(
        f"<tr><th scope='row'>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in reasons.items()
    )
    return table(("recipe", "why it does not run here"), body)
