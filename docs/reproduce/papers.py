"""The table of a paper: its cells, the published numbers, and the measured ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FIELDS = {"title", "pretrained", "model_args", "arguments", "tokens", "budgets", "common", "strategies", "columns"}
FULL = "full"
"""The method that prunes nothing; the averages of the others are relative to it."""


class TableError(SystemExit):
    """A wrong table file or result."""


@dataclass(frozen=True)
class Column:
    """A column: the sum of ``metrics`` of an lmms-eval task, times a factor."""

    name: str
    task: str
    metrics: tuple[str, ...]
    times: float = 1.0
    judge: bool = False

    def value(self, results: Mapping[str, Any]) -> float:
        """From the metrics of the task, as lmms-eval names them.

        Raises:
            TableError: one is missing or not a number.
        """
        found = [results.get(metric, results.get(f"{metric},none")) for metric in self.metrics]
        if not all(isinstance(value, int | float) for value in found):
            raise TableError(f"{self.task} gave {found} for {', '.join(self.metrics)}; it has {', '.join(results)}")
        return self.times * sum(found)


@dataclass(frozen=True)
class Cell:
    """One evaluation: a method (`strategy`), a budget (None for all tokens), a task of lmms-eval."""

    strategy: str
    keep: int | None
    task: str

    @property
    def row(self) -> str:
        """The row it belongs to, e.g. ``scope@64``."""
        return self.strategy if self.keep is None else f"{self.strategy}@{self.keep}"

    def __str__(self) -> str:
        return f"{self.row}, {self.task}"


@dataclass(frozen=True)
class Table:
    """A table, as in its file."""

    name: str
    text: Mapping[str, Any]
    columns: tuple[Column, ...]

    @classmethod
    def read(cls, path: Path) -> Table:
        """From YAML.

        Raises:
            TableError: something is missing or unknown; a published number is in no row or column.
        """
        text = yaml.safe_load(path.read_text("utf-8"))
        if missing := FIELDS - {"common", "model_args", "arguments"} - set(text):
            raise TableError(f"{path}: {', '.join(sorted(missing))} missing")
        if unknown := set(text) - FIELDS - {"published"}:
            raise TableError(f"{path}: unknown keys {', '.join(sorted(unknown))}; allowed are {sorted(FIELDS)}")
        columns = tuple(
            Column(name, it["task"], tuple(it["metrics"]), it.get("times", 1), it.get("judge", False))
            for name, it in text["columns"].items()
        )
        table = cls(path.stem, text, columns)
        rows, names = set(table.rows()), set(text["columns"])
        for source in text.get("published", ()):
            for row, numbers in source["rows"].items():
                if row not in rows or set(numbers) - names:
                    raise TableError(
                        f"{path}: {source['cite']}: there is no row '{row}', or no column of {set(numbers) - names}"
                    )
        return table

    def rows(self) -> Iterator[str]:
        """Rows in their order: all tokens, then budget by budget."""
        yield from (row for row, _, _ in self.runs())

    def runs(self) -> Iterator[tuple[str, str, int | None]]:
        """(row, method, budget), in the order of the table."""
        yield FULL, FULL, None
        for keep in self.text["budgets"]:
            for name in self.text["strategies"]:
                if name != FULL:
                    yield f"{name}@{keep}", name, keep

    def cells(self, judged: bool = False) -> list[Cell]:
        """All evaluations; a task that several columns read occurs once."""
        tasks = dict.fromkeys(column.task for column in self.columns if judged or not column.judge)
        return [Cell(name, keep, task) for _, name, keep in self.runs() for task in tasks]

    def spec(self, cell: Cell) -> Any:
        """The pruner of a cell: "none", a short text, or a mapping."""
        chosen = self.text["strategies"][cell.strategy]
        if cell.keep is None:
            return "none"
        spec = {**self.text.get("common", {}), **chosen}
        if set(spec) == {"recipe"}:
            return f"{spec['recipe']}@{cell.keep}"
        return {**spec, "budget": {**spec.get("budget", {"name": "tokens"}), "keep": cell.keep}}

    def report(self, measured: Mapping[Cell, Mapping[str, Any]]) -> str:
        """The table in Markdown: measured numbers, published ones in brackets, and shares of the score with all tokens.

        Args:
            measured: Metrics of the measured cells.
        """
        sources = self.text.get("published", ())
        names = [column.name for column in self.columns]
        values = {
            row: [
                c.value(measured[Cell(s, k, c.task)]) if Cell(s, k, c.task) in measured else None for c in self.columns
            ]
            for row, s, k in self.runs()
        }
        lines = [
            f"| {self.text['title']} | {' | '.join(names)} | of all tokens |",
            f"|---|{'---:|' * (len(names) + 1)}",
        ]
        for row, numbers in values.items():
            published = [
                [f"{p['rows'][row][n]:g}{p['mark']}" for p in sources if n in p["rows"].get(row, {})] for n in names
            ]
            if all(number is None for number in numbers) and not any(published):
                continue
            shown = [
                " ".join(["-" if number is None else f"{number:.1f}", *([f"({', '.join(beside)})"] if beside else [])])
                for number, beside in zip(numbers, published, strict=True)
            ]
            lines.append(f"| {row} | {' | '.join(shown)} | {left(numbers, values[FULL])} |")
        notes = [f"({source['mark']}) {source['cite']}" for source in sources]
        return "\n".join([*lines, "", 'Measured (published). "-": not run. ' + "; ".join(notes) + "."]) + "\n"


def left(numbers: list[float | None], full: list[float | None]) -> str:
    """Mean of the shares of all tokens' scores, over the columns that both rows have."""
    shares = [100 * one / all_ for one, all_ in zip(numbers, full, strict=True) if one is not None and all_]
    return f"{sum(shares) / len(shares):.1f}% of {len(shares)}" if shares else "-"


def metrics_of(folder: Path, task: str) -> dict[str, Any]:
    """The metrics that lmms-eval wrote for a task.

    Raises:
        TableError: there are none; lmms-eval exits with 0 after most errors.
    """
    files = sorted(folder.rglob("*_results.json"))
    found = json.loads(files[-1].read_text("utf-8"))["results"].get(task) if files else None
    if not found:
        raise TableError(f"lmms-eval wrote no result for {task}")
    return {name: value for name, value in found.items() if isinstance(value, int | float)}
