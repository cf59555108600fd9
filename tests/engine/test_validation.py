"""Parts that break their contract: the error names part, distribution, what came back and what was expected."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from fakes import entry, module, with_part

import scope_core as scope
from scope_core import PluginOutputError, Selection
from scope_core.parts import (
    Budget,
    Combiner,
    Constraint,
    Merger,
    Optimizer,
    Partition,
    Picks,
    SaliencySource,
    Selector,
    SimilarityMetric,
    Span,
)

FEATURES = torch.eye(6)[None] + 0.1
NAN = float("nan")


def refuse(registry: scope.Registry, spec: dict[str, Any], *texts: str) -> None:
    with pytest.raises(PluginOutputError) as caught:
        scope.select(FEATURES, spec={"recipe": "coverage_only", "budget": 2, **spec}, grid=(2, 3), registry=registry)
    for text in ("'acme.fake' (this process)", *texts):
        assert text in str(caught.value)


class TestPartition:
    @pytest.mark.parametrize(
        ("groups", "text"),
        [
            ([], "each of the 6 tokens of image 0 into exactly one group; its spans are none"),
            ([(Span(0, 0, 5),)], "its spans are 0-5"),
            ([(Span(0, 0, 4),), (Span(0, 3, 6),)], "its spans are 0-4, 3-6"),
            ([(Span(0, 0, 6),), (Span(0, 0, 6),)], "its spans are 0-6, 0-6"),
            ([(Span(0, 0, 7),)], "its spans are 0-7"),
            ([(Span(1, 0, 6),)], "Span(image=1, start=0, stop=6) for 1 images"),
            ([((0, 0, 6),)], "split() returned (0, 0, 6) for 1 images; expected groups of Span"),
            ([(Span(0, 0, 6),), ()], "split() returned a group without spans"),
        ],
    )
    def test_tokens_lost_or_doubled(self, groups: Any, text: str, registry: scope.Registry) -> None:
        wider = with_part(registry, Partition, split=lambda self, layout: groups)
        refuse(wider, {"partition": "acme.fake"}, "partition ", text)

    def test_groups_may_come_in_any_order_and_form(self, registry: scope.Registry) -> None:
        wider = with_part(
            registry, Partition, split=lambda self, layout: [[Span(0, 4, 6), Span(0, 0, 2)], [Span(0, 2, 4)]]
        )
        spec = {"recipe": "coverage_only", "budget": 3, "partition": "acme.fake"}
        assert scope.select(FEATURES, spec=spec, registry=wider).counts == (3,)


class TestBudget:
    @pytest.mark.parametrize("counts", [(), (1, 1), (7,), (-1,), (2.0,), (None,)])
    def test_counts_that_cannot_be(self, counts: Any, registry: scope.Registry) -> None:
        wider = with_part(registry, Budget, plan=lambda self, layout, groups: counts)
        refuse(
            wider,
            {"budget": "acme.fake"},
            f"plan() returned {counts}",
            "expected 1 whole numbers from 0 up to (6,)",
        )

    def test_an_adaptive_budget_may_only_lower_its_plan(self, registry: scope.Registry) -> None:
        def refined(count: int) -> scope.Registry:
            members = {"plan": lambda self, layout, groups: (3,), "refine": lambda self, counts, tokens: (count,)}
            return with_part(registry, Budget, adaptive=True, **members)

        refuse(refined(4), {"budget": "acme.fake"}, "refine() returned (4,)", "from 0 up to (3,)")
        pruner = scope.Pruner({"recipe": "coverage_only", "budget": "acme.fake"}, registry=refined(2))
        assert pruner.select(FEATURES).counts == (2,)
        assert not pruner.plan([6]).exact


class TestConstraint:
    @pytest.mark.parametrize("method", ["must_keep", "must_drop"])
    @pytest.mark.parametrize(
        ("mask", "text"),
        [
            (torch.zeros(1, 5, dtype=torch.bool), "returned shape (1, 5), torch.bool on cpu"),
            (torch.zeros(1, 6), "returned shape (1, 6), torch.float32 on cpu"),
            ([True] * 6, "returned list"),
        ],
    )
    def test_masks(self, method: str, mask: Any, text: str, registry: scope.Registry) -> None:
        wider = with_part(registry, Constraint, **{method: lambda self, tokens: mask})
        refuse(
            wider,
            {"constraints": ["acme.fake"]},
            "constraint ",
            f"{method}() {text}",
            "expected a (B, N) = (1, 6) bool",
        )


def picks(rows: list[list[int]], dtype: torch.dtype = torch.int64) -> Picks:
    column = torch.tensor(rows, dtype=dtype)
    return Picks(column, torch.ones(column.shape), torch.ones(column.shape))


class TestOptimizer:
    @pytest.mark.parametrize(
        ("made", "text"),
        [
            (None, "optimize() returned NoneType; expected scope_core.parts.Picks"),
            (picks([[1]]), "kept 1 distinct tokens (1 picks) of image 0; 2 were asked for"),
            (picks([[1, 1]]), "kept 1 distinct tokens (2 picks) of image 0; 2 were asked for"),
            (picks([[0, 1, 2]]), "kept 3 distinct tokens (3 picks) of image 0; 2 were asked for"),
            (picks([[0, 6]]), "returned picks of torch.int64 between 0 and 6; expected int64 indices below N = 6"),
            (picks([[-2, 1]]), "between -2 and 1"),
            (picks([[0, 1]], torch.int32), "picks of torch.int32"),
            (picks([[0, -1, 1]]), "returned picks with -1 before the end of a row"),
            (picks([[0, 1], [0, 1]]), "returned picks of shape (2, 2); expected (B, K) = (1, 2)"),
            (
                Picks(torch.zeros(1, 2, dtype=torch.int64), torch.zeros(1, 3), torch.zeros(1, 2)),
                "returned gains of shape (1, 3)",
            ),
        ],
    )
    def test_picks_that_cannot_be(self, made: Any, text: str, registry: scope.Registry) -> None:
        wider = with_part(registry, Optimizer, optimize=lambda self, problem, keep: made)
        refuse(wider, {"optimizer": "acme.fake"}, "optimizer ", text)

    def test_tokens_that_may_not_be_picked_or_must_be(self, registry: scope.Registry) -> None:
        wider = with_part(registry, Optimizer, optimize=lambda self, problem, keep: picks([[0, 1]]))
        drop = {"constraints": [{"name": "cells", "drop": [[0, 1]]}]}
        refuse(wider, {"optimizer": "acme.fake", **drop}, "picked padding or tokens that a constraint forbids")
        keep = {"constraints": [{"name": "cells", "keep": [[1, 1]]}]}
        refuse(wider, {"optimizer": "acme.fake", **keep}, "dropped tokens that must be kept")


class TestSelector:
    def test_something_else_than_a_selection(self, registry: scope.Registry) -> None:
        wider = with_part(registry, Selector, select=lambda self, tokens, keep: picks([[0, 1]]))
        refuse(wider, {"selector": "acme.fake"}, "selector ", "returned Picks; expected a scope_core.Selection")

    def test_a_good_one(self, registry: scope.Registry) -> None:
        def select(self: object, tokens: scope.VisualTokens, keep: tuple[int, ...]) -> Selection:
            made = picks([[5, 0]])
            return Selection(made.picks, made.gains, made.scores, tokens)

        wider = with_part(registry, Selector, select=select)
        got = scope.select(FEATURES, spec={"selector": "acme.fake", "budget": 2}, registry=wider)
        assert got.kept.tolist() == [[0, 5]]


class TestMerger:
    @pytest.mark.parametrize(
        ("weights", "text"),
        [
            (torch.ones(1, 2, 5), "returned shape (1, 2, 5); expected (1, 2, 6)"),
            (torch.ones(1, 2, 6, dtype=torch.bool), "returned dtype torch.bool"),
            ("mean", "returned str"),
        ],
    )
    def test_weights(self, weights: Any, text: str, registry: scope.Registry) -> None:
        wider = with_part(registry, Merger, weights=lambda self, selection: weights)
        refuse(wider, {"merger": "acme.fake"}, "merger ", "weights()", text)

    def test_good_weights_come_with_the_selection(self, registry: scope.Registry) -> None:
        wider = with_part(registry, Merger, weights=lambda self, selection: torch.full((1, 2, 6), 1 / 6))
        spec = {"recipe": "coverage_only", "budget": 2, "merger": "acme.fake"}
        weights = scope.select(FEATURES, spec=spec, registry=wider).weights
        assert weights is not None
        assert weights.shape == (1, 2, 6)


class TestInPlace:
    """What a part writes into is said with the part, its origin and the image, whatever tensor it was."""

    SPEC: ClassVar = {"recipe": "scope", "saliency": "acme.fake", "budget": 2}

    @pytest.mark.parametrize("plane", ["features", "valid", "row", "tile"])
    def test_a_plane(self, plane: str, registry: scope.Registry) -> None:
        def score(self: Any, tokens: scope.VisualTokens) -> torch.Tensor:
            tensor = getattr(tokens, plane)
            tensor.copy_(tensor.clone())
            return tokens.features.abs().sum(-1)

        wider = with_part(registry, SaliencySource, score=score)
        text = rf"score\(\) of saliency 'acme.fake' \(this process\) changed the field '{plane}' of image 0 in place"
        with pytest.raises(PluginOutputError, match=text):
            scope.select(FEATURES.clone(), spec=self.SPEC, registry=wider)

    @pytest.mark.parametrize("method", ["prepare", "combine"])
    def test_the_callers_saliency(self, method: str, registry: scope.Registry) -> None:
        def prepare(self: Any, saliency: torch.Tensor, tokens: scope.VisualTokens) -> torch.Tensor:
            return saliency.mul_(0.5) if method == "prepare" else saliency

        def combine(self: Any, gain: torch.Tensor, saliency: torch.Tensor) -> torch.Tensor:
            return gain * (saliency.mul_(0.5) if method == "combine" else saliency)

        wider = with_part(registry, Combiner, prepare=prepare, combine=combine)
        spec = {"recipe": "scope", "combiner": "acme.fake", "budget": 2}
        text = {
            "prepare": r"prepare\(\) of combiner 'acme.fake' .* changed the field 'saliency' of image 0 in place",
            "combine": r"saliency.* changed in place.*combiner 'acme.fake'",
        }[method]
        with pytest.raises(PluginOutputError, match=text):
            scope.select(FEATURES.clone(), saliency=torch.rand(1, FEATURES.shape[-2]), spec=spec, registry=wider)

    def test_a_signal_that_another_part_reads_too(self, registry: scope.Registry) -> None:
        name = "vision.cls_attention[-2]"

        def pairwise(self: Any, tokens: scope.VisualTokens) -> torch.Tensor:
            tokens.signal(name).mul_(2)
            return tokens.features @ tokens.features.mT

        wider = with_part(registry, SimilarityMetric, pairwise=pairwise, needs=property(lambda self: frozenset({name})))
        spec = {"recipe": "scope", "similarity": "acme.fake", "budget": 2}
        attention = torch.rand(2, 3, 6) / 6
        with pytest.raises(PluginOutputError, match=r"pairwise\(\) of .* changed signal '.*' of 2 groups in place"):
            scope.select(FEATURES.expand(2, -1, -1), signals={name: attention}, spec=spec, registry=wider)

    def test_in_a_constraint(self, registry: scope.Registry) -> None:
        def must_keep(self: Any, tokens: scope.VisualTokens) -> torch.Tensor:
            return tokens.valid.logical_and_(tokens.row == 0)

        wider = with_part(registry, Constraint, must_keep=must_keep)
        text = "must_keep() of constraint 'acme.fake' (this process) changed the field 'valid' of image 0 in place"
        refuse(wider, {"constraints": ["acme.fake"]}, text)


class TestNoIterables:
    def test_groups(self, registry: scope.Registry) -> None:
        wider = with_part(registry, Partition, split=lambda self, layout: 3)
        refuse(wider, {"partition": "acme.fake"}, "split() returned 3; expected groups of Span")

    def test_counts(self, registry: scope.Registry) -> None:
        wider = with_part(registry, Budget, plan=lambda self, layout, groups: 3)
        refuse(wider, {"budget": "acme.fake"}, "plan() returned 3; expected 1 whole numbers")

    @pytest.mark.parametrize(
        ("base", "method", "spec"),
        [
            (Partition, "split", {"partition": "acme.fake"}),
            (Budget, "plan", {"budget": "acme.fake"}),
            (Constraint, "must_drop", {"constraints": ["acme.fake"]}),
        ],
    )
    def test_an_exception_is_noted(self, base: type, method: str, spec: dict[str, Any], registry: Any) -> None:
        def fail(*_: Any) -> Any:
            raise KeyError("x")

        wider = with_part(registry, base, **{method: fail})
        with pytest.raises(KeyError) as caught:
            scope.select(FEATURES, spec={"recipe": "coverage_only", "budget": 2, **spec}, registry=wider)
        assert any(f"raised by {method}() of" in note and "'acme.fake'" in note for note in caught.value.__notes__)


class TestSaliency:
    def test_bad_numbers_name_the_source(self, registry: scope.Registry) -> None:
        wider = with_part(registry, SaliencySource, score=lambda self, tokens: tokens.features[..., 0].log() * NAN)
        with pytest.raises(
            scope.TokensError, match=r"saliency 'acme.fake' \(this process\) of image 0, token 0 is nan"
        ):
            scope.select(FEATURES, spec={"recipe": "scope", "saliency": "acme.fake", "budget": 2}, registry=wider)

    def test_a_source_that_cannot_be_built_alone_does_not_spoil_the_advice(self, registry: scope.Registry) -> None:
        needy = entry(SaliencySource, "acme.needy", options={"path": (str, ...)}, score=None)
        abstract = entry(SaliencySource, "acme.abstract")
        wider = registry.with_module(module(scope_saliency_sources=[needy, abstract]))
        with pytest.raises(scope.SignalError, match=r"needs none: .*feature_norm.*uniform") as raised:
            scope.select(FEATURES, spec="scope@2", registry=wider)
        assert "acme" not in str(raised.value)


class TestBlame:
    """What goes wrong inside a stranger's part is never a riddle."""

    def test_an_exception_gets_a_note_that_names_the_part(self, registry: scope.Registry) -> None:
        def score(self: Any, tokens: scope.VisualTokens) -> torch.Tensor:
            return tokens.features[:, 99]

        wider = with_part(registry, SaliencySource, score=score)
        with pytest.raises(IndexError) as caught:
            scope.select(FEATURES, spec={"saliency": "acme.fake", "budget": 2}, registry=wider)
        assert caught.value.__notes__[0].startswith("raised by score() of saliency 'acme.fake'")

    def test_features_changed_in_place_are_noticed(self, registry: scope.Registry) -> None:
        def score(self: Any, tokens: scope.VisualTokens) -> torch.Tensor:
            return tokens.features.abs_().sum(-1)

        wider = with_part(registry, SaliencySource, score=score)
        with pytest.raises(PluginOutputError, match=r"saliency 'acme.fake' .* changed .*'features'.* in place"):
            scope.select(FEATURES.clone(), spec={"saliency": "acme.fake", "budget": 2}, registry=wider)
