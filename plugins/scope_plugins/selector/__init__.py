"""Built-in selectors."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Entry, hookimpl
from scope_plugins.selector.chain import Chain, ChainSpec
from scope_plugins.selector.composite import Composite, CompositeSpec


@hookimpl
def scope_selectors() -> Iterable[Entry]:
    """Four parts and an optimizer, and selectors one after another."""
    yield Entry(
        CompositeSpec, Composite, "saliency, similarity, coverage and combiner, with an optimizer", default=True
    )
    yield Entry(ChainSpec, Chain, "selectors one after another on what is left, each with its share of the budget")
