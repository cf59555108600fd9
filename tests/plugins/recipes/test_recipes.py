"""Recipes on features of real photographs: the same picks as the float64 oracle, in the same order."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import offers
import oracles
import pytest
import torch
from conftest import Photos
from fakes import built

import scope_core as scope
from scope_core import Pruner
from scope_core.parts import parse_signal
from scope_core.structures.signals import FAMILIES

BUDGETS = (16, 32, 64, 128, 192)
VIDEO = (
    *("vidcom2", "vcast", "dycoke", "fastvid", "fastvid@no_cls", "floc", "uniform_frames", "nth_frame"),
    *("vcast@official", "flashvid", "flashvid@no_cls", "holitom", "holitom@no_cls", "prunevid", "framefusion"),
    *("scope@video", "scope@by_frame", "scope@by_segment"),
)
ENCODER_METHODS = ("visionzip", "fastervlm", "vispruner", "prumerge", "prumerge_plus", "hiprune", "holov", "tome")


@pytest.fixture(scope="module")
def cosines(photo_features: Photos) -> dict[str, np.ndarray]:
    return {name: oracles.cosine_matrix(photo_features.one(name)[0][0].numpy()) for name in photo_features.names}


def judge(got: list[int], want: list[int], regrets: Any, scale: float, rounding: float = 1e-7) -> None:
    """The same picks in the same order; past a tie within rounding, picks that are as good."""
    if got != want:
        assert max(regrets(got)) <= rounding * scale


@pytest.mark.parametrize("combiner", ["product", "sum"])
@pytest.mark.parametrize(
    ("alpha", "name"),
    [(0.0, "astronaut"), (0.5, "chelsea"), (1.0, "astronaut"), (1.0, "chelsea"), (1.0, "coffee"), (2.0, "coffee")],
)
def test_scope(alpha: float, name: str, combiner: str, photo_features: Photos, cosines: dict[str, np.ndarray]) -> None:
    features, saliency = photo_features.one(name)
    weights = saliency[0].double().numpy()
    want, gains, scores = oracles.scope_picks(cosines[name], weights, max(BUDGETS), alpha, combiner)
    spec = {"recipe": "scope", "combiner": {"name": combiner, "alpha": alpha}}

    def regrets(picks: list[int]) -> list[float]:
        return oracles.scope_regrets(cosines[name], weights, picks, alpha, combiner)

    for keep in BUDGETS:
        got = scope.select(features, saliency=saliency, spec={**spec, "budget": keep})
        picks = got.picks[0].tolist()
        judge(picks, want[:keep], regrets, scores[0])
        if picks == want[:keep]:
            np.testing.assert_allclose(got.gains[0], gains[:keep], rtol=1e-4, atol=1e-4)
    exact = scope.select(features, saliency=saliency, spec={**spec, "budget": max(BUDGETS), "dtype": "float64"})
    judge(exact.picks[0].tolist(), want, regrets, scores[0], 1e-15)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_coverage_only(name: str, photo_features: Photos, cosines: dict[str, np.ndarray]) -> None:
    features, _ = photo_features.one(name)
    want, gains = oracles.coverage_only_picks(cosines[name], 64)
    got = scope.select(features, spec="coverage_only@64").picks[0].tolist()
    judge(got, want, lambda p: oracles.scope_regrets(cosines[name], np.ones(576), p), gains[0])


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_divprune(name: str, photo_features: Photos, cosines: dict[str, np.ndarray]) -> None:
    features, _ = photo_features.one(name)
    want, _ = oracles.max_min_picks(cosines[name], 192)
    got = scope.select(features, spec="divprune@192").picks[0].tolist()
    judge(got, want, lambda p: oracles.max_min_regrets(cosines[name], p), 1.0, 1e-6)


def test_top_k_attention_and_random(photo_features: Photos, registry: scope.Registry) -> None:
    features, saliency = photo_features.features, photo_features.saliency
    drawn = built(registry, "saliency", {"name": "random", "seed": 0}).score(scope.VisualTokens.of(features))
    for keep in BUDGETS:
        top = scope.select(features, saliency=saliency, spec=f"top_k_attention@{keep}")
        chance = scope.select(features, saliency=saliency, spec=f"random@{keep}")
        for row in range(3):
            assert top.picks[row].tolist() == oracles.top_k_picks(saliency[row].numpy(), keep)
            assert chance.picks[row].tolist() == oracles.top_k_picks(drawn[row].numpy(), keep)


def test_coverage_is_what_scope_is_for(photo_features: Photos) -> None:
    @cache
    def covered(recipe: str) -> torch.Tensor:
        chosen = scope.select(photo_features.features, saliency=photo_features.saliency, spec=f"{recipe}@64")
        return chosen.coverage(0.8)

    assert (covered("scope") > 2 * covered("top_k_attention")).all()
    assert (covered("scope") > covered("random")).all()
    assert (covered("coverage_only") >= covered("scope") - 0.05).all()


@pytest.mark.parametrize("dtype", [pytest.param(torch.float16, marks=offers.half_products), torch.bfloat16])
def test_half_precision_as_published(dtype: torch.dtype, photo_features: Photos, registry: scope.Registry) -> None:
    """``dtype: as_is`` computes every step in the given precision, rounding included."""
    features, saliency = (tensor.to(dtype) for tensor in photo_features.one("coffee"))
    similarity = built(registry, "similarity", "cosine").pairwise(scope.VisualTokens.of(features))[0]
    covered, left, want = torch.zeros(576, dtype=dtype), torch.ones(576, dtype=torch.bool), []
    for _ in range(64):
        score = (similarity - covered[:, None]).clamp(min=0).sum(0) * saliency[0]
        want.append(int(score.masked_fill(~left, -torch.inf).argmax()))
        covered, left[want[-1]] = covered.maximum(similarity[:, want[-1]]), False
    got = scope.select(features, saliency=saliency, spec={"recipe": "scope", "budget": 64, "dtype": "as_is"})
    assert got.picks[0].tolist() == want
    assert got.gains.dtype == dtype
    exact = scope.select(features, saliency=saliency, spec="scope@64")
    assert exact.gains.dtype != dtype


@pytest.mark.parametrize("at_most", [0.05])
def test_half_precision_input_in_float32_loses_little(at_most: float, photo_features: Photos) -> None:
    features, saliency = photo_features.features, photo_features.saliency
    full = scope.select(features, saliency=saliency, spec="scope@64")
    half = scope.select(features.half(), saliency=saliency.half(), spec="scope@64")
    assert (full.coverage(0.8) - half.coverage(0.8)).abs().max() <= at_most


def signals_for(pruner: Pruner, features: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every signal the pruner reads, of the right shape and made up."""
    generator = torch.Generator().manual_seed(0)
    batch, count, width = features.shape
    sizes = {"B": batch, "N": count, "D": width, "H": 4, "C": 8, "M": 5, "T": 2, "F": count}
    made = {}
    for name in sorted(pruner.needs):
        shape = [sizes[axis] for axis in FAMILIES[parse_signal(name)[0]].split()]
        made[name] = torch.rand(shape, generator=generator) / count
    return made


INSIDE = {"fastv": 32, "dart": 32, "dart@official": 28, "pyramiddrop": 270, "pyramiddrop@official": "50%"}
INSIDE |= {"fastv@official": 32, "sparsevlm": 192, "sparsevlm@official": 192}
INSIDE |= {"v2drop": "50%", "priortr": 32, "feather": "41%", "clse": 32, "vscan": 96, "vscan@no_cls": 96}
INSIDE |= {"hawk": 32, "d2pruner": 32, "topv": 32, "ivcprune": 32, "pact": 32, "vtw": 32}
INSIDE |= {"autoprune": 64, "autoprune@fixed": 64, "fitprune": 64}
INSIDE |= {"flashvid@expanded": "50%"}
"""Recipes inside the language model, with budgets that their schedules can meet, of which 32 is a stage's count."""


WITHOUT_CLS = {
    "top_k_attention": "sum",
    "saliency_only": "sum",
    "fastervlm": "mean",
    "vispruner": "mean",
    "holov": "mean",
    "visionzip": "sum",
    "prumerge": "mean",
    "prumerge_plus": "mean",
}
ADAPTIVE = ("anchorprune", "promprune", "agilepruner", "prunesid", "prunesid_dynamic", "scissor", "zooprune")
"""Recipes of 2026 whose variants have tests of their own."""
"""Methods with a variant ``@no_cls``, and how it combines the heads of received attention."""


@pytest.mark.parametrize(("method", "heads"), WITHOUT_CLS.items())
def test_variants_without_cls_read_received_attention(method: str, heads: str, photo_features: Photos) -> None:
    """The same method with another saliency; no row is kept for CLS, and tokens are merged after the projector."""
    received = torch.rand(3, 4, 576, generator=torch.Generator().manual_seed(5)) / 576
    given = {"grid": photo_features.grid, "signals": {"vision.received_attention[-2]": received}}
    given["signals"]["vision.keys[-2]"] = torch.rand(3, 4, 576, 8, generator=torch.Generator().manual_seed(6))
    combined = received.sum(1) if heads == "sum" else received.mean(1)
    variant = scope.Pruner(f"{method}@no_cls@32")
    got = variant.select(photo_features.features, **given)
    if method != "visionzip":  # its CLS row is one of the 32
        wanted = scope.select(photo_features.features, saliency=combined, spec=f"{method}@32", **given)
        assert got.picks.equal(wanted.picks)
    assert got.picks.equal(variant.select(photo_features.features, saliency=combined, **given).picks)
    assert not variant.parts["merger"].uses_cls
    assert variant.spec.at == ("projected" if variant.parts["merger"].mixes or method == "holov" else "vision")


def amount_of(name: str) -> int | str:
    """The budget of a recipe on three photographs; those for videos take them as frames, which share a budget."""
    return "50%" if name in VIDEO or name.startswith("evs") else INSIDE.get(name, 32)


class TestEveryRecipe:
    RECIPES = (
        *INSIDE,
        "scope",
        "scope@no_cls",
        "scope@by_tile",
        "scope@official",
        "top_k_attention",
        "coverage_only",
        "divprune",
        "random",
        "uniform_grid",
        "downsample",
        "saliency_only",
        "divprune@official",
        "cdpruner@openvino",
        "adts",
        "adts@no_cls",
        *(f"{name}{variant}" for name in ("scope_plus", "scope_text") for variant in ("", "@no_cls")),
        "apet",
        "eadp",
        "globalcom2",
        "globalcom2@no_cls",
        "gprune",
        "otprune",
        "otprune@scaled",
        "hiprune@no_cls",
        *(f"{method}@no_cls" for method in WITHOUT_CLS),
        *(f"{method}{release}" for method in ("cdpruner", "mmtok", "evs") for release in ("", "@official")),
        *(f"{method}{release}" for method in ENCODER_METHODS for release in ("", "@official")),
        *ADAPTIVE,
        *(f"{method}@no_cls" for method in ADAPTIVE[:5]),
        *(f"{method}@official" for method in ("anchorprune", "promprune", "prunesid")),
        "vscan@encoder",
        *VIDEO,
    )

    def test_these_are_registered(self, registry: scope.Registry) -> None:
        mine = [r.name for r in registry.records("recipe") if r.origin.distribution == "scope-core"]
        assert sorted(self.RECIPES) == mine

    @pytest.mark.parametrize("name", RECIPES)
    def test_validates_explains_round_trips_and_runs(
        self, name: str, photo_features: Photos, registry: scope.Registry
    ) -> None:
        amount = amount_of(name)
        pruner = Pruner(f"{name}@{amount}", registry=registry)
        again = Pruner(pruner.spec.to_dict(registry), registry=registry)
        assert again.spec.model_copy(update={"recipe": name}) == pruner.spec
        features = photo_features.features
        given = {
            "saliency": photo_features.saliency,
            "grid": photo_features.grid,
            "signals": signals_for(pruner, features),
        }
        got = pruner.select(features, **given)
        assert again.select(features, **given).picks.equal(got.picks)
        plan = pruner.plan([576] * 3)
        if not plan.exact:
            most = 32 if amount == 32 else max(plan.counts)
            assert all(0 < count <= most for count in got.row_counts)
            return
        if amount == 32:
            assert got.row_counts == (32, 32, 32)
        assert sum(got.row_counts) == plan.total

    @pytest.mark.parametrize("name", RECIPES)
    def test_is_written_in_names_alone(self, name: str, registry: scope.Registry) -> None:
        def plain(value: Any) -> bool:
            if isinstance(value, dict):
                return all(isinstance(key, str) and plain(inner) for key, inner in value.items())
            if isinstance(value, (list, tuple)):
                return all(map(plain, value))
            return isinstance(value, (str, int, float)) and ":" not in str(value)

        record = registry.get("recipe", name)
        assert record.item.summary
        assert plain(dict(record.item.spec))
