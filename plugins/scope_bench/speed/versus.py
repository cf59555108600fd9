"""Recipes beside the plain loops of their formulas, on the same tensors: time, and what both keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from scope_bench.speed.inputs import Material
from scope_bench.speed.published import FRAMES, METHODS
from scope_bench.speed.select import Settings, square
from scope_bench.speed.timing import Progress, in_turns
from scope_core import Pruner, Registry, Selection, TaskError

OURS, THEIRS = "scope-core", "as published"


def versus(
    material: Material,
    tokens: int,
    keeps: Sequence[int],
    registry: Registry,
    settings: Settings,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Times of every recipe that `METHODS` has a plain loop of, and of that loop; rows that both keep.

    Args:
        material: Features.
        tokens: N, a square number, and a multiple of the frames of a video.
        keeps: Budgets.
        registry: The registry that names are looked up in.
        settings: Settings of the measurement.
        progress: Called with (finished rounds, all rounds).

    Raises:
        TaskError: N is not such a number, or the features' width is not a multiple of 8.
    """
    features = material.cut(tokens, settings.device, settings.dtype)[0][0]
    if square(tokens) is None or tokens % FRAMES or features.shape[1] % 8:
        raise TaskError(
            f"section 'published' needs a square number of tokens that is a multiple of {FRAMES}, and a width that is "
            f"a multiple of 8, not {tokens} and {features.shape[1]}; give e.g. --tokens 576 --width 1024"
        )
    cases = [(name, keep) for name in METHODS for keep in keeps if name != "evs" or keep >= tokens // FRAMES]
    rows = []
    for number, (name, keep) in enumerate(cases):
        ours, theirs = pair(name, keep, features, registry)
        laps = in_turns({OURS: ours, THEIRS: theirs}, settings.effort, settings.device)
        ms = {side: lap.facts()[f"{settings.clock}_ms"]["median"] for side, lap in laps.items()}
        rows.append({"name": name, "keep": keep, "ms": ms, "same": same_rows(ours(), theirs(), features)})
        progress(number + 1, len(cases))
    return {"tokens": tokens, "width": features.shape[1], "rows": rows}


def pair(name: str, keep: int, features: Tensor, registry: Registry) -> tuple[Callable[[], Any], Callable[[], Tensor]]:
    """The recipe and its plain loop at a budget, on the same tensors. The first returns kept indices, or merged rows.

    Args:
        name: A name in `METHODS`.
        keep: K.
        features: (N, D).
        registry: The registry that names are looked up in.
    """
    count = len(features)
    if name == "evs":
        budget = {"name": "ratio_with_frame", "keep_ratio": min(1.0, (keep + 0.5) / count)}
        stage, grid = Pruner({"recipe": name, "budget": budget}, registry=registry), (FRAMES, 1, count // FRAMES)
        video = partial(stage.select, features[None], grid=grid)
        return lambda: video().kept[0], partial(METHODS[name], {"features": features}, keep)
    pruner = Pruner(f"{name}@{keep}", registry=registry)
    signals = signals_of(features, pruner.needs)
    given = {"features": features, **{signal: value[0] for signal, value in signals.items()}}

    def select() -> Tensor:
        found: Selection = pruner.select(features[None], signals=signals, grid=square(count))
        if found.mixed is None:
            return found.picks[0]
        cls = signals[found.mixed.cls_signal] if found.mixed.cls_signal else None
        return found.merge(features[None], cls)[0]

    return select, partial(METHODS[name], given, keep)


def same_rows(ours: Tensor, theirs: Tensor, features: Tensor) -> int:
    """The number of rows for the language model that both keep, whatever their order."""
    one, other = (rows if rows.dim() == 2 else features[rows] for rows in (ours, theirs))
    return int((torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist").amin(1) < 1e-3).sum())


def signals_of(features: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
    """Random signals of one image, of the shapes of a CLIP tower with as many heads as make 64 channels each."""
    count, width = features.shape
    heads = width // 64 if width % 64 == 0 else 4
    draw = torch.Generator().manual_seed(0)
    found = {}
    for name in sorted(names):
        family = name.partition("[")[0]
        if family == "vision.cls":
            value = torch.randn(1, 1, width, generator=draw).expand(-1, count, -1)
        elif family == "vision.hidden":
            value = torch.randn(1, count, width, generator=draw) + features.cpu()
        elif family == "vision.keys":
            value = torch.randn(1, heads, count, width // heads, generator=draw)
        elif family == "text.embeddings":
            value = torch.randn(1, 32, width, generator=draw)
        elif family == "clip.text_similarity":
            value = torch.rand(1, 1, count, generator=draw) * 0.3
        else:  # attention, of which CLS or other tokens have a share
            value = torch.randn(1, heads, count + 1, generator=draw).softmax(-1)[..., 1:]
        found[name] = value.to(features)
    return found
