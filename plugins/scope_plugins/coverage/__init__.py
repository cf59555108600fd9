"""Built-in coverage functions."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Entry, hookimpl


@hookimpl
def scope_coverage_functions() -> Iterable[Entry]:
    """Set functions of the kept tokens, weighted sums of them, and a constant gain."""
    yield Entry(
        "scope_plugins.coverage.facility_location:FacilityLocation",
        "facility_location",
        "how well every token is represented by its best kept token",
        paper="SCOPE, arXiv 2510.24214",
        default=True,
    )
    yield Entry(
        "scope_plugins.coverage.max_min:MaxMin",
        "max_min",
        "distance to the nearest kept token (farthest point first)",
        paper="DivPrune, arXiv 2503.02175",
    )
    yield Entry(
        "scope_plugins.coverage.modular:Modular",
        "modular",
        "no coverage: every gain is 1, so that greedy selection is plain top-k",
    )
    yield Entry(
        "scope_plugins.coverage.log_det:LogDet",
        "log_det",
        "the volume that the kept tokens span (DPP, log-determinant)",
        paper="CDPruner, arXiv 2506.10967; Chen, Zhang, Zhou 2018",
    )
    yield Entry(
        "scope_plugins.coverage.log_det_float32:LogDetFloat32",
        "log_det_float32",
        "log_det with the rounding of published code",
        paper="CDPruner, arXiv 2506.10967",
    )
    yield Entry(
        "scope_plugins.coverage.graph_cut:GraphCut",
        "graph_cut",
        "similarity of the kept tokens to all, minus their similarity to each other",
        paper="Lin and Bilmes 2011",
    )
    yield Entry(
        "scope_plugins.coverage.saturated:Saturated",
        "saturated",
        "total similarity of every token to the kept ones, up to a cap",
        paper="Lin and Bilmes 2011",
    )
    yield Entry(
        "scope_plugins.coverage.theta_cover:ThetaCover",
        "theta_cover",
        "the number of tokens that have a similar kept token",
        paper="SCOPE, arXiv 2510.24214, Definition 1",
    )
    yield Entry(
        "scope_plugins.coverage.redundancy:Redundancy",
        "redundancy",
        "minus the highest similarity to a kept token",
        paper="Carbonell and Goldstein 1998",
    )
    yield Entry(
        "scope_plugins.coverage.text_facility_location:TextFacilityLocation",
        "text_facility_location",
        "how well every word of the prompt is represented by its best kept token",
        paper="MMTok, arXiv 2508.18264",
    )
    yield Entry(
        "scope_plugins.coverage.stacked:Stacked", "stacked", "several coverage functions as one: their weighted sum"
    )
