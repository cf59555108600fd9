"""Built-in recipes: published methods and controls, each a combination of named parts. One file per method."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Recipe, hookimpl
from scope_plugins.recipes import (
    adts,
    apet,
    cdpruner,
    controls,
    dart,
    divprune,
    eadp,
    evs,
    fastervlm,
    fastv,
    gprune,
    hiprune,
    holov,
    mmtok,
    otprune,
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
        evs,
        adts,
        eadp,
        otprune,
        gprune,
        apet,
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
