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

    Use it as a factor of attention, in a first stage: it needs the whole grid of an image, in one tile.

    ``s = mean_channels |high-pass(x)|`` by a 2-D Fourier transform with weights ``1 - exp(-r^2 / 2 w^2)``, r the
    distance from frequency 0 and w ``cutoff`` times half of the shorter side; ``e = min(|s' - s| / (mean s + s), 1)``;
    ``a = sigmoid((e - mean e) / (std e) / temperature)``. Source: CLSE, ECCV 2026, arXiv 2606.24165.
    """

    @property
    def needs(self) -> frozenset[str]:
        """Hidden states at two layers."""
        return frozenset({f"decoder.hidden[{self.spec.layer}]", f"decoder.hidden[{self.spec.before}]"})

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [0, 1].

        Raises:
            TokensError: an image's tokens are not the whole grid of one tile, row by row.
        """
        found = torch.zeros_like(tokens.features[..., 0])
        for group in range(tokens.shape[0]):
            index = tokens.valid[group].nonzero().flatten()
            if not len(index):
                continue
            shape = self._grid(tokens, group, index)
            old, new = (
                self._detail(tokens.signal(f"decoder.hidden[{layer}]")[group, index], shape)
                for layer in (self.spec.before, self.spec.layer)
            )
            change = ((new - old).abs() / (old.mean() + old + _EPS)).clamp(max=1)
            spread = change.std() if len(change) > 1 else change.new_zeros(())
            level = (change - change.mean()) / (spread + _EPS) / self.spec.temperature
            found[group, index] = level.sigmoid().to(found.dtype)
        return found

    def _grid(self, tokens: VisualTokens, group: int, index: Tensor) -> tuple[int, int]:
        rows, cols = tokens.row[group, index], tokens.col[group, index]
        height, width = int(rows.max()) + 1, int(cols.max()) + 1
        whole = len(index) == height * width and bool(
            (rows * width + cols).equal(torch.arange(len(index), device=rows.device))
        )
        if not whole:
            raise TokensError(
                f"saliency {self}: {tokens.name_of(group)} has {len(index)} tokens that are not the whole grid of one "
                f"tile, row by row, which frequencies need; use it in a first stage, on models that encode an image as "
                f"one tile"
            )
        return height, width

    def _detail(self, states: Tensor, shape: tuple[int, int]) -> Tensor:
        """(n,) mean size of the high frequencies at each place."""
        height, width = shape
        states = states.double() if states.dtype == torch.float64 else states.float()
        place = [torch.arange(size, device=states.device) - size // 2 for size in shape]
        square = (place[0][:, None] ** 2 + place[1] ** 2).to(states.dtype)
        scale = min(height // 2, width // 2) * self.spec.cutoff
        keep = 1 - torch.exp(-square / (2 * scale**2)) if scale else (square > 0).to(states.dtype)
        plane = states.T.reshape(-1, height, width)
        spectrum = torch.fft.fftshift(torch.fft.fft2(plane), dim=(-2, -1)) * keep
        high = torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(-2, -1))).abs()
        detail: Tensor = high.mean(0).flatten()
        return detail
