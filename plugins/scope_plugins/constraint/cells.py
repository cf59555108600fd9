"""Cells of the token grid that must be kept or dropped."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from scope_core import TokensError, VisualTokens
from scope_core.parts import ComponentSpec, Constraint

Cell = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]


class CellsSpec(ComponentSpec):
    """Cells by (row, column), from 0 at the top left, in every tile."""

    name: Literal["cells"] = "cells"
    keep: tuple[Cell, ...] = ()
    """Cells whose tokens must be kept."""
    drop: tuple[Cell, ...] = ()
    """Cells whose tokens are excluded: neither picked nor counted in coverage."""


class Cells(Constraint[CellsSpec]):
    """Must-keep and must-drop masks from grid positions."""

    reads_places = True

    def must_keep(self, tokens: VisualTokens) -> Tensor | None:
        """(B, N) bool."""
        return self._mask(tokens, self.spec.keep)

    def must_drop(self, tokens: VisualTokens) -> Tensor | None:
        """(B, N) bool."""
        return self._mask(tokens, self.spec.drop)

    def _mask(self, tokens: VisualTokens, cells: tuple[Cell, ...]) -> Tensor | None:
        mask = None
        for row, col in cells:
            cell = (tokens.row == row) & (tokens.col == col)
            if not bool(cell.any()):
                raise TokensError(
                    f"constraint {self}: there is no token at row {row}, column {col}; the last row is "
                    f"{int(tokens.row.max())}, the last column {int(tokens.col.max())} (-1: tokens without a grid)"
                )
            mask = cell if mask is None else mask | cell
        return mask
