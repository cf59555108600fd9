"""Built-in recipes: published methods and controls, each a combination of named parts. One file per method."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Recipe, hookimpl
from scope_plugins.recipes import (
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
    prumerge,
    pyramiddrop,
    scope,
    sparsevlm,
    tome,
    visionzip,
    vispruner,
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
