"""Refusal of specs that cannot be served, when the engine starts, not at the first image.

A server sizes the prompt before it reads an image or a video, encodes each apart from its prompt, and reuses the result
for other prompts. So the number of rows must follow from its size, and the rows from it alone. Some specs can be served
for one medium only: those that take the images of a prompt for frames of one video, for videos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from scope_adapters.adapters.packing import check_order
from scope_adapters.serving.geometry import Geometry, Size
from scope_adapters.serving.sizes import IMAGE, VIDEO
from scope_adapters.towers.probe import offers, reasons
from scope_core import BudgetError, Pruner, ScopeError, SpecError
from scope_core.adapters import Declaration, Offer, check_fit

_APART = "vLLM encodes an image apart from its prompt and reuses the result for other prompts"
_APART_SIGNALS = ("text.embeddings", "clip.text_similarity", "clip.word_similarity")
_GIVEN = "vLLM's engine takes no signals from the caller"
_BIAS = "the attention kernels of vLLM take no additive mask"
_DECODER = "in vLLM the prompt has the same length in all layers of the language model"


def declaration(geometry: Geometry) -> Declaration:
    """The declaration of a model in vLLM, from its config."""
    config, tower = geometry.config, geometry.tower
    if tower is None:
        return _declaration_of_grids(geometry)
    built, total = built_layers(config), len(tower.layers)
    found = offers(tower)
    why = reasons(tower)
    if built < total:
        found = tuple(replace(offer, only=tuple(range(1, built + 1))) for offer in found)
        cut = f"vLLM builds the vision tower only up to layer {built - total - 1}, which the projector reads"
        why = {**{offer.family: cut for offer in found}, **why}
    return Declaration(
        model=f"{geometry.host} on vLLM",
        points={"vision": "what the projector is given", "projected": "what the language model reads"},
        offers=(*found, Offer("projected")),
        reasons={
            **why,
            **dict.fromkeys(_APART_SIGNALS, _APART),
            "clip.embeddings": _GIVEN,
            "projector.sensitivity": _GIVEN,
            "decoder": _DECODER,
            "attention_bias": _BIAS,
        },
        has_cls=tower.layout.cls,
        architecture=tower.architecture,
        geometry=geometry.adapter.geometry,
        placeholder=int(getattr(config, geometry.placeholder)),
        merges=geometry.merges,
        takes_signals=False,
    )


def _declaration_of_grids(geometry: Any) -> Declaration:
    """The declaration of a model whose images have grids of their own."""
    return Declaration(
        model=f"{geometry.host} on vLLM",
        points={"vision": "what the merger is given, mean of each block", "projected": "what the language model reads"},
        offers=(*geometry.packed.offers(), Offer("projected")),
        reasons={
            **geometry.packed.reasons(),
            **dict.fromkeys(_APART_SIGNALS, _APART),
            "clip.embeddings": _GIVEN,
            "decoder": _DECODER,
            "projector.sensitivity": _GIVEN,
            "attention_bias": _BIAS,
        },
        geometry="one token per block of patches",
        placeholder=int(geometry.config.image_token_id),
        merges=geometry.merges,
        takes_signals=False,
    )


def built_layers(config: Any) -> int:
    """The number of tower layers that vLLM builds: those up to the one that the projector reads."""
    layer, total = config.vision_feature_layer, config.vision_config.num_hidden_layers
    return int(layer if layer >= 0 else total + 1 + layer)


def check(pruner: Pruner, geometry: Geometry, medium: str = "") -> None:
    """Refuse a pruner that cannot be served.

    Args:
        pruner: The pruner.
        geometry: The model.
        medium: The medium that must be served; by default any of the model's.

    Raises:
        SpecError: says why.
    """
    try:
        _check(pruner, geometry)
        reasons = refusals(pruner, geometry)
        if all(reasons[name] for name in ([medium] if medium else reasons)):
            raise SpecError(reasons[medium or next(iter(reasons))])
    except ScopeError as error:
        raise SpecError(f"{pruner.label} cannot be served by vLLM: {error}") from error


def refusals(pruner: Pruner, geometry: Geometry) -> dict[str, str]:
    """For each medium that the model takes, the reason why it is refused under a spec; empty if it is served."""
    sizes: dict[str, Sequence[Size]] = {IMAGE: geometry.canvases, VIDEO: geometry.videos}
    found = {
        name: geometry.refusal(pruner, name) or _shared(pruner, geometry, sizes[name], name) for name in geometry.media
    }
    if len(found) > 1 and not any(found.values()):
        found[VIDEO] = _shared(pruner, geometry, [*sizes[IMAGE], *sizes[VIDEO]], "item")
    return found


def refuse(pruner: Pruner, geometry: Geometry) -> None:
    """`check` for the engine's own spec, with the recipes that can be served in the message."""
    try:
        check(pruner, geometry)
    except SpecError as error:
        named = f"{error}. Recipes that vLLM can serve: {', '.join(recipes(pruner, geometry))}"
        if VIDEO in geometry.media:
            more = set(recipes(pruner, geometry, VIDEO)).difference(recipes(pruner, geometry))
            named += f"; for videos only: {', '.join(sorted(more))}"
        raise SpecError(named) from error


def recipes(pruner: Pruner, geometry: Geometry, medium: str = IMAGE) -> list[str]:
    """Names of the recipes in ``pruner``'s registry that can be served for a medium."""
    found = []
    for name in pruner.registry.names("recipe"):
        try:
            spec = {"recipe": name, "budget": pruner.registry.get("recipe", name).item.spec.get("budget", 16)}
            check(Pruner(spec, registry=pruner.registry), geometry, medium)
        except (ScopeError, ValueError):  # do not suggest third-party recipes that cannot be built
            continue
        found.append(name)
    return found


def _check(pruner: Pruner, geometry: Geometry) -> None:
    check_fit(pruner, declaration(geometry))
    if pruner.parts["selector"].adaptive:
        raise SpecError(
            f"selector {pruner.parts['selector']} decides how many tokens of an image it keeps, but vLLM sizes the "
            f"prompt before it reads the image; put it into a chain whose last step keeps what is left of the budget"
        )
    if pruner.parts["budget"].adaptive:
        raise SpecError(
            f"budget {pruner.parts['budget']} keeps a number of tokens that depends on the image, but vLLM sizes the "
            f"prompt before it reads the image. Budgets that would work: {', '.join(_fixed_budgets(pruner))}"
        )
    if geometry.newlines == "keep_if_row_kept":
        raise SpecError(
            "adapter option `newlines: keep_if_row_kept` keeps a number of newline tokens that depends on the image, "
            "but vLLM sizes the prompt before it reads the image; use `newlines: keep` or `newlines: drop`"
        )
    check_order(pruner, geometry.newlines, geometry.host)
    merger = pruner.parts["merger"]
    if geometry.tower is None and any(sum(merger.extra(tokens, 16)) for tokens in (64, 1024)):
        raise SpecError(f"merger {merger} adds rows, which have no place in the image's grid; use one that adds none")
    if _numbers_itself(pruner):
        raise SpecError(
            f"position {pruner.parts['positions']} does not number tokens one by one, as vLLM does; omit `positions`"
        )


def _fixed_budgets(pruner: Pruner) -> list[str]:
    return [r.name for r in pruner.registry.records("budget") if not getattr(r.target, "adaptive", True)]


def _numbers_itself(pruner: Pruner) -> bool:
    full, kept = torch.arange(4)[None], torch.tensor([[0, 3]])
    positions = pruner.parts["positions"].position_ids(full, kept, torch.ones_like(kept, dtype=torch.bool))
    return positions is not None and positions.tolist() != [[0, 1]]


def _shared(pruner: Pruner, geometry: Geometry, sizes: Sequence[Size], name: str) -> str:
    """The reason to refuse a spec: an item's share depends on others of its prompt, or the largest cannot meet it."""
    sizes = sorted(sizes, key=lambda size: geometry.layout([size]).images[0].tokens)
    for pair in ([sizes[-1], sizes[-1]], [sizes[0], sizes[-1]]):
        try:
            alone = tuple(pruner.plan(geometry.layout([size])).images[0] for size in pair)
        except BudgetError as error:
            if pair[0] == pair[1]:
                return str(error)
            continue  # a request with such a small item is refused later
        try:
            together = pruner.plan(geometry.layout(pair, prompts=[0, 0])).images
        except BudgetError as error:
            return f"{_APART}, so {name}s must not share a budget: {error}"
        if together != alone:
            return (
                f"{_APART}, so {name}s must not share a budget: two {name}s in one prompt would keep {together} "
                f"tokens, but the same {name}s alone {alone}. Choose a budget for each {name}, e.g. `budget: "
                f"{{name: tokens, keep: 64, per: {name if name in (IMAGE, VIDEO) else IMAGE}}}`"
            )
    return ""
