"""Time and memory of a selection from a video, for each method, as the operating system counts them.

    python docs/speed/video.py                      # all methods: minutes; writes docs/speed/video.json
    python docs/speed/video.py holitom vidcom2      # these alone, beside what is there
    python docs/speed/video.py --plans              # what plans say alone, beside what is there

Each selection runs in a process of its own, twice: the second is timed, and memory is what the process' peak grew by.
Tokens are made up: scenes of eight frames in which half of the places stand still. One thread. docs/generate.py makes
the table.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

import scope_core as scope

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "video.json"
SIZES = ((16, 196), (32, 196), (64, 196), (32, 576))
WIDTH = 1024
METHODS = {
    **dict.fromkeys(("scope@video", "floc"), 0.1),
    **dict.fromkeys(("scope@by_segment", "scope@by_frame", "vidcom2", "vcast", "fastvid"), 0.1),
    **dict.fromkeys(("flashvid", "holitom", "prunevid", "framefusion"), 0.1),
    **{"evs": 0.25, "dycoke": 0.475},
    **dict.fromkeys(("uniform_frames", "random"), 0.1),
}
"""Methods, and the share of the tokens that they keep."""
SECONDS = 120


def tokens(frames: int, size: int) -> torch.Tensor:
    """(1, frames * size, WIDTH) features."""
    generator = torch.Generator().manual_seed(0)
    video = torch.empty(frames, size, WIDTH)
    for frame in range(frames):
        new = torch.randn(size, WIDTH, generator=generator)
        moved = torch.rand(size, generator=generator) < (0.5 if frame % 8 else 1.0)
        noise = 0.1 * torch.randn(size, WIDTH, generator=generator)
        video[frame] = torch.where(moved[:, None], new, video[frame - 1] + noise)
    return video.reshape(1, -1, WIDTH)


def pruner_of(method: str) -> scope.Pruner:
    """The method, with its share of a whole video."""
    budget: dict[str, Any] = {"keep_ratio": METHODS[method]}
    if method not in ("evs", "dycoke"):
        budget |= {"name": "ratio", "per": "video"}
    if method == "scope@by_frame":
        return scope.Pruner({"recipe": method, "budget": budget})
    return scope.Pruner({"recipe": method, "budget": budget, "partition": "video"})


def planned(method: str, frames: int, size: int) -> dict[str, int]:
    """Bytes that the plan says: in all, and those of matrices."""
    plan = pruner_of(method).plan(scope.Layout.of([[size] * frames], videos=[0]))
    return {"planned": plan.memory_for(WIDTH), "matrices": plan.memory}


def measure(method: str, frames: int, size: int) -> dict[str, Any]:
    """Seconds, bytes that the process' peak grew by, and bytes that the plan says."""
    torch.set_num_threads(1)
    pruner, side = pruner_of(method), int(size**0.5)
    features, saliency = tokens(frames, size), torch.rand(1, frames * size, generator=torch.Generator().manual_seed(1))
    pruner.select(tokens(2, 16), grid=(2, 4, 4), saliency=saliency[:, :32])  # imports
    given: dict[str, Any] = {"grid": (frames, side, side), "saliency": saliency}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pruner.select(features, **given)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    start = time.perf_counter()
    selection = pruner.select(features, **given)
    seconds = time.perf_counter() - start
    kept = sum(selection.row_counts)
    return {"seconds": round(seconds, 3), "grown": 1024 * peak, **planned(method, frames, size), "rows": kept}


def table() -> str:
    """A row for each method: seconds for each size, and memory for the two largest."""
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    sizes = [f"{frames} x {size}" for frames, size in SIZES]
    head = [
        *(f"s, {size}" for size in sizes),
        *(f"{what}, {size}" for what in ("MB", "planned", "of it matrices") for size in sizes[2:]),
    ]
    lines = [f"| method | {' | '.join(head)} |", f"|---|{'---|' * len(head)}"]
    for method in [name for name in METHODS if name in found]:
        row = found[method]
        cells = [f"{row[size]['seconds']:.1f}" if size in row else f"> {SECONDS}" for size in sizes]
        for key in ("grown", "planned", "matrices"):
            cells += [f"{row[size][key] / 1e6:,.0f}" if size in row else "-" for size in sizes[2:]]
        lines.append(f"| `{method}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plan_again() -> None:
    """Write what plans say beside what was measured."""
    found = json.loads(RESULTS.read_text("utf-8"))
    for method, frames, size in ((method, *sizes) for method in found for sizes in SIZES):
        if row := found[method].get(f"{frames} x {size}"):
            row |= planned(method, frames, size)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def main(chosen: list[str]) -> None:
    """Measure the methods and write the results."""
    if unknown := [name for name in chosen if name not in METHODS]:
        sys.exit(f"'{unknown[0]}' is not measured here; choose from {', '.join(METHODS)}")
    found = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    for method in chosen or METHODS:
        found[method] = {}
        for frames, size in SIZES:
            line = [sys.executable, __file__, "--one", method, str(frames), str(size)]
            try:
                done = subprocess.run(line, check=True, capture_output=True, text=True, timeout=SECONDS)
            except subprocess.TimeoutExpired:
                print(f"{method} {frames} x {size}: more than {SECONDS} s", flush=True)
                continue
            found[method][f"{frames} x {size}"] = json.loads(done.stdout)
            print(method, f"{frames} x {size}", done.stdout.strip(), flush=True)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
    elif sys.argv[1:] == ["--plans"]:
        plan_again()
    else:
        main(sys.argv[1:])
