"""Built-in recipes: published methods and controls, each a combination of named parts. One file per method."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Recipe, hookimpl
from scope_plugins.recipes import (
    agilepruner,
    anchorprune,
    cdpruner,
    controls,
    dart,
    divprune,
    evs,
    fastervlm,
    fastv,
    hiprune,
    holov,
    mmtok,
    promprune,
    prumerge,
    prunesid,
    pyramiddrop,
    scissor,
    scope,
    sparsevlm,
    tome,
    visionzip,
    vispruner,
    vscan,
)


@hookimpl
def scope_recipes() -> Iterable[Recipe]:
    """The recipes of every method, SCOPE first."""
    for module in (
        scope,
        divprune,
        cdpruner,
        mmtok,
        anchorprune,
        promprune,
        agilepruner,
        prunesid,
        vscan,
        scissor,
        evs,
        visionzip,
        fastervlm,
        vispruner,
        prumerge,
        hiprune,
        holov,
        tome,
        fastv,
        pyramiddrop,
        sparsevlm,
        dart,
        controls,
    ):
        yield from module.RECIPES
