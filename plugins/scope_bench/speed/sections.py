"""The sections of ``scope bench speed``, each with its progress bar: those of bare tensors, and those of a model."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from scope_bench.speed.baselines import missing_libraries
from scope_bench.speed.batches import batches
from scope_bench.speed.capture import capture
from scope_bench.speed.generate import generate
from scope_bench.speed.growth import grow
from scope_bench.speed.inputs import Material, gradient, of_photographs, smooth
from scope_bench.speed.probes import Watched
from scope_bench.speed.profile import profile
from scope_bench.speed.select import Settings, select
from scope_bench.speed.trials import on_model, warn_skipped
from scope_bench.speed.versus import versus
from scope_core.adapters import ZooEntry
from scope_core.commands import State, import_target, loading, note, open_pictures, progress, warn


def without_model(
    material: Material,
    plan: list[tuple[int, int]],
    grown: list[int],
    staged: list[tuple[int, int]],
    keeps: list[int],
    names: list[str],
    settings: Settings,
    state: State,
) -> dict[str, Any]:
    """The sections that need no model."""
    found: dict[str, Any] = {}
    if plan:
        missing = missing_libraries()
        if settings.libraries and settings.device.type == "cpu" and missing:
            note(f"not compared with {', '.join(missing)}, not installed: pip install {' '.join(missing)}")
        with progress("selecting") as tell:
            found["select"] = select(material, plan, names, state.registry, settings, tell)
    if grown:
        with progress("growth") as tell:
            found["growth"] = grow(material, grown, keeps, names[0], state.registry, settings, tell)
    if staged:
        with progress("stages") as tell:
            found["profile"] = profile(material, staged, names[0], state.registry, settings, tell)
    return found


def as_published(
    sizes: Sequence[int], width: int, keeps: Sequence[int], settings: Settings, state: State
) -> dict[str, Any]:
    """The section of recipes beside the plain loops of their formulas, on synthetic features and signals."""
    found = []
    for size in sizes:
        with progress(f"{size} tokens") as tell:
            budgets = [keep for keep in keeps if keep <= size]
            found.append(versus(smooth(size, width), size, budgets, state.registry, settings, tell))
    return {"published": found}


def in_batches(
    sizes: Sequence[int], keep: int, width: int, name: str, settings: Settings, state: State
) -> dict[str, Any]:
    """The section of many groups in one call, beside a call for each, on synthetic features."""
    with progress("batches") as tell:
        return {"batches": batches(sizes, keep, width, name, state.registry, settings, tell)}


def with_model(
    chosen: list[str],
    state: State,
    model: str | None,
    names: list[str],
    keeps: list[int],
    asked: tuple[str, int, list[str]],
    dtype: str | None,
    settings: Settings,
    steps: bool,
) -> dict[str, Any]:
    """The sections that need a model."""
    entry = state.zoo("model", model).item
    question, batch, photos = asked
    images = [picture.image for picture in open_pictures(photos)][:1] if photos else []
    with loading(entry):
        where = settings.device
        loaded = entry.load(**_loading(entry, where, dtype))
        kind = None if dtype is None else getattr(torch, dtype)
        watched = Watched.of(
            loaded, state.registry, images or [gradient()], question, batch=batch, device=where, dtype=kind
        )
        names, skipped = on_model(names, min(keeps), state.registry, watched.model)
    if loaded.notes:
        warn(f"{entry.name}: {loaded.notes}")
    warn_skipped(skipped)
    found: dict[str, Any] = {"skipped": skipped}
    if "capture" in chosen:
        with progress("capture") as tell:
            found["capture"] = capture(watched, names, state.registry, settings.effort, settings.clock, tell)
    if "generate" in chosen:
        runs = [(name, keep) for name in names for keep in keeps]
        with progress("first token") as tell:
            found["generate"] = generate(
                watched, runs, state.registry, settings.effort, tell, clock=settings.clock, steps=steps
            )
    return found


def _loading(entry: ZooEntry, where: torch.device, dtype: str | None) -> dict[str, Any]:
    """Options of an entry's loader that load the model with this dtype and on this device."""
    takes = inspect.signature(import_target(entry.target, f"zoo entry '{entry.name}'", entry.requires)).parameters
    wanted = {"dtype": dtype, **({} if where.type == "cpu" else {"device": str(where), "device_map": str(where)})}
    return {name: value for name, value in wanted.items() if value is not None and name in takes}


def material_of(tokens: int, width: int, photos: list[str], state: State) -> Material:
    """The features that selection is timed on: of the images in ``photos``, or synthetic ones."""
    if not photos:
        return smooth(tokens, width)
    images = [picture.image for picture in open_pictures(photos)]
    entry = state.zoo("tower", None).item
    with loading(entry, f"encoding images by {entry.name}"):
        return of_photographs(images, entry.load(), tokens, entry.name)
