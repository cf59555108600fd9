"""What methods for videos keep of things and events, measured on labelled clips without a trained video model.

    python docs/evidence/video/run.py

takes about a quarter of an hour, and writes docs/evidence/video/results.json. docs/generate.py makes the table of
docs/video-methods.md from it.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from random import Random
from typing import Any

import clips
import numpy as np

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
CLIPS = 12
SHARES = (25, 10, 5)
METHODS = (
    *("scope@video", "scope@by_segment", "scope@by_frame", "floc", "vidcom2", "vcast", "evs", "dycoke"),
    *("top_k_attention", "random", "uniform_grid", "uniform_frames", "nth_frame"),
)
"""Methods, controls last. The oracle keeps a token of each object of each event first, then other tokens of objects."""
THETA, REPEATED = 0.8, 0.9
"""Thresholds of coverage, and of a kept token that another frame's kept token repeats."""


def encoded(frames: list[Any]) -> Any:
    """The tokens of a clip, one group, with the tower's attention."""
    import scope_core as scope
    from scope_core.cli.clips import ClipTower
    from scope_core.clips import Clip

    tower = ClipTower(scope.load("dinov2-small"))
    clip = Clip("clip", tuple(frames), tuple(number / 2 for number in range(len(frames))), 2.0)
    needs = frozenset({"vision.cls_attention[-2]"})
    return tower.encode([clip], at="vision", needs=needs)


def oracle(shows: np.ndarray[Any, Any], events: list[tuple[int, int]], keep: int) -> list[int]:
    """Tokens that the labels choose: one of each event, one of each object, the rest of them, then at even steps."""
    flat = shows.reshape(len(shows), -1)
    chosen: dict[int, None] = {}
    for thing, frame in events:
        cells = shows[thing, frame].flatten().nonzero()[0]
        chosen.update({int(frame * clips.GRID**2 + cells[len(cells) // 2]): None} if len(cells) else {})
    for thing in flat:
        cells = thing.nonzero()[0]
        chosen.update({int(cells[len(cells) // 2]): None} if len(cells) else {})
    chosen.update(dict.fromkeys(flat.any(0).nonzero()[0].tolist()))
    chosen.update(dict.fromkeys(range(0, flat.shape[1], 7)))
    return list(chosen)[:keep]


def scores(kept: Any, shows: np.ndarray[Any, Any], events: list[tuple[int, int]], tokens: Any) -> dict[str, float]:
    """Shares of objects, and of events, that a kept token shows; coverage; and repetition among kept tokens.

    An event counts if a kept token shows the object in its first frame or in the next one.
    """
    import torch

    mask = np.zeros(shows[0].size, dtype=bool)
    mask[kept] = True
    hit = shows & mask.reshape(shows.shape[1:])
    things = [bool(one.any()) for one, shown in zip(hit, shows, strict=True) if shown.any()]
    seen = [
        bool(hit[thing, frame : frame + 2].any()) for thing, frame in events if shows[thing, frame : frame + 2].any()
    ]
    unit = tokens.unit()[0]
    index = torch.as_tensor(sorted(kept))
    near = unit[index] @ unit[index].T
    frame = tokens.frames()[0][index]
    near[frame[:, None] == frame] = -1
    best = torch.cat([(part @ unit[index].T).amax(1) for part in unit.split(2048)])
    return {
        "objects": statistics.fmean(things),
        "events": statistics.fmean(seen),
        "coverage": float((best >= THETA).float().mean()),
        "repeated": float((near.amax(1) >= REPEATED).float().mean()),
    }


def run(number: int) -> dict[str, Any]:
    """All methods at all budgets on one clip."""
    import scope_core as scope

    plan = clips.plan(number)
    frames, shows = clips.draw(plan)
    tokens = encoded(frames)
    total, found = tokens.shape[1], []
    for share in SHARES:
        keep = round(total * share / 100)
        kept = oracle(shows, plan.events, keep)
        found.append(
            {"method": "oracle", "share": share, "kept": len(kept), **scores(kept, shows, plan.events, tokens)}
        )
        for name in METHODS:
            pruner = scope.Pruner(
                {**scope.Pruner(f"{name}@{share}%").spec.to_dict(scope.default_registry()), "at": "vision"}
            )
            start = time.perf_counter()
            try:
                selection = pruner.prune(tokens)
            except scope.BudgetError:
                continue
            seconds = time.perf_counter() - start
            picks = [token for token in selection.picks[0].tolist() if token >= 0]
            row = {"method": name, "share": share, "kept": len(picks), "seconds": round(seconds, 3)}
            found.append({**row, **scores(picks, shows, plan.events, tokens)})
    return {"clip": number, "tokens": total, "events": plan.events, "rows": found}


def interval(values: list[float]) -> tuple[float, float]:
    """95% of the means of clips drawn again with replacement."""
    random = Random(0)
    means = sorted(statistics.fmean(random.choices(values, k=len(values))) for _ in range(2000))
    return means[49], means[1949]


def summary(made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over clips, and the intervals of objects and events."""
    rows = []
    for method in ("oracle", *METHODS):
        for share in SHARES:
            of = [row for clip in made for row in clip["rows"] if (row["method"], row["share"]) == (method, share)]
            if len(of) == len(made):
                mean = {
                    key: statistics.fmean(row[key] for row in of) for key in of[0] if key not in ("method", "share")
                }
                limits = {f"{key}_95": interval([row[key] for row in of]) for key in ("objects", "events")}
                rows.append({"method": method, "share": share, **mean, **limits})
    return [{k: [round(n, 4) for n in v] if isinstance(v, tuple) else v for k, v in row.items()} for row in rows]


def main() -> None:
    """Run what is missing, and write."""
    made: list[dict[str, Any]] = []
    for number in range(CLIPS):
        made.append(run(number))
        print(f"clip {number}: {len(made[-1]['rows'])} rows", flush=True)
        tokens = made[0]["tokens"]
        plain = [{"clip": one["clip"], "events": one["events"]} for one in made]
        facts = {"clips": plain, "tokens": tokens, "theta": THETA, "repeated": REPEATED, "summary": summary(made)}
        RESULTS.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
