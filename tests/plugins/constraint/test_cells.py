"""`cells`: tokens by row and column."""

from __future__ import annotations

import pytest
import torch
from fakes import built

import scope_core as scope
from scope_core import VisualTokens


class TestCells:
    TOKENS = VisualTokens.of(torch.ones(2, 6, 2), grid=(2, 3))

    def test_masks(self, registry: scope.Registry) -> None:
        cells = built(registry, "constraint", {"name": "cells", "keep": [[0, 1], [1, 2]], "drop": [[1, 0]]})
        assert cells.must_keep(self.TOKENS).nonzero()[:, 1].tolist() == [1, 5, 1, 5]
        assert cells.must_drop(self.TOKENS).nonzero()[:, 1].tolist() == [3, 3]

    def test_nothing_said(self, registry: scope.Registry) -> None:
        cells = built(registry, "constraint", "cells")
        assert cells.must_keep(self.TOKENS) is None
        assert cells.must_drop(self.TOKENS) is None

    def test_a_cell_off_the_grid_is_an_error(self, registry: scope.Registry) -> None:
        cells = built(registry, "constraint", {"name": "cells", "keep": [[2, 0]]})
        with pytest.raises(
            scope.TokensError, match="no token at row 2, column 0; the last row is 1, the last column 2"
        ):
            cells.must_keep(self.TOKENS)
        with pytest.raises(scope.TokensError, match="tokens without a grid"):
            cells.must_keep(VisualTokens.of(torch.ones(1, 6, 2)))

    @pytest.mark.parametrize("cell", [[-1, 0], [0], [0, 0, 0], "ab"])
    def test_what_is_no_cell(self, cell: object) -> None:
        with pytest.raises(scope.SpecError, match=r"constraints\.0\.keep\.0"):
            scope.Pruner("scope@4", constraints=[{"name": "cells", "keep": [cell]}])
