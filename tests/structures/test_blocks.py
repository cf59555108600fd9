"""Similarities computed in blocks: the same numbers whatever the blocks, and exact sums."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import scope_core as scope
from scope_core.structures.blocks import Blocks


def vectors_of(count: int, width: int, scale: float, seed: int) -> torch.Tensor:
    """Random vectors with copies, a zero, and lengths that differ; all of length 1 for a scale of 0."""
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(count, width, generator=generator) * torch.rand(count, 1, generator=generator)
    made[count // 2] = made[0]
    made[count - 1] = 0
    return made * scale if scale else torch.nn.functional.normalize(made, dim=1)


def whole(blocks: Blocks) -> torch.Tensor:
    """(N, N), put together of the triangle."""
    count = len(blocks.own)
    made = torch.full((count, count), torch.nan, dtype=torch.float64)
    for rows, columns, block in blocks.triangle():
        made[rows, columns], made[columns, rows] = block, block.T
    return made


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    count=st.integers(2, 40),
    width=st.integers(1, 70),
    scale=st.sampled_from([1.0, 1e-12, 3e7, 0.0]),
    seed=st.integers(0, 10**6),
    tall=st.integers(1, 9),
    wide=st.integers(1, 9),
)
def test_a_number_does_not_depend_on_its_block(
    count: int, width: int, scale: float, seed: int, tall: int, wide: int
) -> None:
    vectors, valid = vectors_of(count, width, scale, seed), torch.ones(count, dtype=torch.bool)
    blocks = Blocks.of(vectors, valid)
    matrix = whole(blocks)
    small = replace(blocks, size=(tall, wide))
    assert torch.equal(whole(small), matrix)
    index = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[: max(1, count // 2)]
    made = torch.full((count, count), torch.nan, dtype=torch.float64)
    for rows, columns, block in small.rows(index):
        made[rows, columns] = block
    assert torch.equal(made[index], matrix[index])
    for token in range(count):
        assert torch.equal(blocks.row(torch.tensor(token)), matrix[token])
    assert torch.equal(matrix, matrix.T)
    others = torch.arange(count)[(torch.arange(count) != 0) & (torch.arange(count) != count // 2)]
    assert count < 4 or torch.equal(matrix[others, 0], matrix[others, count // 2])  # copies
    assert not matrix[count - 1].any()
    true = vectors.double() @ vectors.double().T
    size = float(true.abs().amax())
    assert (matrix - true).abs().max() <= 2**-24 * width**0.5 * max(size, 1e-300) + 1e-6 * (scale in (0, 1))


@pytest.mark.parametrize("scale", [1.0, 2.0**-30, 5.0])
def test_entries_are_the_exact_products_rounded_once(scale: float) -> None:
    blocks = Blocks.of(vectors_of(9, 33, scale, 4), torch.ones(9, dtype=torch.bool))
    matrix, step = whole(blocks), Fraction(blocks.rounder) / Fraction(3, 2) / 2**52
    exact = [[Fraction(number) for number in row] for row in blocks.vectors.tolist()]
    for i, row in enumerate(exact):
        for j, column in enumerate(exact):
            product = sum(a * b for a, b in zip(row, column, strict=True))
            wanted = round(product / step) * step * Fraction(blocks.unit)
            assert Fraction(float(matrix[i, j])) == (wanted if i != j else Fraction(float(blocks.own[i])))


@pytest.mark.parametrize("scale", [1.0, 0.0, 1e-20, 1.7e9])
def test_products_and_their_partial_sums_are_exact(scale: float) -> None:
    """Whole numbers of 2^-26, so products of 2^-52; by Cauchy and Schwarz no sum of them gets to 2, or to 2^53."""
    vectors = Blocks.of(vectors_of(50, 700, scale, 1), torch.ones(50, dtype=torch.bool)).vectors
    whole_numbers = vectors * 2.0**26
    assert torch.equal(whole_numbers, whole_numbers.round())
    assert 0.3 < float(vectors.square().sum(1).max()) < 1.9


def test_sums_of_columns_do_not_depend_on_their_order() -> None:
    count = 3000
    vectors = vectors_of(count, 16, 1.0, 0).sign() / 4
    vectors += vectors_of(count, 16, 0.01, 1)
    matrix = whole(Blocks.of(vectors, torch.ones(count, dtype=torch.bool))).clamp(min=0)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(2))
    assert torch.equal(matrix.cumsum(0)[-1], matrix[order].cumsum(0)[-1])


def test_a_unit_vector_is_exactly_like_itself() -> None:
    vectors = vectors_of(200, 384, 0.0, 0)
    matrix = whole(Blocks.of(vectors, torch.ones(200, dtype=torch.bool)))
    assert set(matrix.diagonal()[:-1].tolist()) == {1.0}
    assert float(matrix[199, 199]) == 0


def test_padding_is_zero_whatever_it_holds() -> None:
    vectors, valid = vectors_of(10, 4, 1.0, 0), torch.ones(10, dtype=torch.bool)
    vectors[3], valid[3] = torch.nan, False
    matrix = whole(Blocks.of(vectors, valid))
    assert not matrix[3].any()
    vectors[3] = 0
    assert torch.equal(whole(Blocks.of(vectors, valid)), matrix)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, 1e200])
def test_vectors_without_a_length_are_refused(wrong: float) -> None:
    vectors = vectors_of(5, 4, 1.0, 0).double()
    vectors[2, 1] = wrong
    with pytest.raises(scope.PluginOutputError, match="length"):
        Blocks.of(vectors, torch.ones(5, dtype=torch.bool))
