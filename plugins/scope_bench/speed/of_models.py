"""Tables of what was measured with a model: reading signals, and the first token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scope_bench.accuracy.tables import Table
from scope_bench.speed.rows import NOTHING, filled, ms, number, sentence


def captured(capture: Mapping[str, Any]) -> Table:
    """Times of the tower, with and without reading signals."""
    rows = [
        (
            row["name"],
            number(row["tower_ms"]["median"]),
            NOTHING if row["captured"] is None else number(row["read_ms"]["median"]),
            f"{100 * row['of_plain']:.1f}%",
            NOTHING if row["captured"] is None else f"{100 * row['captured']:.2f}%",
        )
        for row in capture["rows"]
    ]
    meanings = {
        "of plain": "Pruned calls skip the tower's layers that nobody reads. of plain: tower and reading over the "
        "tower as the model calls it.",
        "capture": "capture: reading alone, likewise.",
    }
    columns = ("", "tower ms", "read ms", "of plain", "capture")
    return filled(f"Reading signals in the tower of {capture['model']}", columns, rows, meanings)


def generated(report: Mapping[str, Any]) -> list[Table]:
    """Time to the first token, and its parts."""
    rows, parts = [], []
    for row in report["rows"]:
        pruned = "reached" in row
        rows.append(
            (
                row["name"],
                str(row["prompt"]),
                number(row["first_ms"]["median"]),
                number(row["ideal_ms"]) if pruned else NOTHING,
                f"{row['speedup']:.2f}x" if pruned else NOTHING,
                f"{100 * row['reached']:.1f}%" if pruned else NOTHING,
                f"{row['kv_bytes'] / 2**20:.1f}",
                NOTHING if row["step_ms"] is None else number(row["step_ms"]),
            )
        )
        share = f"{100 * row['own_share']:.2f}%" if pruned else NOTHING
        inside = f"{100 * row['hooks_share']:.2f}%" if "hooks_share" in row else NOTHING
        parts.append((row["name"], *(ms(part) for part in made_of(row).values()), share, inside))
    size = f"{report['parameters'] / 1e6:.0f}M parameters in {report['dtype']}"
    about = f"{report['model']}, {size}, batch {report['batch']}"
    first = {
        "ideal": "ideal: the model's own tower and projector, and a text as long as the pruned prompt: selection free.",
        "of ideal": "of ideal: share of the ideal speed-up that is reached.",
        "step ms": "step ms: each further token.",
    }
    columns = ("", "prompt", "first ms", "ideal", "faster", "of ideal", "KV MiB", "step ms")
    packed = any(made_of(row)["pack"] is not None for row in report["rows"])
    inner = {
        "pack": "pack: what the model itself does around tower and projector, such as laying out tiles.",
        "LLM": "LLM: the rest of the model's own generate.",
        "own": f"own: all else that a pruned call does{'' if packed else ', the packing of features included'}; hooks "
        "inside the tower count as tower, reading signals as select, and attaching, done once before, nowhere.",
        "of LLM": "of LLM: own over the model's own generate.",
        "hooks": "hooks: what hooks on layers of the language model take besides selection.",
        "inside": "inside: these hooks and selection in them, over the model's own generate.",
    }
    adding = "Each number is a median, so that columns add up to the first token's time only about."
    return [
        filled(f"Time to the first token: {about}", columns, rows, first, sentence(report["notes"])),
        filled(f"What it is made of, ms: {report['model']}", ("", *PARTS, "of LLM", "inside"), parts, inner, adding),
    ]


PARTS = {
    "tower": "tower",
    "project": "projector",
    "pack": "pack",
    "select": "select",
    "hooks": "hooks",
    "LLM": "llm",
    "own": "own",
}
"""The parts of a call as they are shown, and as a row names them."""


def made_of(row: Mapping[str, Any]) -> dict[str, float | None]:
    """Medians of the parts of a call, by `PARTS`; None for parts that a call does not have or that are unknown."""
    spreads = {name: row.get(f"{part}_ms") for name, part in PARTS.items()}
    return {name: None if found is None else found["median"] for name, found in spreads.items()}
