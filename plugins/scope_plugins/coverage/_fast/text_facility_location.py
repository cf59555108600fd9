"""Kernel of facility location of the text: updates read only text tokens that a pick covers better than before."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from scope_core import VisualTokens
from scope_plugins.coverage._fast.facility_location import rising_rows
from scope_plugins.coverage._fast.incremental import Incremental

if TYPE_CHECKING:
    from scope_plugins.coverage._fast.incremental import Group


class TextFacilityLocationKernel(Incremental):
    """Facility location of a matrix with a row for each word."""

    def groups(self, coverage: Any, similarity: Tensor, tokens: VisualTokens) -> Callable[[int, int], Group] | None:
        """Compiled updates of gains."""
        words = coverage.words(tokens)
        return rising_rows(words, words.mT)
