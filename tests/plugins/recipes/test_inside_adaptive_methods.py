"""Methods of 2026 inside the language model, pick for pick against their oracles, and ZOO-Prune's signal."""

from __future__ import annotations

import numpy as np
import oracles_adaptive as oracle
import pytest
import torch
from conftest import Photos

import scope_core as scope
from scope_adapters import ProjectorSensitivity
from scope_core import Pruner, VisualTokens

GRID, KEEP = (24, 24), 40


def drawn(features: torch.Tensor) -> dict[str, torch.Tensor]:
    """Signals of a decoder in float64: one image, a text of 9 tokens, 4 heads of queries and 2 of keys."""
    make = torch.Generator().manual_seed(0)
    count, width = features.shape[1:]
    late = features + torch.randn(1, count, width, generator=make) * features.abs().mean(2, keepdim=True)
    attention = torch.randn(1, 4, 9, count, generator=make).mul(2).softmax(3) * 0.3
    return {
        "decoder.hidden[0]": features,
        "decoder.hidden[1]": late,
        "decoder.hidden[2]": features,
        "decoder.hidden[3]": late,
        "decoder.text_attention[2]": attention,
        "decoder.last_query_attention[0]": attention[:, :, -1],
        "decoder.plain_queries[7]": torch.randn(1, 4, 9, 8, generator=make),
        "decoder.plain_keys[7]": torch.randn(1, 2, count, 8, generator=make),
    }


@pytest.mark.parametrize("name", ["astronaut", "coffee"])
def test_picks(name: str, photo_features: Photos) -> None:
    features = photo_features.one(name)[0].double()
    read = {key: tensor.double() for key, tensor in drawn(features).items()}
    plain = {key: tensor[0].numpy() for key, tensor in read.items()}

    def picks(recipe: str) -> list[int]:
        pruner = Pruner(recipe, then=[], budget={"name": "tokens", "keep": KEEP}, dtype="float64")
        found: list[int] = pruner.select(features, signals=read, grid=GRID).picks[0].tolist()
        return found

    assert picks("v2drop") == oracle.hidden_change(plain["decoder.hidden[2]"], plain["decoder.hidden[3]"])[:KEEP]
    assert picks("priortr") == oracle.priortr(plain["decoder.text_attention[2]"])[:KEEP]
    change = oracle.spectral_change(plain["decoder.hidden[0]"], plain["decoder.hidden[1]"], 24)
    attention = plain["decoder.last_query_attention[0]"].mean(0)
    assert picks("clse") == oracle.ranked(np.round(change * attention, 12))[:KEEP]
    fitting = oracle.content_attention(plain["decoder.plain_queries[7]"], plain["decoder.plain_keys[7]"])
    got = picks("feather")
    evenly = got[: round(KEEP * 64 / 236)]
    rest = [j for j in oracle.ranked(np.round(fitting, 12)) if j not in evenly]
    assert got[len(evenly) :] == rest[: KEEP - len(evenly)]
    assert evenly == Pruner(f"uniform_grid@{len(evenly)}").select(features, grid=GRID).picks[0].tolist()


def test_counts_of_all_stages() -> None:
    for recipe, counts in (
        ("v2drop", (288, 144, 1)),
        ("clse", (330, 210, 62)),
        ("feather", (236, 52)),
        ("vscan", (96, 32)),
    ):
        plan = Pruner(recipe).plan([576])
        assert (plan.total, *(later.total for later in plan.later)) == counts


def test_frequencies_need_a_whole_grid(photo_features: Photos) -> None:
    features = photo_features.one("coffee")[0]
    valid = torch.arange(576)[None] != 7
    with pytest.raises(scope.TokensError, match="not its whole grid"):
        Pruner("clse", then=[], budget=9).select(features, signals=drawn(features), grid=GRID, valid=valid)


def test_projector_sensitivity() -> None:
    """Of a linear projector, the mean length of what it makes of random directions, the same for all tokens; a
    projector that saturates is sensitive where it does not."""
    features = torch.randn(1, 30, 6, generator=torch.Generator().manual_seed(1))
    tokens = VisualTokens.of(features, signals={"vision.hidden[-2]": features})
    linear = torch.nn.Linear(6, 5)
    found = ProjectorSensitivity(linear)({}, tokens)
    torch.testing.assert_close(found, found[:, :1].expand_as(found), rtol=1e-3, atol=1e-4)
    bound = torch.linalg.svdvals(linear.weight)
    assert bound[-1] <= found[0, 0] <= bound[0]
    steep = ProjectorSensitivity(lambda x: torch.tanh(3 * x))({}, tokens)
    assert torch.corrcoef(torch.stack([steep[0], -features[0].abs().mean(1)]))[0, 1] > 0.5
    got = scope.select(features, spec="zooprune@8", signals={"projector.sensitivity": steep})
    wanted = oracle.grow(
        oracle.cosines(features[0].double().numpy()), steep[0].double().numpy(), [int(got.picks[0, 0])], 8
    )
    assert got.picks[0].tolist() == wanted
    with pytest.raises(scope.AttachError, match="maps each token by itself"):
        ProjectorSensitivity(lambda x: x[:, ::2])({}, tokens)
