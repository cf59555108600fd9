"""The result of ``scope compare`` as text: tables that fit 80 columns for any number of methods and thetas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from scope_bench.compare.report import Comparison, Spread
from scope_core.cli.methods import is_file
from scope_core.cli.selections import by_note
from scope_core.commands import percent, table

NAME = 26
"""Width at which labels are cut off in the overlaps."""
CELL = 5
"""Width of a column of the overlaps: four characters and a gap."""

_RIGHT: dict[str, Any] = {"justify": "right", "no_wrap": True}


def tables(result: Comparison, *, width: int = 80) -> RenderableType:
    """The whole result, for the terminal.

    Args:
        result: The result.
        width: Columns of the terminal.
    """
    blocks: list[RenderableType] = [Text(_title(result), style="bold cyan"), *_numbers(result, width)]
    blocks.append(table([("", {"max_width": 12}), ""], legend(result), show_header=False, box=None, style="dim"))
    if len(result.methods) > 1:
        blocks += [Text("\noverlap (Jaccard): of the tokens that either method keeps, the share both keep")]
        blocks += _overlaps(result, width)
    if result.not_run:
        reasons: dict[str, list[str]] = {}
        for one in result.not_run:
            reasons.setdefault(one.reason, []).append(one.label)
        rows = [("\n".join(labels), reason) for reason, labels in reasons.items()]
        blocks += [table([("not run", {"max_width": NAME}), "why"], rows, show_lines=True)]
    return Group(*blocks)


def legend(result: Comparison) -> list[tuple[str, str]]:
    """The meaning of the columns, and notes about single methods: ``(key, text)``."""
    timing = result.timing
    lines = [("θ t", f"share of all tokens whose best cosine to a kept token is t or more, at '{result.judged_at}'")]
    if result.saliency is not None:
        lines.append(("saliency", f"share of the total '{result.saliency}' that lies on kept tokens"))
    if any(one.moving is not None for one in result.methods):
        theta = result.thetas[len(result.thetas) // 2]
        place = f"that changed since the frame before, by a cosine below {theta:g} to the token at their place"
        lines.append(("moving", f"share of the tokens {place}, with a kept token at {theta:g} or more"))
    runs = f"median of up to {timing.repeats} run{'' if timing.repeats == 1 else 's'}"
    where = f"in one process, threads: {timing.threads}, on {timing.device}"
    lines.append(("ms", f"selection alone, per image: {runs} {where}"))
    if len(result.photographs) > 1:
        lines.append(("a ±b", f"mean and standard deviation over {len(result.photographs)} images"))
    lines += [
        (f"* {runs_of(numbers)}", note) for note, numbers in by_note([one.notes for one in result.methods]).items()
    ]
    given = [*((m.label, m.given) for m in result.methods), *((n.label, n.given) for n in result.not_run)]
    lines += [("file", f"{label} is {text}") for label, text in given if is_file(text)]
    return [*lines, *(("note", text) for text in result.notes)]


def _title(result: Comparison) -> str:
    names = [one.image for one in result.photographs]
    tokens = sorted({one.tokens for one in result.photographs})
    what = ", ".join(names) if len(names) <= 3 else f"{len(names)} images"
    count = " to ".join(str(number) for number in dict.fromkeys((tokens[0], tokens[-1])))
    return f"{result.tower}: {what}; {count} tokens{' each' if len(names) > 1 else ''}"


def runs_of(numbers: Sequence[int]) -> str:
    """``1-3, 5`` for 1, 2, 3, 5."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _numbers(result: Comparison, width: int) -> list[RenderableType]:
    """One row per method; thetas that do not fit go to further tables."""
    thetas = [f"{theta:g}" for theta in result.thetas]
    several, longest = len(result.photographs) > 1, max(len(one.label) for one in result.methods)
    moving = any(one.moving is not None for one in result.methods)
    beside = 2 + 5 + longest + 2 + (25 if several else 23)  # edges, number, label; kept, saliency, ms
    beside += (11 if several else 8) * moving
    room = max(3, (width - beside) // (10 if several else 7))
    blocks: list[RenderableType] = []
    for start in range(0, len(thetas), room):
        some, first = thetas[start : start + room], start == 0
        left, right = (["kept"], [*(["moving"] * moving), "saliency", "ms"]) if first else ([], [])
        columns = [*_head(longest), *((text, _RIGHT) for text in (*left, *(f"θ {t}" for t in some), *right))]
        rows = []
        for number, one in enumerate(result.methods, 1):
            cells = [share(one.theta_coverage[theta]) for theta in some]
            if first:
                moved = [share(one.moving)] * moving
                cells = [_count(one.kept), *cells, *moved, share(one.saliency_share), f"{one.select_ms.mean:.1f}"]
            rows.append((f"{number}{'*' if one.notes else ' '}", one.label, *cells))
        blocks.append(table(columns, rows))
    return blocks


def _overlaps(result: Comparison, width: int) -> list[RenderableType]:
    """The lower half of a square of percentages; columns that do not fit go to further tables."""
    labels = [one.label for one in result.methods]
    name = min(NAME, max(map(len, labels)))
    room = max(1, (width - 2 - 4 - name - 1) // CELL)  # edges, number, label
    blocks: list[RenderableType] = []
    for start in range(0, len(labels) - 1, room):
        across = range(start, min(start + room, len(labels) - 1))
        columns = [*_head(name, cut=True), *((str(number + 1), {**_RIGHT, "min_width": CELL - 1}) for number in across)]
        rows = [
            (f"{row + 1} ", labels[row], *(_plain(result.overlap[row][at]) if at < row else "" for at in across))
            for row in range(start + 1, len(labels))
        ]
        blocks.append(table(columns, rows, padding=0))
    return blocks


def _head(width: int, *, cut: bool = False) -> list[Any]:
    """The columns of the number and the label; labels that do not fit are wrapped, or cut off."""
    how = {"no_wrap": True, "overflow": "ellipsis", "max_width": width} if cut else {"max_width": width}
    return [("", {**_RIGHT, "style": "dim"}), ("method", how)]


def share(found: Spread | None) -> str:
    """``92%``, or ``92% ±3`` over several images."""
    if found is None:
        return "n/a"
    return percent(found.mean) + ("" if found.std is None else f" ±{100 * found.std:.0f}")


def _plain(found: Spread | None) -> str:
    return "n/a" if found is None else percent(found.mean)


def _count(found: Spread) -> str:
    if found.min == found.max:
        return f"{found.mean:.0f}"
    return f"{found.mean:.0f} ±{found.std:.0f}" if found.std is not None else f"{found.mean:.0f}"
