"""Methods that prune inside the language model: parts and recipes pick for pick against their oracles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import oracles_decoder as oracle
import pytest
import torch
from conftest import Photos
from fakes import built
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from scope_core import BudgetError, Layout, Pruner, SpecError

GOLDEN = Path(__file__).parent / "golden" / "inside_methods.json"
BUDGETS = (16, 32, 64, 128, 192)
RATED = (("text_attention", 2), ("vision_hidden", 0), ("text_hidden", 0))


def signals(features: torch.Tensor, layers: tuple[int, ...], seed: int = 0) -> dict[str, torch.Tensor]:
    """Signals of all families at the layers, made from (B, N, D) features and a drawn text of 24 tokens."""
    draw = torch.Generator().manual_seed(seed)
    batch, _, width = features.shape
    heads, words = 4, 24
    project = [torch.randn(width, width, generator=draw) / width**0.5 for _ in range(3)]
    text = torch.randn(batch, words, width, generator=draw) * features.std()
    made: dict[str, torch.Tensor] = {}
    for layer in layers:
        split = lambda x, p: (x @ p).unflatten(2, (heads, -1)).transpose(1, 2)  # noqa: E731
        keys, asked = split(features, project[0] * (1 + 0.1 * layer)), split(text, project[1])
        attention = (asked @ keys.transpose(2, 3) / (width / heads) ** 0.5).softmax(3)
        made |= {
            f"decoder.text_attention[{layer}]": attention,
            f"decoder.last_query_attention[{layer}]": attention[:, :, -1],
            f"decoder.received_attention[{layer}]": attention.mean(2),
            f"decoder.hidden[{layer}]": features,
            f"decoder.normed[{layer}]": features * (1 + torch.linspace(0, 1, width)),
            f"decoder.vision_hidden[{layer}]": features,
            f"decoder.keys[{layer}]": keys,
            f"decoder.text_hidden[{layer}]": text,
            f"decoder.text_normed[{layer}]": text * (1 + torch.linspace(0, 1, width)),
            f"decoder.text_keys[{layer}]": split(text, project[2]),
        }
    return made


def one(read: dict[str, torch.Tensor], family: str, layer: int, row: int = 0) -> np.ndarray[Any, Any]:
    return read[f"decoder.{family}[{layer}]"][row].double().numpy()


def alone(recipe: str, **options: Any) -> Pruner:
    """The first stage of a recipe, without those behind it, in float64."""
    return Pruner(recipe, then=[], dtype="float64", **options)


def select(pruner: Pruner, features: torch.Tensor, read: dict[str, torch.Tensor]) -> scope.Selection:
    return pruner.select(features, signals={name: tensor.double() for name, tensor in read.items()})


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


def test_pivots_at_the_edges() -> None:
    features = torch.randn(2, 12, 8, generator=torch.Generator().manual_seed(0))
    spec: dict[str, Any] = {
        "selector": {"name": "pivots", "saliency": "feature_norm", "pivots": 3, "text_pivots": 0},
        "at": "projected",
    }
    valid = torch.ones(2, 12, dtype=torch.bool)
    valid[1, 5:] = False
    for keep in (0, 1, 2, 3, 4, 5):
        got = scope.select(features, spec={**spec, "budget": keep}, valid=valid)
        assert got.counts == (keep, keep)
        assert all(len(set(row.tolist())) == keep for row in got.picks)
        assert not (got.mask & ~valid).any()
    for wrong in ({"text_pivots": 4}, {"pivots": 0, "text_pivots": 0}):
        with pytest.raises(SpecError, match="pivot"):
            Pruner({**spec, "selector": {**spec["selector"], **wrong}, "budget": 4})


def test_pivots_give_way_to_required_tokens(registry: scope.Registry) -> None:
    features = torch.randn(1, 10, 4, generator=torch.Generator().manual_seed(1))
    part = built(registry, "selector", {"name": "pivots", "saliency": "feature_norm", "pivots": 3, "text_pivots": 0})
    for required in ([0, 1], [7, 8, 9], [2, 3, 4, 5]):
        mask = torch.zeros(1, 10, dtype=torch.bool)
        mask[0, required] = True
        tokens = scope.VisualTokens.of(features, required=mask)
        for keep in range(len(required), 11):
            picks = part.select(tokens, [keep]).picks[0].tolist()
            assert len(set(picks)) == keep
            assert set(required) <= set(picks)


@given(
    full=st.integers(1, 60),
    layers=st.lists(st.integers(1, 8), min_size=2, max_size=4),
    average=st.integers(1, 60),
)
def test_average(full: int, layers: list[int], average: int) -> None:
    """The largest factor that fits, and a refusal that names the least that can be met."""
    starts = np.cumsum(layers)[:-1].tolist()
    spec = {
        "recipe": "random",
        "budget": {"name": "average", "keep": average, "layers": sum(layers)},
        "at": f"decoder[{starts[0]}]",
        "then": [{"at": f"decoder[{start}]"} for start in starts[1:]],
    }
    pruner = Pruner(spec)
    least = -(-(full * layers[0] + sum(layers[1:])) // sum(layers))
    if average > full:
        with pytest.raises(BudgetError, match=f"has {full}"):
            pruner.plan([full])
        return
    if average < least:
        with pytest.raises(BudgetError, match=f"the smallest average is {least},"):
            pruner.plan([full])
        return
    plan = pruner.plan([full])
    counts = [plan.total, *(stage.total for stage in plan.later)]
    assert counts == oracle.average_counts(full, layers, average)


def test_average_of_published_schedules() -> None:
    """PyramidDrop's own factor gives its own counts, and its own average gives them back."""
    for budget in ({}, {"budget": 270}):
        plan = Pruner("pyramiddrop", **budget).plan([576])
        assert [plan.total, *(stage.total for stage in plan.later)] == [288, 144, 72]
    with pytest.raises(BudgetError, match="the smallest average is 145, with 1 token after every stage"):
        Pruner("pyramiddrop@64").plan([576])
    later = {"at": "decoder[20]", "budget": {"name": "average", "decay": 0.5, "layers": 32}}
    mixed = Pruner("pyramiddrop", budget={"name": "tokens", "keep": 9}, then=[later])
    with pytest.raises(BudgetError, match="give this budget to every stage"):
        mixed.plan([576])


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
    with pytest.raises(BudgetError, match="larger images"):
        Pruner("sparsevlm@official").plan([100])


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"name": "staged", "keep": [5, 3]}, "2 numbers.*3 stages"),
        ({"name": "staged", "ratios": [0.5, 0.2, 0.3]}, "grows"),
        ({"name": "staged"}, "either `keep` or `ratios`"),
        ({"name": "staged", "keep": [700, 5, 3]}, "keeps 700 tokens of image 0 after stage 0 of 3, but it has only 576"),
        ({"name": "average", "layers": 32}, "give `keep`"),
        ({"name": "average", "keep": 200, "layers": 16}, "has `layers: 16`, but a stage is at"),
        ({"name": "lookup", "keep": 1, "rows": [[1, 5, 3]]}, "counts for 2 stages, but there are 3"),
        ({"name": "stepped", "keep": 576, "step": 8, "plus": 4}, "keeps 580 tokens"),
    ],
)
def test_budgets_that_cannot_be_met(budget: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Pruner({"recipe": "pyramiddrop", "budget": budget}).plan([576])


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0])
def test_rank(scale: float) -> None:
    """SparseVLM's own rule, on attention of a known rank."""
    draw = torch.Generator().manual_seed(4)
    features = torch.randn(1, 40, 8, generator=draw)
    read = signals(features, (0, 2), seed=5)
    chosen = oracle.raters(one(read, "vision_hidden", 0), one(read, "text_hidden", 0))
    rank = 3
    low = torch.rand(24, rank, generator=draw) @ torch.rand(rank, 40, generator=draw)
    read["decoder.text_attention[2]"] = low[None, None].expand(1, 4, 24, 40)
    budget = {"name": "attention_rank", "layer": 2, "scale": scale}
    pruner = alone("sparsevlm", budget=budget, merger="none")
    assert not pruner.plan([40]).exact
    assert pruner.plan([40]).total == 40
    got = select(pruner, features, read)
    assert got.counts == (40 - int(scale * (40 - min(rank, len(chosen)))),)


def test_a_prompt_without_text_behind_its_image() -> None:
    features = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(2))
    read = signals(features, (0, 2))
    for name in ("text_attention[2]", "text_hidden[0]"):
        read[f"decoder.{name}"] = read[f"decoder.{name}"].clone()
    read["decoder.text_hidden[0]"][1] = 0
    read["decoder.text_attention[2]"][1] = 0
    got = select(alone("sparsevlm", budget={"name": "tokens", "keep": 3}, merger="none"), features, read)
    assert got.picks[1].tolist() == [0, 1, 2]


def test_clusters_with_equal_tokens_are_deterministic() -> None:
    features = torch.ones(1, 30, 4)
    read = signals(features, (0, 2))
    pruner = alone("sparsevlm", budget={"name": "tokens", "keep": 10}, merger={"share": 1.0, "per_cluster": 5})
    first, second = (select(pruner, features, read) for _ in range(2))
    assert torch.equal(first.weights, second.weights)
    assert torch.allclose(first.weights.sum(2), torch.ones(1, 10).double())


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
