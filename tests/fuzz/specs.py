"""Random specs: recipes, recipes with other parts, scoring parts and whole specs at random; budgets in any form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, get_args, get_origin

from drawing import REGISTRY, Drawer

from scope_core import PrunerSpec
from scope_core.registry.specs import slots_of

RECIPES = [record.name for record in REGISTRY.records("recipe")]
SLOTS = {
    name: slot for name, slot in slots_of(PrunerSpec).items() if slot.kind not in ("adapter", "budget", "selector")
}

COMPOSITE = slots_of(REGISTRY.get("selector", "composite").spec)


class Wide(Drawer):
    """Draws options up to their bounds, and long lists."""

    def options(self, spec: Any, parts: dict[str, Any]) -> dict[str, Any]:
        made = super().options(spec, parts)
        if self.random.random() < 0.9:
            made.pop("stage", None)  # of a chain, which most selectors are not
        return made

    def several(self, annotation: Any) -> Any:
        inner = get_args(annotation)[0]
        if get_origin(inner) is tuple:  # cells, or rows of a table
            most = self.random.choice([0, 0, 1, 3])
            return [[self.random.randint(0, most), self.random.randint(0, most)] for _ in range(2)]
        return sorted((self.value(inner) for _ in range(self.random.randint(1, 3))), reverse=True)

    def number(self, low: float, high: float) -> float:
        edge = [low if low > -10 else -1.0, high if high < 10 else 5.0]
        return self.random.choice([1.0, *edge, 0.5, self.random.uniform(max(low, -2.0), min(high, 4.0))])

    def whole(self, low: float, high: float) -> int:
        return self.random.choice([n for n in (1, 2, 3, 0, -1, -2, 5, 9, 64) if n >= low and (n <= high or high == 10)])


def options(source: Random, sizes: Sequence[int], stages: int = 1) -> Any:
    """A budget of one of the usual forms, most of which images of these sizes can meet."""
    least, most = min(sizes), max(sizes)
    keep = source.choice([source.randint(1, max(least, 1)), max(least - 1, 0), least, source.randint(0, most), most])
    share = source.choice([0.5, 0.25, 1.0, 1, 0.1, 0.999, round(source.uniform(0.05, 1.0), 3)])
    per = source.choice(["image", "tile", "total"])
    total = {"name": "tokens", "keep": source.randint(0, sum(sizes)), "per": "total"}
    short = {"name": "tokens", "keep": keep, "per": per, "if_short": "keep_all"}
    shares = sorted((source.uniform(0.1, 1.0) for _ in range(stages)), reverse=True)
    return source.choice(
        [
            keep,
            float(share),
            {"name": "tokens", "keep": keep, "tiles": source.choice(["exact", "floor"])},
            short,
            total,
            {"name": "ratio", "keep_ratio": share, "per": per},
            {"name": "staged", "ratios": shares, "rounding": source.choice(["nearest", "floor"])},
            {"name": "staged", "keep": [min(keep, least)] * stages},
            {"name": "stepped", "keep": keep, "step": source.randint(1, 4)},
            {"name": "ratio_with_frame", "keep_ratio": share, "frame": source.choice(["image", "tile"])},
        ]
    )


def spec(source: Random, sizes: Sequence[int]) -> Any:
    """Anything that `Pruner` may be given, mostly what images of these sizes can meet."""
    drawer, mode = Wide(source), source.random()
    if mode < 0.35:
        table = drawer.fitting({name: drawer.slot(slot, 1) for name, slot in COMPOSITE.items()})
        table |= {"optimizer": source.choice(["greedy", "greedy", table["optimizer"]])}
        table["budget"] = options(source, sizes)
    elif mode < 0.55:
        table = drawer.table()
        if source.random() < 0.95:
            table["budget"] = options(source, sizes)
        if source.random() < 0.5:
            table["merger"] = "none"
    else:
        table = {"recipe": source.choice(RECIPES)}
        if source.random() < 0.97:
            table["budget"] = options(source, sizes)
        if source.random() < 0.5:
            over(table, drawer)
    held = table.get("constraints") or REGISTRY.get("recipe", table.get("recipe", "scope")).item.spec.get("constraints")
    frames = [constraint for constraint in held or () if constraint["name"] == "first_frame"]
    if frames and source.random() < 0.8:
        table["budget"] = {"name": "ratio_with_frame", "keep_ratio": 0.5, "frame": frames[0].get("frame", "image")}
    short = table.get("budget")
    if set(table) == {"recipe", "budget"} and not isinstance(short, Mapping) and source.random() < 0.3:
        return f"{table['recipe']}@{short if isinstance(short, int) else f'{100 * short:g}%'}"
    return table


def over(table: dict[str, Any], drawer: Drawer) -> None:
    """Put some drawn parts over a recipe's."""
    source = drawer.random
    for name in source.sample(sorted(SLOTS), source.choice([1, 1, 2])):
        table[name] = drawer.slot(SLOTS[name], 2)
    if source.random() < 0.3:
        table["order"] = source.choice(["raster", "stages", "picks"])
    if source.random() < 0.3:
        table["dtype"] = source.choice(["float32", "float64", "as_is"])
    selector = REGISTRY.get("recipe", table["recipe"]).item.spec.get("selector")
    if source.random() < 0.5 and selector is None:
        name = source.choice(sorted(COMPOSITE))
        table[name] = drawer.slot(COMPOSITE[name], 2)
