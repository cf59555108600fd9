"""Running parts and comparing runs."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from scope_core.structures.tokens import VisualTokens
from scope_core.testing.failures import PropertyViolation, raised
from scope_core.testing.parts import run_planning, run_tensors
from scope_core.testing.parts.cases import Case
from scope_core.testing.parts.run_tensors import Plane, Scene, Watch
from scope_core.testing.parts.subject import Subject

Planes = Mapping[str, Plane]

WATCHES: Mapping[str, Watch] = {
    "saliency": run_tensors.saliency,
    "similarity": run_tensors.similarity,
    "coverage": run_tensors.coverage,
    "combiner": run_tensors.combiner,
    "constraint": run_tensors.constraint,
    "optimizer": run_tensors.optimizer,
    "selector": run_tensors.selector,
    "statistic": run_tensors.statistic,
    "merger": run_planning.merger,
    "budget": run_planning.budget,
    "partition": run_planning.partition,
    "position": run_planning.position,
}


def scene_of(subject: Subject, case: Case, tokens: VisualTokens | None = None) -> Scene:
    """The inputs of a part for a case."""
    return Scene(subject.tokens(case) if tokens is None else tokens, case.layout)


def run(subject: Subject, scene: Scene, part: object = None) -> dict[str, Plane]:
    """One run of a part, without gradients, as in the engine."""
    with torch.no_grad():
        return watched(subject, scene, part)


def watched(subject: Subject, scene: Scene, part: object = None) -> dict[str, Plane]:
    """One run of a part; whatever it raises becomes a `PropertyViolation`."""
    part = subject.part() if part is None else part
    try:
        return WATCHES[subject.kind](part, scene)
    except PropertyViolation:
        raise
    except Exception as error:  # third-party code may raise anything
        raise PropertyViolation(raised(error)) from error


def compare(one: Planes, other: Planes, what: str, *, exact: bool = False) -> None:
    """Refuse runs that differ by more than rounding; by a bit, if ``exact``."""
    if set(one) != set(other):
        raise PropertyViolation(f"{what}: only one run gave {sorted(set(one) ^ set(other))}")
    for name, plane in one.items():
        wanted, about = other[name], plane.about
        if plane.values.shape != wanted.values.shape:
            raise PropertyViolation(
                f"{what}: {name} of shape {tuple(plane.values.shape)} and {tuple(wanted.values.shape)}"
            )
        mask = None if about is None or exact else about & (wanted.about if wanted.about is not None else about)
        where = differing(plane.values, wanted.values, exact=exact)
        where = where if mask is None else where & mask
        if bool(where.any()):
            at = tuple(int(i) for i in where.nonzero()[0])
            raise PropertyViolation(
                f"{what}: {name} is {plane.values[at].item():.6g} at {list(at)}, expected "
                f"{wanted.values[at].item():.6g}"
            )


def differing(one: Tensor, other: Tensor, *, exact: bool = False) -> Tensor:
    """Mask of entries in which two tensors differ: at all, or by more than rounding."""
    both_nan = one.isnan() & other.isnan() if one.is_floating_point() else torch.zeros_like(one, dtype=torch.bool)
    if exact or not one.is_floating_point():
        return (one != other) & ~both_nan
    one, other = one.double(), other.double()
    real = other[torch.isfinite(other)].abs()
    scale = max(float(real.max()) if real.numel() else 1.0, 1e-6)
    near = (one == other) | ((one - other).abs() <= 1e-5 * other.abs() + 1e-6 * scale)
    return ~near & ~both_nan


def real(plane: Plane, valid: Tensor) -> Tensor:
    """Mask of the meaningful entries of a plane: those of valid tokens, along all its token axes."""
    mask = torch.ones_like(plane.values, dtype=torch.bool)
    for axis, letter in enumerate(plane.axes):
        if letter == "N":
            shape = [1] * mask.dim()
            shape[0], shape[axis] = valid.shape
            mask &= valid.reshape(shape)
    return mask if plane.about is None else mask & plane.about


def cut(planes: Planes, group: int, tokens: list[int], extra: Mapping[str, int] | None = None) -> dict[str, Plane]:
    """One group's rows of all planes, with these of its tokens in this order."""
    made = {}
    for name, plane in planes.items():
        values, about = plane.values[group : group + 1], plane.about
        for axis, letter in enumerate(plane.axes):
            if letter == "N":
                values = values.index_select(axis, torch.tensor(tokens))
            elif letter != "B" and extra is not None:
                values = values.narrow(axis, 0, min(extra[name], values.shape[axis]))
        made[name] = Plane(values, plane.axes, None if about is None else about[group : group + 1, tokens])
    return made
