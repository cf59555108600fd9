"""Sums of tokens by the weights of a merger: those of the product, whichever way they are added up."""

from __future__ import annotations

import pytest
import torch

from scope_core.structures.mixed import weighted_rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("once", [True, False])
def test_the_sums_are_those_of_the_product(once: bool, dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(0)
    for batch, rows, count in ((1, 1, 1), (2, 5, 9), (3, 7, 40), (1, 0, 4), (2, 3, 0)):
        tokens = torch.randn(batch, count, 6, generator=draw).to(dtype)
        weights = torch.randn(batch, rows, count, generator=draw).to(dtype)
        if once and rows:  # each token in one row at most
            row = torch.randint(-1, rows, (batch, 1, count), generator=draw)
            weights = weights * (torch.arange(rows)[:, None] == row)
        found, wanted = weighted_rows(weights, tokens), weights.double() @ tokens.double()
        assert found.dtype == dtype
        close = 0.1 if dtype is torch.bfloat16 else 1e-5
        torch.testing.assert_close(found.double(), wanted, rtol=close, atol=close)


def test_rows_of_one_token_are_that_token() -> None:
    """To the last bit, whatever else is merged, and even if another token is infinite."""
    tokens = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(1))
    tokens[1, 5] = torch.inf
    weights = torch.zeros(2, 3, 6)
    weights[:, 0, 2] = weights[:, 1, 4] = 1
    weights[:, 2, [0, 5]] = 0.5
    rows = weighted_rows(weights, tokens)
    assert torch.equal(rows[:, 0], tokens[:, 2])
    assert torch.equal(rows[:, 1], tokens[:, 4])
    assert rows[1, 2].isinf().all()
    grown = tokens[:1].clone().requires_grad_()
    weighted_rows(weights[:1], grown).sum().backward()
    assert torch.equal(grown.grad[0, :, 0], weights[0].sum(0))
