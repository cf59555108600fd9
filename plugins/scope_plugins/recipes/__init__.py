"""Built-in recipes: published methods and controls, each a combination of named parts. One file per method."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Recipe, hookimpl
from scope_plugins.recipes import (
    adts,
    agilepruner,
    anchorprune,
    apet,
    cdpruner,
    clse,
    controls,
    dart,
    divprune,
    eadp,
    evs,
    fastervlm,
    fastv,
    feather,
    gprune,
    hiprune,
    holov,
    mmtok,
    otprune,
    priortr,
    promprune,
    prumerge,
    prunesid,
    pyramiddrop,
    scissor,
    scope,
    sparsevlm,
    tome,
    v2drop,
    visionzip,
    vispruner,
    vscan,
    zooprune,
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
        zooprune,
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
        v2drop,
        priortr,
        feather,
        clse,
        controls,
    ):
        yield from module.RECIPES
