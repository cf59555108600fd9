"""Whether the embedded model, which learnt from single images, answers about several frames given as images.

    python docs/evidence/video/asked.py

takes a few minutes on one core, and writes docs/evidence/video/asked.json: the share of right answers to "Is there
a ... in the image?" about three scenes of the validation split as frames. Half of the questions are about a thing that
one of the frames shows, half about one that none does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

import scope_core as scope
from scope_core.adapters import Asked, Reader

RESULTS = Path(__file__).with_name("asked.json")
CLIPS, FRAMES, QUESTIONS = 16, 3, 8
METHODS = ("scope@64", "uniform_grid@64", "random@64", "uniform_grid@100%")


def clips() -> list[tuple[list[Any], list[tuple[str, int | None]]]]:
    """``(frames, questions)``: images, and things with the frame that shows each, None for what none shows."""
    registry = scope.default_registry()
    task = registry.build("task", registry.get("task", "scenes").spec())
    examples = iter(task.examples("validation", CLIPS * FRAMES, 0))
    made = []
    for _ in range(CLIPS):
        some = list(islice(examples, FRAMES))
        held = [{box.label for box in one.objects} for one in some]
        asked = {question.text: question for one in some for question in one.questions if "Is there" in question.text}
        named = {text: text.removesuffix(" in the image?").split(" ", 3)[3] for text in asked}
        once = [(text, place) for text, name in named.items() if (place := _only(name, held)) is not None]
        none = [(text, None) for text, name in named.items() if not any(name in labels for labels in held)]
        count = min(len(once), len(none), QUESTIONS // 2)
        made.append(([one.image() if callable(one.image) else one.image for one in some], once[:count] + none[:count]))
    return made


def _only(name: str, held: list[set[str]]) -> int | None:
    """The one frame that shows a thing; None if none or several do."""
    places = [place for place, labels in enumerate(held) if name in labels]
    return places[0] if len(places) == 1 else None


def answered(loaded: Any, names: Sequence[str], images: list[Any], texts: Sequence[str]) -> dict[str, list[bool]]:
    """For each method, whether the answer to each question begins with yes; the images are encoded once."""
    prompts, said = [loaded.inputs(images, text) for text in texts], {}
    with Reader(scope.Pruner("scope@64"), scope.Pruner("scope@64").needs).attach(loaded.model) as pruning:
        encoding = pruning.encode(prompts[0])
    for name in names:
        pruner = scope.Pruner(name)
        selection = pruner.prune(encoding.tokens, encoding.layout)
        with pruner.attach(loaded.model) as pruning:
            ids = pruning.answer([Asked(one, encoding, selection) for one in prompts], max_new_tokens=3)
        said[name] = [str(loaded.decode(row)).strip().lower().startswith("yes") for row in ids]
    return said


def main() -> None:
    """Ask, and write."""
    torch.set_num_threads(1)
    loaded, found = scope.load("scenes-llava"), clips()
    rows: dict[str, list[tuple[bool, int | None]]] = {name: [] for name in ("frame by frame, scope@64", *METHODS)}
    for number, (frames, questions) in enumerate(found):
        texts = [text for text, _ in questions]
        said = answered(loaded, METHODS, frames, texts)
        alone = [answered(loaded, ["scope@64"], [frame], texts)["scope@64"] for frame in frames]
        said["frame by frame, scope@64"] = [any(of_one) for of_one in zip(*alone, strict=True)]
        for name, replies in said.items():
            rows[name] += [
                (yes == (place is not None), place) for yes, (_, place) in zip(replies, questions, strict=True)
            ]
        print(f"clip {number + 1} of {CLIPS}", flush=True)
    table = {}
    for name, replies in rows.items():
        shown, none = ([right for right, place in replies if (place is None) == empty] for empty in (False, True))
        every = [right for right, _ in replies]
        table[name] = {key: fmean(some) for key, some in (("right", every), ("yes", shown), ("no", none))}
    facts = {"clips": CLIPS, "questions": len(rows[METHODS[0]]), "rows": table}
    RESULTS.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
