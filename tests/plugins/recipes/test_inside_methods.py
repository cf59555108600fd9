"""Recipes that prune inside the language model: pick for pick against their oracles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import oracles_decoder as oracle
import pytest
import torch
from conftest import Photos

from plugins.decoder_cases import alone, one, select, signals
from scope_core import BudgetError, Layout, Pruner

GOLDEN = Path(__file__).parent / "golden" / "inside_methods.json"


BUDGETS = (16, 32, 64, 128, 192)


RATED = (("text_attention", 2), ("vision_hidden", 0), ("text_hidden", 0))


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
@pytest.mark.parametrize("keep", BUDGETS)
def test_rows_of_attention(name: str, keep: int, photo_features: Photos) -> None:
    """FastV, its release, and PyramidDrop's first stage."""
    features, _ = photo_features.one(name)
    read = signals(features, (1, 8))
    budget = {"name": "tokens", "keep": keep}
    for recipe, family, layer in (
        ("fastv", "received_attention", 1),
        ("fastv@official", "last_query_attention", 1),
        ("pyramiddrop", "last_query_attention", 8),
        ("pyramiddrop@official", "last_query_attention", 8),
    ):
        got = select(alone(recipe, budget=budget), features, read)
        assert got.picks[0].tolist() == oracle.head_mean(one(read, family, layer), keep), recipe


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
@pytest.mark.parametrize("keep", BUDGETS)
def test_raters_and_clusters(name: str, keep: int, photo_features: Photos) -> None:
    """SparseVLM's first stage: picks, which tokens come back, and the rows they come back as."""
    features, _ = photo_features.one(name)
    read = signals(features, (0, 2))
    rows = keep + int((int((576 - keep) * 0.3) + 1) / 10) + 1  # the release counts picks, the budget rows
    got = select(alone("sparsevlm", budget={"name": "tokens", "keep": rows}), features, read)
    scores = oracle.rated(one(read, "text_attention", 2), one(read, "vision_hidden", 0), one(read, "text_hidden", 0))
    count = keep
    assert got.picks[0].tolist() == oracle.top(scores, count)
    back = oracle.recycled(scores, oracle.top(scores, count))
    assert got.row_counts == (rows,)
    assert rows - keep == int(len(back) / 10) + 1
    rows -= keep
    home = oracle.clusters(features[0].double().numpy()[back], rows)
    wanted = np.zeros((rows, features.shape[1]))
    for token, cluster in zip(back, home, strict=True):
        wanted[cluster, token] = 1
    wanted /= wanted.sum(1, keepdims=True)
    np.testing.assert_allclose(got.weights[0, count:].numpy(), wanted, atol=1e-12)
    kept = got.weights[0, :count]
    assert torch.equal(kept.argmax(1), got.kept[0])
    assert torch.equal(kept.sum(1), torch.ones(count).double())
    assert got.rows[0].tolist() == [*got.kept[0].tolist(), *[-1] * rows]


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
@pytest.mark.parametrize("keep", BUDGETS)
def test_pivots(name: str, keep: int, photo_features: Photos) -> None:
    features, _ = photo_features.one(name)
    read = signals(features, (1, 2))
    keys, words = one(read, "keys", 1), one(read, "text_keys", 1)
    got = select(alone("dart", budget=keep), features, read)
    assert got.picks[0].tolist() == oracle.dart(keys, words, one(read, "hidden", 2), one(read, "text_hidden", 2), keep)
    official = select(alone("dart@official", budget={"keep": keep}), features, read)
    wanted = oracle.dart(keys, words, one(read, "normed", 2), one(read, "text_normed", 2), keep // 8 * 8 + 4, offset=35)
    assert official.picks[0].tolist() == wanted
    assert official.counts == (keep // 8 * 8 + 4,)


def test_recorded_selections() -> None:
    """On drawn tensors, as the oracles picked when they were written down: 2 images, one of 3 tiles."""
    draw = torch.Generator().manual_seed(11)
    features = torch.randn(2, 96, 16, generator=draw)
    read = signals(features, (0, 1, 2, 8), seed=12)
    recorded = json.loads(GOLDEN.read_text("utf-8"))
    layout = Layout.of([[96], [32, 32, 32]])
    for key, picks in recorded.items():
        recipe, keep = key.rsplit(" ", 1)
        pruner = alone(recipe, budget={"name": "tokens", "keep": int(keep)})
        got = pruner.select(features, signals={k: v.double() for k, v in read.items()}, layout=layout)
        assert [row[: got.counts[n]].tolist() for n, row in enumerate(got.picks)] == picks, key
    assert len(recorded) == 14


def test_releases_round_down() -> None:
    for full in (575, 577, 2880, 333):
        plan = Pruner("pyramiddrop@official").plan([full])
        assert [plan.total, *(s.total for s in plan.later)] == [int(full * ratio) for ratio in (0.5, 0.25, 0.125)]
        assert Pruner("fastv@official").plan([full]).total == int(full * 0.5)


def test_tables_of_the_release() -> None:
    """SparseVLM's counts are of picked tokens; the budget counts the clusters that come back as well."""
    picked = {192: (300, 200, 110), 128: (303, 110, 36), 64: (66, 30, 17)}
    for keep, counts in picked.items():
        pruner = Pruner(f"sparsevlm@official@{keep}")
        plan, tokens = pruner.plan([576]), 576
        for stage, part, count in zip((plan, *plan.later), pruner.stages, counts, strict=True):
            before, after = part.parts["merger"].extra(tokens, stage.total)
            gone = tokens - count
            assert (before, stage.total - after) == (0, count)
            assert after == int((int(gone * 0.3) + 1) / 10) + 1
            tokens = stage.total
    with pytest.raises(BudgetError, match="no row for 100; there are rows for 192, 128, 64"):
        Pruner("sparsevlm@official@100").plan([576])
    with pytest.raises(BudgetError, match="rows are for larger images"):
        Pruner("sparsevlm@official").plan([100])


def record() -> None:
    """Writes the golden file from the oracles: ``python -c "import test_inside_methods as t; t.record()"``."""
    draw = torch.Generator().manual_seed(11)
    features = torch.randn(2, 96, 16, generator=draw)
    read = signals(features, (0, 1, 2, 8), seed=12)
    made: dict[str, list[list[int]]] = {}
    for keep in (16, 40):
        for recipe, family, layer in (
            ("fastv", "received_attention", 1),
            ("fastv@official", "last_query_attention", 1),
            ("pyramiddrop", "last_query_attention", 8),
            ("pyramiddrop@official", "last_query_attention", 8),
        ):
            made[f"{recipe} {keep}"] = [oracle.head_mean(one(read, family, layer, row), keep) for row in range(2)]
        rows = [oracle.rated(*(one(read, f, n, row) for f, n in RATED)) for row in range(2)]
        extra = next(e for e in range(1, 9) if e == int((int((96 - keep + e) * 0.3) + 1) / 10) + 1)
        made[f"sparsevlm {keep}"] = [oracle.top(scores, keep - extra) for scores in rows]
        for recipe, kind, offset in (("dart", "hidden", None), ("dart@official", "normed", 35)):
            made[f"{recipe} {keep}"] = [
                oracle.dart(
                    *(one(read, f, n, row) for f, n in (("keys", 1), ("text_keys", 1), (kind, 2), (f"text_{kind}", 2))),
                    keep,
                    offset=offset,
                )
                for row in range(2)
            ]
    GOLDEN.write_text(json.dumps(made) + "\n", "utf-8")
