"""Built-in budgets."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Entry, hookimpl
from scope_plugins.budget.ratio import Ratio, RatioSpec
from scope_plugins.budget.tokens import Tokens, TokensSpec


@hookimpl
def scope_budgets() -> Iterable[Entry]:
    """A number of tokens, or a share of them."""
    yield Entry(TokensSpec, Tokens, "a fixed number of tokens per image, tile or call")
    yield Entry(RatioSpec, Ratio, "a share of the tokens of each image, tile or call")
