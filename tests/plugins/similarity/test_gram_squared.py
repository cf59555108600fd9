"""`gram_squared`: against the formula, symmetric to the last bit, and positive definite."""

from __future__ import annotations

import numpy as np
import torch
from conftest import Photos
from fakes import built

import scope_core as scope
from scope_core import VisualTokens


def test_it_is_the_square_of_the_gram_matrix_of_channels(registry: scope.Registry, photo_features: Photos) -> None:
    x = photo_features.features[:1].double()
    made = built(registry, "similarity", "gram_squared").pairwise(VisualTokens.of(x))[0]
    channels = x[0].numpy() / np.linalg.norm(x[0].numpy(), axis=0)
    gram = channels @ channels.T
    np.testing.assert_allclose(made, np.eye(len(gram)) + 0.01 * gram @ gram, rtol=1e-9, atol=1e-12)
    assert made.equal(made.mT)
    assert torch.linalg.eigvalsh(made).min() > 0.99


def test_padding_does_not_count_for_the_length_of_channels(registry: scope.Registry) -> None:
    part = built(registry, "similarity", "gram_squared")
    x = torch.randn(1, 8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[0, :, 2] = 0  # a channel of zeros
    alone = part.pairwise(VisualTokens.of(x[:, :6]))
    x[0, 6:] = torch.nan
    padded = part.pairwise(VisualTokens.of(x, valid=torch.arange(8)[None] < 6))
    torch.testing.assert_close(padded[:, :6, :6], alone)


def test_gamma_for_a_number_of_channels_grows_as_the_square_falls(registry: scope.Registry) -> None:
    x = torch.randn(2, 9, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def square(data: torch.Tensor, **options: object) -> torch.Tensor:
        made: torch.Tensor = built(registry, "similarity", {"name": "gram_squared", **options}).pairwise(
            VisualTokens.of(data)
        )
        return made - torch.eye(9).double()

    torch.testing.assert_close(square(x, channels=32), 16 * square(x))
    torch.testing.assert_close(square(x, channels=8), square(x))
    copies = x.repeat(1, 1, 4)  # 32 channels that say the same
    torch.testing.assert_close(square(copies, channels=32), square(x, channels=32))
