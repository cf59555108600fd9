"""Running a part of any kind once: inputs are recorded, outputs are checked for their form.

The result is a table of planes, each of which names its axes over groups (B) and tokens (N), so that the same
properties can be tried on every kind of part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from scope_core.parts.problem import Problem
from scope_core.registry.specs import ComponentSpec
from scope_core.structures.layout import Layout
from scope_core.structures.picks import Picks
from scope_core.structures.selection import Selection
from scope_core.structures.tokens import VisualTokens
from scope_core.testing.failures import PropertyViolation
from scope_core.testing.parts.cases import RANK
from scope_core.testing.parts.stubs import Cosine, Facilities, Ranks, Times, cosine

PLAIN = ComponentSpec(name="testing.plain")


@dataclass(frozen=True)
class Plane:
    """One output of a part.

    Attributes:
        values: Its numbers.
        axes: A letter for each axis: B groups, N tokens, other letters for axes of the part's own.
        about: (B, N) bool, tokens for which the output means something; None for all valid ones.
    """

    values: Tensor
    axes: str
    about: Tensor | None = None


@dataclass
class Scene:
    """The inputs of a part in one run.

    Attributes:
        tokens: The candidates.
        layout: Layout of the images, for parts that see no tensors.
        given: ``(what, tensor, copy)`` of every tensor that the part was given, to find changes.
    """

    tokens: VisualTokens
    layout: Layout
    given: list[tuple[str, Tensor, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        tokens = self.tokens
        for name in ("features", "valid", "required", "row", "col", "tile", "image"):
            self.note(f"tokens.{name}", getattr(tokens, name))
        for name in tokens.signals:
            self.note(f"signal '{name}'", tokens.signals[name])

    def note(self, what: str, tensor: Tensor) -> Tensor:
        """The same tensor; a copy is recorded."""
        self.given.append((what, tensor, tensor.detach().clone()))
        return tensor

    @property
    def rank(self) -> Tensor:
        """(B, N) distinct numbers for the tokens of each group."""
        return self.tokens.signals[RANK]

    def counts(self, share: float = 0.5) -> tuple[int, ...]:
        """A count for each group, at least 1 if it has a token."""
        return tuple(-int(-n * share // 1) for n in self.tokens.valid.sum(1).tolist())

    def order(self) -> list[list[int]]:
        """Tokens of each group in the order of their ranks."""
        ranks = self.rank.masked_fill(~self.tokens.valid, -1)
        orders = ranks.sort(dim=1, descending=True, stable=True).indices.tolist()
        return [row[:n] for row, n in zip(orders, self.tokens.valid.sum(1).tolist(), strict=True)]


Watch = Callable[[Any, Scene], dict[str, Plane]]


def floats(value: Any, shape: Sequence[int], what: str, scene: Scene) -> Tensor:
    """``value`` if it is a floating-point tensor of ``shape`` on the tokens' device."""
    tensor = of_shape(value, shape, what, scene.tokens)
    if not tensor.is_floating_point():
        raise PropertyViolation(
            f"{what} returned dtype {tensor.dtype}; expected floating point, e.g. .to(tokens.features.dtype)"
        )
    return tensor


def of_shape(value: Any, shape: Sequence[int], what: str, tokens: VisualTokens) -> Tensor:
    """``value`` if it is a tensor of ``shape`` on the tokens' device."""
    if not isinstance(value, Tensor):
        raise PropertyViolation(f"{what} returned {type(value).__name__}; expected a tensor of shape {tuple(shape)}")
    if tuple(value.shape) != tuple(shape):
        raise PropertyViolation(f"{what} returned shape {tuple(value.shape)}; expected {tuple(shape)}")
    if value.device != tokens.device:
        raise PropertyViolation(f"{what} returned a tensor on {value.device}; the tokens are on {tokens.device}")
    return value


def saliency(part: Any, scene: Scene) -> dict[str, Plane]:
    """One run of a saliency part."""
    return {"score()": Plane(floats(part.score(scene.tokens), scene.tokens.shape[:2], "score()", scene), "BN")}


def statistic(part: Any, scene: Scene) -> dict[str, Plane]:
    """One run of a statistic part."""
    return {"measure()": Plane(floats(part.measure(scene.tokens), scene.tokens.shape[:1], "measure()", scene), "B")}


def similarity(part: Any, scene: Scene) -> dict[str, Plane]:
    """One run of a similarity part."""
    batch, count, _ = scene.tokens.shape
    return {"pairwise()": Plane(floats(part.pairwise(scene.tokens), (batch, count, count), "pairwise()", scene), "BNN")}


def similarity_for(part: Any, scene: Scene) -> Tensor | None:
    """A similarity that the coverage function accepts; None if it reads none."""
    if not part.uses_similarity:
        return None
    return scene.note("similarity", cosine(scene.tokens, squared=part.nonnegative_similarity))


def gains(part: Any, scene: Scene, picks: Sequence[Sequence[int]]) -> list[Tensor]:
    """(B, N) gains before the first pick and after each; groups with fewer picks get token 0, as engines give."""
    state = part.start(similarity_for(part, scene), scene.tokens)
    shape = scene.tokens.shape[:2]
    made = [floats(part.gain(state), shape, "gain()", scene).clone()]
    for step in range(max(map(len, picks), default=0)):
        pick = torch.tensor([row[step] if step < len(row) else 0 for row in picks])
        state = part.add(state, scene.note("pick", pick))
        made.append(floats(part.gain(state), shape, "gain()", scene).clone())
    return made


def coverage(part: Any, scene: Scene) -> dict[str, Plane]:
    """One run of a coverage part."""
    picks = [row[:3] for row in scene.order()]
    free = scene.tokens.valid.clone()
    made = {}
    for step, gain in enumerate(gains(part, scene, picks)):
        for group, row in enumerate(picks):
            if step and step <= len(row):
                free[group, row[step - 1]] = False
            if step > len(row):
                free[group] = False
        made[f"gain() after {step} picks"] = Plane(gain, "BN", free.clone())
    return made


def combiner(part: Any, scene: Scene) -> dict[str, Plane]:
    """One run of a combiner part."""
    tokens = scene.tokens
    batch, count, _ = tokens.shape
    saliency = scene.note("saliency", scene.rank.clone())
    prepared = floats(part.prepare(saliency, tokens), (batch, count), "prepare()", scene)
    matrix = scene.note("similarity", cosine(tokens, squared=True))
    gain = scene.note("gain", matrix.sum(1))
    seen = matrix if part.condition is None else part.condition(matrix, prepared)
    kernel = floats(seen, (batch, count, count), "condition()", scene)
    score = floats(part.combine(gain, prepared), (batch, count), "combine()", scene)
    return {"prepare()": Plane(prepared, "BN"), "condition()": Plane(kernel, "BNN"), "combine()": Plane(score, "BN")}


def problem(tokens: VisualTokens, source: type[Ranks] = Ranks) -> Problem:
    """A problem made of the kit's own parts."""
    return Problem(tokens, source(PLAIN), Cosine(PLAIN), Facilities(PLAIN), Times(PLAIN))


def _ranked(picks: Tensor, scene: Scene) -> Plane:
    """(B, N): which pick each token was, -1 for the others."""
    place = torch.full(scene.tokens.shape[:2], -1)
    for group, row in enumerate(picks.tolist()):
        for step, token in enumerate(row):
            if 0 <= token < place.shape[1]:
                place[group, token] = step
    return Plane(place, "BN")


def picked(made: Any, kind: type, what: str, scene: Scene, counts: Sequence[int], *, adaptive: bool = False) -> Tensor:
    """(B, K) picks of an optimizer or a selector, checked for their form; K may be smaller if it is adaptive."""
    if not isinstance(made, kind):
        raise PropertyViolation(f"{what} returned {type(made).__name__}; expected scope_core.{kind.__name__}")
    most = width = max(counts, default=0)
    table = getattr(made, "picks", None)
    if adaptive and isinstance(table, Tensor) and table.dim() == 2:
        width = min(most, table.shape[1])
    shape = (len(counts), width)
    picks = of_shape(getattr(made, "picks", None), shape, f"{what}.picks", scene.tokens)
    if picks.dtype != torch.int64:
        raise PropertyViolation(f"{what}.picks has dtype {picks.dtype}; expected torch.int64")
    for column in ("gains", "scores"):
        floats(getattr(made, column, None), shape, f"{what}.{column}", scene)
    return picks


def optimizer(part: Any, scene: Scene) -> dict[str, Plane]:
    """One run of an optimizer part."""
    counts = scene.counts()
    made = part.optimize(problem(scene.tokens), counts)
    return {"optimize()": _ranked(picked(made, Picks, "optimize()", scene, counts), scene)}


def selector(part: Any, scene: Scene) -> dict[str, Plane]:
    """One run of a selector part."""
    counts = scene.counts()
    made = part.select(scene.tokens, counts)
    return {"select()": _ranked(picked(made, Selection, "select()", scene, counts, adaptive=part.adaptive), scene)}


def constraint(part: Any, scene: Scene) -> dict[str, Plane]:
    """One run of a constraint part."""
    made = {}
    for name in ("must_keep", "must_drop"):
        mask = getattr(part, name)(scene.tokens)
        if mask is None:
            mask = torch.zeros_like(scene.tokens.valid)
        mask = of_shape(mask, scene.tokens.shape[:2], f"{name}()", scene.tokens)
        if mask.dtype != torch.bool:
            raise PropertyViolation(
                f"{name}() returned dtype {mask.dtype}; expected torch.bool, or None for no opinion"
            )
        made[f"{name}()"] = Plane(mask, "BN")
    return made
