"""Rehearsal of a spec on invented features, before an engine or a request depends on it.

An error while encoding would end the engine for all clients. What a part raises depends on the numbers it gets, so the
features are those that a tower may give and that some parts are not defined for, in the precision of the worker.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from scope_adapters.serving.group import Group
from scope_adapters.serving.receipts import Call
from scope_adapters.serving.sizes import IMAGE, VIDEO, medium
from scope_core import BudgetError, PluginOutputError, Pruner, ScopeError, SpecError
from scope_core.parts import parse_signal

if TYPE_CHECKING:
    from torch import Tensor

    from scope_adapters.serving.geometry import Geometry, Size

BOTH_SIGNS = "of both signs"

FEATURES: dict[str, Callable[[Tensor], Tensor]] = {
    BOTH_SIGNS: lambda normal: normal,
    "that are all 0": torch.zeros_like,
    "that are the same for all tokens": lambda normal: normal[..., :1, :].expand_as(normal),
    "that are opposite for every other token": lambda normal: normal[..., :1, :] * _signs(normal),
    "that are large": lambda normal: normal * 1000,
    "that are 0 for all tokens but one": lambda normal: normal[..., :1, :] * _first(normal) / 10,
}
"""Features from normally distributed numbers, (..., n, D). Attention is the softmax of the same over the tokens."""


def extremes(geometry: Geometry, of: str = IMAGE) -> list[Size]:
    """Sizes of images or videos for the rehearsal, sorted by the number of tokens.

    Of images, for each canvas those with the most and with the fewest rows and columns of tokens. Of an image much
    longer than wide a strip is left: its padding is no candidate.
    """
    if of == VIDEO or geometry.tower is None:
        sizes: Sequence[Size] = geometry.rehearsed_videos if of == VIDEO else geometry.rehearsed
        return sorted(sizes, key=lambda size: geometry.layout([size]).images[0].tokens)
    found: dict[Size, int] = {}
    for height, width in geometry.canvases:
        for size in ((height, width), (height, 1), (1, width)):
            seen = geometry.seen(size)
            found[seen] = geometry.layout([seen]).images[0].tokens
    return sorted(found, key=lambda size: (found[size], *size))


def rehearse(pruner: Pruner, geometry: Geometry, sizes: Iterable[Size]) -> None:
    """Prune invented features as the worker would.

    Features of all kinds at the first size, of both signs at the others and in a batch of the first and the last. Sizes
    that cannot meet the budget are left out; a request with such an image is refused by its size.

    Raises:
        SpecError: the pruner fails on features that a tower may give; says on which, why, and what would work.
    """
    try:
        _rehearse(pruner, geometry, sizes)
    except SpecError as error:
        working = _similarities(pruner, geometry, sizes)
        hint = f". Similarities that would work: {', '.join(working)}" if working else ""
        raise SpecError(f"{error}{hint}") from error


def _rehearse(pruner: Pruner, geometry: Geometry, sizes: Iterable[Size]) -> None:
    met: list[Size] = []
    for size in sizes:
        try:
            group = Group(geometry, pruner, [size])
        except BudgetError:
            continue
        for kind in [BOTH_SIGNS] if met else FEATURES:
            _try(group, kind, f"{medium(size)} of {geometry.words(size)}")
        met.append(size)
    if met:  # images of different grids, and videos, are not batched
        other = met[0] if geometry.tower is None or medium(met[0]) == VIDEO else met[-1]
        _try(Group(geometry, pruner, [met[0], other]), BOTH_SIGNS, f"two {medium(other)}s")


def rehearse_size(pruner: Pruner, geometry: Geometry, size: Size) -> None:
    """Prune features of both signs for one size of image.

    Raises:
        ScopeError: the pruner fails, e.g. because required tokens do not fit into the budget.
    """
    _prune(Group(geometry, pruner, [size]), BOTH_SIGNS)


def _try(group: Group, kind: str, what: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about numbers that no image has
            _prune(group, kind)
    except Exception as error:  # third-party parts may raise anything
        reason = str(error) if isinstance(error, ScopeError) else f"{type(error).__name__}: {error}"
        raise SpecError(f"features {kind} ({what}): {reason}") from error


def _prune(group: Group, kind: str) -> None:
    geometry, pruner = group.geometry, group.pruner
    text, heads, width = geometry.config.get_text_config(), geometry.heads, geometry.width
    n = group.packings[0].patches // geometry.tiles(group.sizes[0])
    shapes: dict[str, tuple[int, ...]] = {"projected": (n, int(text.hidden_size)), "vision": (n, geometry.given)}
    shapes["vision.keys"] = (heads, n, width // heads)
    attention = {f"vision.{kind}_attention": (heads, n) for kind in ("cls", "received")}
    whole = {f"vision.{kind}_attention": (n,) for kind in ("joint", "mean")}  # of all heads together
    tiles = sum(geometry.tiles(size) for size in group.sizes)
    generator, dtype = torch.Generator(device="cpu").manual_seed(0), worker_dtype(geometry.config)

    def invented(*shape: int) -> Tensor:
        normal = torch.randn((tiles, *shape), generator=generator, device="cpu", dtype=torch.float32)
        return FEATURES[kind](normal)

    def signal(family: str) -> Tensor:
        rows = attention.get(family, whole.get(family))
        made = invented(*rows, 1)[..., 0].softmax(-1) if rows else invented(*shapes.get(family, (n, width)))
        return made.to(dtype).to(pruner.stages[0].dtype or dtype)

    found = {name: signal(parse_signal(name)[0]) for name in sorted(pruner.needs)}
    features = invented(*shapes.get(pruner.spec.at, (n, width))).to(dtype)
    _, order = group.select(group.tokens(features, found), Call())
    if len(order) != sum(group.promised):
        raise PluginOutputError(
            f"{pruner.label} returns {len(order)} rows, but {sum(group.promised)} were planned for the same image"
        )


def worker_dtype(config: Any) -> torch.dtype:
    """The dtype of the worker's features: float16 if the config says so, else bfloat16, which has fewer digits."""
    named = str(getattr(config, "dtype", None) or getattr(config, "torch_dtype", None))
    return torch.float16 if named.endswith("float16") and "bfloat16" not in named else torch.bfloat16


def _similarities(pruner: Pruner, geometry: Geometry, sizes: Iterable[Size]) -> list[str]:
    """Names of similarities with which the pruner would pass."""
    found = []
    for name in pruner.registry.names("similarity") if "similarity" in type(pruner.spec.selector).model_fields else ():
        try:
            _rehearse(Pruner(pruner.spec, registry=pruner.registry, similarity=name), geometry, sizes)
        except (ScopeError, ValueError):  # do not suggest parts that need other options
            continue
        found.append(name)
    return found


def _first(like: Tensor) -> Tensor:
    return torch.eye(like.shape[-2], 1)


def _signs(like: Tensor) -> Tensor:
    signs = torch.ones(like.shape[-2], 1)
    signs[1::2] = -1
    return signs
