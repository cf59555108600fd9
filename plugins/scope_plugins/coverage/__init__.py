"""Built-in coverage functions."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Entry, hookimpl
from scope_plugins.coverage.facility_location import FacilityLocation, FacilityLocationSpec
from scope_plugins.coverage.max_min import MaxMin, MaxMinSpec
from scope_plugins.coverage.modular import Modular, ModularSpec


@hookimpl
def scope_coverage_functions() -> Iterable[Entry]:
    """Facility location, farthest point, and none at all."""
    yield Entry(
        FacilityLocationSpec,
        FacilityLocation,
        "how well every token is represented by its best kept token",
        paper="SCOPE, arXiv 2510.24214",
        default=True,
    )
    yield Entry(
        MaxMinSpec,
        MaxMin,
        "distance to the nearest kept token (farthest point first)",
        paper="DivPrune, arXiv 2503.02175",
    )
    yield Entry(ModularSpec, Modular, "no coverage: every gain is 1, which makes greedy a plain top-k")
