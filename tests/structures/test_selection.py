"""`Selection`: what was kept, in raster order and as masks, and how well it covers the image."""

from __future__ import annotations

import json

import numpy as np
import oracles
import pytest
import torch
from conftest import Photos

import scope_core as scope
from scope_core import Selection, TokensError, VisualTokens

THETAS = (0.0, 0.5, 0.7, 0.8, 0.9, 1.0)


@pytest.fixture
def selection() -> Selection:
    """Two groups of five tokens; the second keeps one token less."""
    features = torch.eye(5).expand(2, 5, 5).clone()
    valid = torch.tensor([[True] * 5, [True] * 4 + [False]])
    nan = float("nan")
    return Selection(
        picks=torch.tensor([[4, 0, 2], [3, 1, -1]]),
        gains=torch.tensor([[3.0, 2.0, 1.0], [2.0, 1.0, nan]]),
        scores=torch.tensor([[0.3, 0.2, 0.1], [0.2, 0.1, nan]]),
        tokens=VisualTokens.of(features, valid=valid),
    )


def test_kept_is_the_picks_in_raster_order(selection: Selection) -> None:
    assert selection.counts == (3, 2)
    assert selection.kept.tolist() == [[0, 2, 4], [1, 3, -1]]
    assert selection.mask.int().tolist() == [[1, 0, 1, 0, 1], [0, 1, 0, 1, 0]]


@pytest.mark.parametrize("tail", [(), (3,), (2, 2)])
def test_gather_takes_any_tensor_with_the_token_axis(selection: Selection, tail: tuple[int, ...]) -> None:
    values = torch.arange(10).reshape(2, 5, *[1] * len(tail)).expand(2, 5, *tail) + 1
    taken = selection.gather(values)
    assert taken.shape == (2, 3, *tail)
    assert taken.reshape(2, 3, -1)[..., 0].tolist() == [[1, 3, 5], [7, 9, 0]]
    assert selection.gather(values > 2).dtype == torch.bool


def test_gather_refuses_other_axes(selection: Selection) -> None:
    with pytest.raises(TokensError, match=r"with \(B, N\) = \(2, 5\); got \(2, 4\)"):
        selection.gather(torch.zeros(2, 4))


def test_coverage_agrees_with_the_oracle_on_photographs(photo_features: Photos) -> None:
    chosen = scope.select(photo_features.features, saliency=photo_features.saliency, spec="scope@16")
    measured = chosen.coverage(THETAS)
    for row, features in enumerate(photo_features.features.numpy()):
        expected = [oracles.theta_coverage(features, chosen.picks[row].tolist(), theta) for theta in THETAS]
        np.testing.assert_allclose(measured[row].numpy(), expected, atol=1.01 / 576)
    assert chosen.coverage(0.8).tolist() == measured[:, 3].tolist()


def test_coverage_counts_valid_tokens_only_and_nothing_where_nothing_is_kept(selection: Selection) -> None:
    assert selection.coverage(1.0).tolist() == pytest.approx([3 / 5, 2 / 4])
    empty = scope.select(torch.eye(5), spec="coverage_only@0")
    assert empty.coverage((0.0, 0.8)).tolist() == [[0, 0]]


def test_zero_vectors_are_covered_by_nothing() -> None:
    features = torch.eye(4)
    features[3] = 0
    everything = scope.select(features, spec="coverage_only@4")
    assert everything.coverage(0.8).tolist() == [oracles.theta_coverage(features.numpy(), range(4), 0.8)] == [0.75]


def test_share_of_agrees_with_the_oracle(selection: Selection) -> None:
    values = torch.rand(2, 5, generator=torch.Generator().manual_seed(1))
    for row in range(2):
        picks, valid = selection.picks[row, : selection.counts[row]], selection.tokens.valid[row]
        expected = oracles.saliency_share(values[row].numpy(), picks.tolist(), valid.numpy())
        assert float(selection.share_of(values)[row]) == pytest.approx(expected, rel=1e-6)


def test_json_has_one_entry_per_row_and_no_padding(selection: Selection) -> None:
    first, second = json.loads(selection.to_json(thetas=(0.8,)))["rows"]
    assert first["picks"] == [4, 0, 2]
    assert first["kept"] == [0, 2, 4]
    assert second["picks"] == [3, 1]
    assert second["gains"] == [2.0, 1.0]
    assert second["tokens"] == 4
    assert second["theta_coverage"] == {"0.8": pytest.approx(0.5)}


def test_what_is_known_of_a_selection_follows_its_fields(selection: Selection) -> None:
    assert selection.arranged is selection.arranged is selection.kept
    same = selection.changed(allotted=(3, 2), tokens=selection.tokens)
    assert same.kept is selection.kept
    assert same.counts == (3, 2)
    stages = selection.changed(order="stages", stage=torch.tensor([[0, 1, 1], [1, 0, 0]]))
    assert stages.arranged.tolist() == [[4, 0, 2], [1, 3, -1]]
    assert stages.kept is selection.kept
    fewer = selection.changed(picks=selection.picks[:, :1])
    assert (fewer.counts, fewer.kept.tolist()) == ((1, 1), [[4], [3]])
    assert fewer.mask.sum() == 2


def test_full_rows_are_arranged_as_padded_ones_are(selection: Selection) -> None:
    full = selection.changed(picks=selection.picks[:, :2], stage=torch.tensor([[1, 0], [0, 0]]), order="stages")
    padded = full.changed(
        picks=torch.nn.functional.pad(full.picks, (0, 1), value=-1), stage=torch.tensor([[1, 0, 0], [0, 0, 0]])
    )
    assert torch.equal(padded.kept[:, :2], full.kept)
    assert torch.equal(padded.mask, full.mask)
    assert torch.equal(padded.arranged[:, :2], full.arranged)
