"""Signals that differ from others by the order of rounding alone."""

from __future__ import annotations

from scope_core import VisualTokens


def only_rounding(exact: str, other: str, tokens: VisualTokens) -> bool:
    """True if the signal ``other`` serves as well: ``exact`` is not there, and tokens are of float32 or float64."""
    return exact not in tokens.signals and other in tokens.signals and tokens.features.element_size() >= 4
