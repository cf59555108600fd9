"""Encoder-side methods on real features, attention and keys of photographs, against the float64 oracles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import oracles_encoder as oracle
import pytest
import torch

from photographs.conftest import photographs
from scope_core import Layout, Pruner, VisualTokens
from scope_core.adapters import Tower

pytestmark = pytest.mark.tower

BUDGETS = (16, 64, 192)
PHOTOS = (1, 3, 5)


@pytest.fixture(scope="module")
def tokens(tower: Tower) -> VisualTokens:
    """Some photographs with all that these methods read, in float64."""
    needs = {f"vision.{family}[-2]" for family in ("cls_attention", "received_attention", "keys", "cls")}
    needs |= {"vision.cls_attention[-1]", "vision.keys[-1]", "vision.received_attention[9]"}
    photos = list(photographs().values())
    return tower.encode([photos[i] for i in PHOTOS], at="vision", needs=frozenset(needs)).to_dtype(torch.float64)


def kept(recipe: str, tokens: VisualTokens, rows: int | None = None) -> list[list[int]]:
    """Kept tokens of each photograph in the order of the rows."""
    spec = recipe if rows is None else {"recipe": recipe, "budget": {"name": "tokens", "keep": rows}}
    sources = Pruner(spec, dtype="float64").prune(tokens).rows.tolist()
    return [[token for token in row if token >= 0] for row in sources]


def numbers(tokens: VisualTokens, name: str, photo: int, how: str = "mean") -> np.ndarray:
    signal: np.ndarray = tokens.signal(name)[photo].numpy()
    return signal if how == "as_is" else getattr(signal, how)(0)


@pytest.mark.parametrize("rows", BUDGETS)
def test_visionzip(tokens: VisualTokens, rows: int) -> None:
    got = Pruner(f"visionzip@{rows}", dtype="float64").prune(tokens)
    made = got.merge(tokens.features, tokens.signal("vision.cls[-2]"))
    for photo in range(len(PHOTOS)):
        attention = numbers(tokens, "vision.cls_attention[-2]", photo, "sum")
        cls = numbers(tokens, "vision.cls[-2]", photo)
        keys = numbers(tokens, "vision.keys[-2]", photo)
        picks, mixed = oracle.visionzip(attention, keys, tokens.features[photo].numpy(), cls, rows)
        assert got.rows[photo].tolist() == [-1, *picks]
        np.testing.assert_allclose(made[photo], mixed, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rows", BUDGETS)
def test_attention_and_grid_methods(tokens: VisualTokens, rows: int) -> None:
    recipes = ("fastervlm", "vispruner", "holov@official", "hiprune", "hiprune@official")
    found = {recipe: kept(recipe, tokens, rows) for recipe in recipes}
    for photo in range(len(PHOTOS)):
        attention = numbers(tokens, "vision.cls_attention[-2]", photo)
        features = tokens.features[photo].numpy()
        assert found["fastervlm"][photo] == sorted(oracle.ranked(attention)[:rows])
        assert found["vispruner"][photo] == sorted(oracle.vispruner(attention, features, rows))
        assert found["holov@official"][photo] == oracle.holov(attention, features, rows)
        middle = numbers(tokens, "vision.received_attention[9]", photo)
        deep = numbers(tokens, "vision.received_attention[-2]", photo)
        for recipe, wrap in (("hiprune", False), ("hiprune@official", True)):
            assert found[recipe][photo] == oracle.hiprune(middle, deep, rows, 24, wrap=wrap)


@pytest.mark.parametrize("rows", BUDGETS)
@pytest.mark.parametrize("official", [False, True])
def test_tome(tokens: VisualTokens, rows: int, official: bool) -> None:
    got = Pruner(f"tome{'@official' if official else ''}@{rows}", dtype="float64").prune(tokens)
    made = got.merge(tokens.features)
    for photo in range(len(PHOTOS)):
        keys, features = numbers(tokens, "vision.keys[-2]", photo), tokens.features[photo].numpy()
        picks, mixed = oracle.tome(keys, features, rows, evens_first=official)
        order = list(range(rows)) if official else np.argsort(picks)
        assert got.rows[photo].tolist() == [picks[i] for i in order]
        np.testing.assert_allclose(made[photo], mixed[order], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("official", [False, True])
def test_prumerge(tokens: VisualTokens, official: bool) -> None:
    layer, release = (-1, "@official") if official else (-2, "")
    got = Pruner(f"prumerge{release}", dtype="float64").prune(tokens)
    made, plus = got.merge(tokens.features), kept(f"prumerge_plus{release}", tokens)
    grids = 0
    for photo in range(len(PHOTOS)):
        per_head = numbers(tokens, f"vision.cls_attention[{layer}]", photo, "as_is")
        logits = np.log(np.concatenate([1 - per_head.sum(1, keepdims=True), per_head], 1)).sum(0) / len(per_head) ** 0.5
        attention = (np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum())[1:]
        picks = oracle.ranked(attention)[: oracle.iqr_outliers(attention)]
        rows = got.rows[photo].tolist()[: len(picks) + 1]
        assert rows == [*(picks if official else sorted(picks)), -1]
        keys = numbers(tokens, f"vision.keys[{layer}]", photo, "as_is").transpose(1, 0, 2).reshape(576, -1)
        few = picks[:4]
        wanted = oracle.prumerge_rows(attention, keys, tokens.features[photo].numpy(), few)[:-1]
        np.testing.assert_allclose(made[photo][[rows.index(pick) for pick in few]], wanted, rtol=1e-6, atol=1e-6)
        more = oracle.prumerge_plus_released(attention) if official else oracle.prumerge_plus_even(attention)
        if len(more) < 575:  # rows are never more than tokens
            assert plus[photo] == (more if official else sorted(more))
            grids += 1
    assert grids >= 2


@pytest.mark.parametrize("recipe", ["visionzip", "fastervlm", "vispruner", "hiprune", "tome", "prumerge"])
def test_tiles_are_pruned_one_by_one(recipe: str, tokens: VisualTokens) -> None:
    """Three photographs as the three tiles of one image keep what they keep as images of their own."""
    rows = 40
    index = torch.arange(3 * 576)[None]
    tiled = tokens.regroup(index)
    tiled = replace(tiled, tile=index // 576, image=torch.zeros_like(index))
    spec = {"recipe": recipe, "budget": {"name": "tokens", "keep": 3 * rows}}
    got = Pruner(spec, dtype="float64").prune(tiled, Layout.of([[576] * 3])).rows[0]
    alone = kept(recipe, tokens, rows)
    wanted = [token + 576 * tile for tile in range(3) for token in alone[tile]]
    assert got[got >= 0].tolist() == wanted


@pytest.mark.parametrize("recipe", ["visionzip", "fastervlm", "hiprune", "holov", "tome", "prumerge"])
def test_float32_keeps_almost_the_same(recipe: str, tokens: VisualTokens) -> None:
    spec = {"recipe": recipe, "budget": {"name": "tokens", "keep": 64}}
    exact = Pruner(spec, dtype="float64").prune(tokens).mask
    single = Pruner(spec, dtype="float32").prune(tokens).mask
    assert int((exact & single).sum()) >= 0.97 * int(exact.sum())
