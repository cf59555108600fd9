"""Built-in coverage functions."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Entry, hookimpl
from scope_plugins.coverage.facility_location import FacilityLocation, FacilityLocationSpec
from scope_plugins.coverage.graph_cut import GraphCut, GraphCutSpec
from scope_plugins.coverage.log_det import LogDet, LogDetSpec
from scope_plugins.coverage.max_min import MaxMin, MaxMinSpec
from scope_plugins.coverage.modular import Modular, ModularSpec
from scope_plugins.coverage.redundancy import Redundancy, RedundancySpec
from scope_plugins.coverage.saturated import Saturated, SaturatedSpec
from scope_plugins.coverage.stacked import Stacked, StackedSpec
from scope_plugins.coverage.text_facility_location import TextFacilityLocation, TextFacilityLocationSpec
from scope_plugins.coverage.theta_cover import ThetaCover, ThetaCoverSpec


@hookimpl
def scope_coverage_functions() -> Iterable[Entry]:
    """Set functions of the kept tokens, several at once, and none at all."""
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
    yield Entry(
        LogDetSpec,
        LogDet,
        "volume that the kept tokens span (DPP, log-determinant)",
        paper="CDPruner, arXiv 2506.10967; Chen, Zhang, Zhou 2018",
    )
    yield Entry(
        GraphCutSpec, GraphCut, "similarity to all tokens minus that among the kept", paper="Lin and Bilmes 2011"
    )
    yield Entry(
        SaturatedSpec,
        Saturated,
        "total similarity to the kept tokens, each token's capped",
        paper="Lin and Bilmes 2011",
    )
    yield Entry(
        ThetaCoverSpec,
        ThetaCover,
        "how many tokens have a kept one that is similar enough",
        paper="SCOPE, arXiv 2510.24214, Definition 1",
    )
    yield Entry(
        RedundancySpec, Redundancy, "minus the highest similarity to a kept token", paper="Carbonell and Goldstein 1998"
    )
    yield Entry(
        TextFacilityLocationSpec,
        TextFacilityLocation,
        "how well every word of the prompt is represented by its best kept token",
        paper="MMTok, arXiv 2508.18264",
    )
    yield Entry(StackedSpec, Stacked, "several coverage functions as one: their weighted sum")
