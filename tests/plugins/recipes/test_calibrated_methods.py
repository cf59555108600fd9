"""HAWK, IVC-Prune and VTW, pick for pick against their oracles."""

from __future__ import annotations

import numpy as np
import oracles_calibrated as oracle
import pytest
import torch
from conftest import Photos

from scope_core import Pruner

GRID, KEEP = (24, 24), 40


@pytest.mark.parametrize("name", ["astronaut", "coffee"])
def test_hawk(name: str, photo_features: Photos) -> None:
    features = photo_features.one(name)[0].double()
    make = torch.Generator().manual_seed(3)
    queries = torch.randn(1, 4, 9, 8, generator=make, dtype=torch.float64)
    keys = torch.randn(1, 2, 576, 8, generator=make, dtype=torch.float64) + features[:, None, :, :8]
    queries = torch.cat([queries, torch.zeros(1, 4, 2, 8).double()], 2)  # the padding of a shorter text
    signals = {"decoder.plain_queries[0]": queries, "decoder.plain_keys[0]": keys}
    for weights in ([1.0, 1.0, 1.0, 1.0], [0.0, 3.0, 0.5, 1.5]):
        pruner = Pruner("hawk", saliency={"weights": weights}, budget=KEEP, dtype="float64")
        wanted = oracle.hawk(queries[0, :, :9].numpy(), keys[0].numpy(), weights)
        got = pruner.select(features, signals=signals, grid=GRID)
        assert got.picks[0].tolist() == oracle.ranked(np.round(wanted, 12))[:KEEP]
    plain = Pruner("hawk", budget=KEEP, dtype="float64").select(features, signals=signals, grid=GRID)
    even = Pruner("hawk", saliency={"weights": [1.0] * 4}, budget=KEEP, dtype="float64")
    assert plain.picks.equal(even.select(features, signals=signals, grid=GRID).picks)
    assert Pruner("hawk").plan([576]).total == 114


def test_ivcprune(photo_features: Photos) -> None:
    features = photo_features.one("coffee")[0].double()
    make = torch.Generator().manual_seed(4)
    values = torch.randn(1, 2, 576, 8, generator=make, dtype=torch.float64) + features[:, None, :, :8]
    text = torch.randn(1, 2, 7, 8, generator=make, dtype=torch.float64)
    prompt = torch.cat([torch.randn(1, 2, 5, 8, generator=make).double(), values, text], 2)
    angles = (torch.arange(576.0).double()[:, None] + 5) * 100.0 ** -torch.linspace(0, 1, 8).double()
    padding = torch.zeros(1, 2, 3, 8).double()
    signals = {
        "decoder.values[15]": values,
        "decoder.text_values[15]": torch.cat([text, padding], 2),
        "decoder.prompt_values[15]": torch.cat([prompt, padding], 2),
        "decoder.rotary_cosines[15]": angles.cos()[None],
        "decoder.rotary_sines[15]": angles.sin()[None],
    }
    got = Pruner("ivcprune", dtype="float64").select(features, signals=signals, grid=GRID).picks[0].tolist()
    relevance = oracle.value_relevance(values[0].numpy(), text[0].numpy(), prompt[0].numpy(), 0.01)
    turned = [np.round(part.mean(1).numpy(), 12) for part in (angles.cos(), angles.sin())]
    assert got == oracle.union_left([(np.round(relevance, 12), 115), (turned[0], 29), (turned[1], 29)])


def test_vtw_keeps_nothing_behind_its_layer() -> None:
    assert Pruner("vtw").plan([576, 2880]).total == 0
    evenly = Pruner("uniform_grid@9").select(torch.ones(576, 4), grid=GRID).picks
    assert Pruner("vtw@9").select(torch.ones(576, 4), grid=GRID).picks.equal(evenly)


@pytest.mark.parametrize("name", ["astronaut", "coffee"])
def test_pact(name: str, photo_features: Photos) -> None:
    """The centres in order, what is merged into each, and what goes."""
    features = photo_features.one(name)[0].double()
    make = torch.Generator().manual_seed(5)
    signals = {
        "decoder.image_queries[4]": torch.randn(1, 4, 576, 8, generator=make, dtype=torch.float64),
        "decoder.plain_keys[4]": torch.randn(1, 2, 576, 8, generator=make, dtype=torch.float64),
        "decoder.hidden[4]": features,
        "decoder.keys[4]": features.view(1, 576, 2, -1).transpose(1, 2),
    }
    got = Pruner("pact", dtype="float64").select(features, signals=signals, grid=GRID)
    plain = [signals[f"decoder.{what}[4]"][0].numpy() for what in ("image_queries", "plain_keys", "hidden")]
    groups = oracle.pact(oracle.global_query(*plain), features[0].numpy())
    assert got.picks[0].tolist() == list(groups)
    assert got.weights is not None
    rows = {int(token): row for token, row in zip(got.kept[0], got.weights[0], strict=True)}
    assert {token: set(row.nonzero()[:, 0].tolist()) for token, row in rows.items()} == groups
    for row in rows.values():
        assert row[row > 0].unique().numel() == 1
        assert float(row.sum()) == pytest.approx(1)
    assert not Pruner("pact").plan([576]).exact


def test_autoprune_ranks_by_attention_from_the_text(photo_features: Photos) -> None:
    features = photo_features.one("coffee")[0].double()
    rows = torch.randn(1, 4, 7, 576, generator=torch.Generator().manual_seed(6), dtype=torch.float64).softmax(3)
    pruner = Pruner("autoprune", then=[], budget={"name": "tokens", "keep": KEEP}, dtype="float64")
    got = pruner.select(features, signals={"decoder.text_attention[1]": rows}, grid=GRID)
    wanted = np.round(np.mean([np.mean([head[i] for head in rows[0].numpy()], axis=0) for i in range(7)], axis=0), 15)
    assert got.picks[0].tolist() == oracle.ranked(wanted)[:KEEP]
