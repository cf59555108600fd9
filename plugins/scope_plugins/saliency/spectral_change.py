"""Change of the fine detail around each token between two layers of the language model."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import TokensError, VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource

_EPS = 1e-6


class SpectralChangeSpec(ComponentSpec):
    """Change of the high spatial frequencies of the features."""

    name: Literal["spectral_change"] = "spectral_change"
    layer: Annotated[int, Field(ge=1)]
    """The decoder layer whose input is compared, counted from 0; at most that of the stage, ``decoder[k]``."""
    before: Annotated[int, Field(ge=0)] = 0
    """The layer whose input it is compared with."""
    cutoff: Annotated[float, Field(gt=0)] = 0.1
    """Width of the frequencies that are left out, as a share of half of the grid's shorter side."""
    temperature: Annotated[float, Field(gt=0)] = 0.1
    """Divisor of the standardised change before the sigmoid; small values separate tokens more."""


class SpectralChange(SaliencySource[SpectralChangeSpec]):
    """The tokens whose surroundings the language model sharpens or smooths in its first layers.

    Use it as a factor of attention, in a first stage: it needs the whole grid of each tile.

    ``s = mean_channels |high-pass(x)|`` by a 2-D Fourier transform with weights ``1 - exp(-r^2 / 2 w^2)``, r the
    distance from frequency 0 and w ``cutoff`` times half of the shorter side; ``e = min(|s' - s| / (mean s + s), 1)``;
    ``a = sigmoid((e - mean e) / (std e) / temperature)``. Source: CLSE, ECCV 2026, arXiv 2606.24165.
    """

    reads_places = True

    @property
    def needs(self) -> frozenset[str]:
        """Hidden states at two layers."""
        return frozenset({f"decoder.hidden[{self.spec.layer}]", f"decoder.hidden[{self.spec.before}]"})

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [0, 1].

        Raises:
            TokensError: a tile's tokens are not its whole grid.
        """
        found = torch.zeros_like(tokens.features[..., 0])
        for group, valid in enumerate(tokens.valid):
            if not bool(valid.any()):
                continue
            old, new = (self._detail(tokens, group, layer)[valid] for layer in (self.spec.before, self.spec.layer))
            change = ((new - old).abs() / (old.mean() + old + _EPS)).clamp(max=1)
            spread = change.std() if len(change) > 1 else change.new_zeros(())
            level = (change - change.mean()) / (spread + _EPS) / self.spec.temperature
            found[group, valid] = level.sigmoid().to(found.dtype)
        return found

    def _detail(self, tokens: VisualTokens, group: int, layer: int) -> Tensor:
        """(N,) mean size of the high frequencies at each place of each tile; 0 for padding."""
        states = tokens.signal(f"decoder.hidden[{layer}]")[group]
        states = states if states.element_size() > 2 else states.float()
        detail = states.new_zeros(len(states))
        tiles = torch.stack([tokens.image[group], tokens.tile[group]], 1)
        for tile in torch.unique(tiles[tokens.valid[group]], dim=0):
            index = (tokens.valid[group] & (tiles == tile).all(1)).nonzero().flatten()
            row, col = tokens.row[group, index], tokens.col[group, index]
            shape = int(row.max()) + 1, int(col.max()) + 1
            plane = states.new_zeros(*shape, states.shape[1])
            place = row.clamp(min=0) * shape[1] + col.clamp(min=0)
            if len(index) != shape[0] * shape[1] or bool((row < 0).any()) or len(torch.unique(place)) != len(index):
                raise TokensError(
                    f"saliency {self}: {tokens.name_of(group, int(index[0]))} is of a tile with {len(index)} tokens "
                    f"that are not its whole grid, which frequencies need; use it in a first stage, where no token is "
                    f"dropped yet, and with a grid"
                )
            plane[row, col] = states[index]
            detail[index] = _high_frequencies(plane, self.spec.cutoff)[row, col]
        return detail


def _high_frequencies(plane: Tensor, cutoff: float) -> Tensor:
    """(H, W) mean over channels of what a high-pass leaves of an (H, W, D) plane."""
    shape = plane.shape[:2]
    rows, cols = (torch.arange(size, device=plane.device) - size // 2 for size in shape)
    square = (rows[:, None] ** 2 + cols**2).to(plane.dtype)
    width = min(shape[0] // 2, shape[1] // 2) * cutoff
    keep = 1 - torch.exp(-square / (2 * width**2)) if width else (square > 0).to(plane.dtype)
    spectrum = torch.fft.fftshift(torch.fft.fft2(plane, dim=(0, 1)), dim=(0, 1)) * keep[..., None]
    high: Tensor = torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(0, 1)), dim=(0, 1)).abs().mean(2)
    return high
