"""Mergers: which rows the language model gets, against plain loops in float64.

The fake merger below weighs tokens by their numbers, which it reads from the first feature. So the loops need only
those numbers, and know nothing of groups as tensors, padding or batches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from fakes import built, entry, module
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import scope_core as scope
from scope_core import BudgetError, PluginOutputError, Pruner, SpecError, TokensError, VisualTokens
from scope_core.parts import Budget, Constraint, Merger, Selector

CLS = "vision.cls[-2]"


def extra(before: int, after: int, rows: int) -> tuple[int, int]:
    """What the fake adds: groups that are given too little for it add none, so groups differ."""
    return (before, after) if rows >= before + after + 1 else (0, 0)


def share(row: int, token: int) -> float:
    """Weight of a token in the row of a kept one, both by number."""
    return 1.0 if row == token else (row * 7 + token * 13) % 5 / 10


def aside(row: int, token: int) -> float:
    """Weight of a token in the r-th row that the merger adds in front; those behind count on from 10."""
    return (row * 3 + token) % 4 / 4


def cls_share(row: int) -> float:
    return (row % 3) / 2


def fake_weights(self: Any, selection: scope.Selection) -> Tensor:
    tokens, spec = selection.tokens, self.spec
    number = tokens.features[..., 0].round().int()
    groups, count = number.shape
    kept = selection.arranged.shape[1]
    most = [extra(spec.before, spec.after, rows) for rows in selection.allotted]
    front, behind = max(b for b, _ in most), max(a for _, a in most)
    made = torch.full((groups, front + kept + behind, count + spec.cls), 9.0, dtype=tokens.features.dtype)
    for group in range(groups):
        made[group, :, :count][:, ~tokens.valid[group]] = 0
        places = tokens.valid[group].nonzero().flatten().tolist()
        for r in range(front):
            for place in places:
                made[group, r, place] = aside(r, int(number[group, place]))
        for r in range(behind):
            for place in places:
                made[group, front + kept + r, place] = aside(10 + r, int(number[group, place]))
        for r, pick in enumerate(selection.arranged[group].tolist()):
            for place in places if pick >= 0 else ():
                made[group, front + r, place] = share(int(number[group, pick]), int(number[group, place]))
        if spec.cls:
            made[group, :, count] = torch.tensor([cls_share(r) for r in range(made.shape[1])])
    return made


MERGER = entry(
    Merger,
    "fake",
    options={"before": (int, 0), "after": (int, 0), "cls": (bool, False)},
    extra=lambda self, tokens, rows: extra(self.spec.before, self.spec.after, rows),
    needs=property(lambda self: frozenset({CLS} if self.spec.cls else ())),
    uses_cls=property(lambda self: self.spec.cls),
    weights=fake_weights,
)
COUNTS = entry(
    Budget, "counts", options={"keep": (tuple[int, ...], ())}, plan=lambda self, layout, groups: self.spec.keep
)
DROPPING = entry(
    Constraint,
    "dropping",
    options={"numbers": (tuple[int, ...], ())},
    must_drop=lambda self, tokens: torch.isin(
        tokens.features[..., 0].round().long(), torch.tensor(self.spec.numbers, dtype=torch.int64)
    ),
)


@pytest.fixture(scope="module")
def parts() -> scope.Registry:
    fakes = module(scope_mergers=[MERGER], scope_budgets=[COUNTS], scope_constraints=[DROPPING])
    return scope.default_registry().with_module(fakes)


CHAIN = {"name": "chain", "stages": [{"name": "composite", "combiner": "saliency_only"}] * 2, "shares": [1, 1]}


def spec_of(keep: Sequence[int], **options: Any) -> dict[str, Any]:
    stages = options.get("order") == "stages"
    how = {"selector": CHAIN} if stages else {"saliency": "cls_attention", "combiner": "saliency_only"}
    return {**how, "budget": {"name": "counts", "keep": list(keep)}, "dtype": "float64", **options}


def photo(tiles: Sequence[Sequence[int]], seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(B, N, 3) features that begin with the token's number, (B, N) saliency, (B, N) valid, (B, N, 3) CLS of tiles."""
    generator = torch.Generator().manual_seed(seed)
    width = max(sum(image) for image in tiles)
    features = torch.randn(len(tiles), width, 3, generator=generator, dtype=torch.float64)
    features[..., 0] = torch.arange(len(tiles) * width).view(len(tiles), width)
    valid = torch.tensor([[place < sum(image) for place in range(width)] for image in tiles])
    cls = torch.full((len(tiles), width, 3), 1e3, dtype=torch.float64)
    for row, image in zip(cls, tiles, strict=True):
        start = 0
        for size in image:
            row[start : start + size] = torch.randn(3, generator=generator, dtype=torch.float64)
            start += size
    return features, torch.rand(valid.shape, generator=generator, dtype=torch.float64) + 0.1, valid, cls


def by_loops(
    selection: scope.Selection,
    features: Tensor,
    cls: Tensor | None,
    members: Sequence[tuple[int, Sequence[int]]],
    keep: Sequence[int],
    dropped: Sequence[int],
    spec: Any,
) -> list[list[tuple[int, list[float]]]]:
    """Of each image ``(kept token or -1, the row)``, group by group; one group after another where rows are added.

    Args:
        members: ``(image, its tokens)`` of each group.
        keep: Rows of each group.
        dropped: Numbers of tokens that must be dropped.
    """
    per_image: list[list[tuple[int, int, int, list[float]]]] = [[] for _ in features]
    stages = selection.stage if selection.stage is not None else torch.zeros_like(selection.picks)
    table = features.tolist()
    for (image, tokens), rows in zip(members, keep, strict=True):
        before, after = extra(spec.before, spec.after, rows) if rows else (0, 0)
        picked = [
            (stage, pick)
            for stage, pick in zip(stages[image].tolist(), selection.picks[image].tolist(), strict=True)
            if pick in tokens
        ]
        assert len(picked) == rows - before - after
        key = {"raster": lambda it: it[1], "stages": lambda it: it, "picks": lambda it: 0}[selection.order]
        order = [("front", r) for r in range(before)]
        order += [("kept", pair) for pair in sorted(picked, key=key)]
        order += [("behind", 10 + r) for r in range(after)]
        alive = [token for token in tokens if round(table[image][token][0]) not in dropped]
        for kind, which in order:
            row = [0.0] * 3
            for token in alive:
                number = round(table[image][token][0])
                kept = kind == "kept"
                weight = share(round(table[image][which[1]][0]), number) if kept else aside(which, number)
                row = [value + weight * mine for value, mine in zip(row, table[image][token], strict=True)]
            per_image[image].append((*(which if kind == "kept" else (0, -1)), len(per_image[image]), row))
    made = []
    for rows in per_image:
        if all(token >= 0 for _, token, _, _ in rows):
            sort = {"raster": lambda it: it[1], "stages": lambda it: it[:2], "picks": lambda it: it[2]}
            rows = sorted(rows, key=sort[selection.order])
        made.append([(token, row) for _, token, _, row in rows])
    return made


def check(selection: scope.Selection, features: Tensor, cls: Tensor | None, wanted: Any) -> None:
    assert selection.row_counts == tuple(len(rows) for rows in wanted)
    mixed = selection.merge(features, cls)
    assert mixed.shape == (len(features), max(map(len, wanted), default=0), 3)
    for rows, got, sources in zip(wanted, mixed, selection.rows.tolist(), strict=True):
        assert sources[: len(rows)] == [token for token, _ in rows]
        expected = torch.tensor([row for _, row in rows], dtype=torch.float64).view(-1, 3)
        torch.testing.assert_close(got[: len(rows)], expected, atol=1e-9, rtol=1e-9)
        assert bool((got[len(rows) :] == 0).all())
        assert set(sources[len(rows) :]) <= {-1}


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    tiles = draw(st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=3), min_size=1, max_size=3))
    partition = draw(st.sampled_from(["image", "tile", "prompt"]))
    before, after = (0, 0) if partition == "prompt" else (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    width = max(map(sum, tiles))
    numbers = [image * width + place for image, row in enumerate(tiles) for place in range(sum(row))]
    dropped = draw(st.lists(st.sampled_from(numbers), unique=True, max_size=len(numbers) // 2))
    members: list[list[tuple[int, int]]] = []
    for image, row in enumerate(tiles):
        start = 0
        for size in row if partition == "tile" else [sum(row)]:
            members.append([(image, start + i) for i in range(size)])
            start += size
    if partition == "prompt":
        members = [[pair for group in members for pair in group]]
    keep = []
    for group in members:
        free = sum(image * width + place not in dropped for image, place in group)
        rows = draw(st.integers(0, len(group)))
        while rows - (sum(extra(before, after, rows)) if rows else 0) > free:
            rows -= 1
        keep.append(rows)
    return {
        "tiles": tiles,
        "partition": partition,
        "merger": {"name": "fake", "before": before, "after": after},
        "dropped": dropped,
        "members": members,
        "keep": keep,
        "order": draw(st.sampled_from(["raster", "stages", "picks"])),
        "seed": draw(st.integers(0, 9)),
    }


@settings(max_examples=150)
@given(case=calls())
def test_rows_are_those_of_plain_loops(case: dict[str, Any], parts: scope.Registry) -> None:
    features, saliency, valid, _ = photo(case["tiles"], case["seed"])
    constraints = [{"name": "dropping", "numbers": case["dropped"]}]
    spec = spec_of(
        case["keep"], order=case["order"], partition=case["partition"], merger=case["merger"], constraints=constraints
    )
    layout = scope.Layout.of(case["tiles"])
    pruner = Pruner(spec, registry=parts)
    selection = pruner.select(features, saliency=saliency, valid=valid, layout=layout)
    groups = [(group[0][0], [place for _, place in group]) for group in case["members"]]
    keep = case["keep"]
    if case["partition"] == "prompt":  # each image merges by itself
        groups = [(image, list(range(sum(row)))) for image, row in enumerate(case["tiles"])]
        keep = selection.counts
        assert sum(keep) == sum(case["keep"])
    elif len(groups) == len(keep):
        assert sum(selection.row_counts) == sum(keep)  # a budget counts every row that the language model gets
    wanted = by_loops(selection, features, None, groups, keep, case["dropped"], pruner.parts["merger"].spec)
    check(selection, features, None, wanted)
    gone = torch.isin(features[..., 0].long(), torch.tensor(case["dropped"], dtype=torch.int64)) | ~valid
    assert selection.weights is not None
    assert not bool(selection.weights.transpose(1, 2)[gone].any())


class TestCls:
    TILES = ((2, 3), (4,))

    def run(self, parts: scope.Registry, partition: str, keep: Sequence[int], **merger: int) -> Any:
        features, saliency, valid, cls = photo(self.TILES)
        spec = spec_of(keep, partition=partition, merger={"name": "fake", "cls": True, **merger})
        signals = {CLS: cls, "vision.cls_attention[-2]": saliency[:, None]}
        layout = scope.Layout.of(self.TILES)
        return scope.select(features, signals=signals, valid=valid, layout=layout, spec=spec, registry=parts), cls

    def test_every_tile_mixes_in_its_own(self, parts: scope.Registry) -> None:
        selection, cls = self.run(parts, "tile", [2, 3, 1], before=1)
        nothing = torch.zeros_like(cls)
        got = selection.merge(nothing, cls)  # the weight of r-th row of a group is cls_share(r)
        first, second, third = cls[0, 0], cls[0, 2], cls[1, 0]
        wanted = [[0 * first, first / 2, 0 * second, second / 2, second]]
        torch.testing.assert_close(got[:1], torch.stack(wanted[0])[None])
        assert selection.row_counts == (5, 1)
        assert selection.rows.tolist()[0][0] == selection.rows.tolist()[0][2] == -1
        # a group of one row has no room for one more: its row is the kept one, in the place of the second
        torch.testing.assert_close(got[1, 0], third / 2)

    def test_one_group_of_several_tiles_mixes_in_the_first(self, parts: scope.Registry) -> None:
        selection, cls = self.run(parts, "image", [3, 2], after=1)
        got = selection.merge(torch.zeros_like(cls), cls)
        torch.testing.assert_close(got[0], torch.stack([0 * cls[0, 0], cls[0, 0] / 2, cls[0, 0]]))
        torch.testing.assert_close(got[1], torch.stack([0 * cls[1, 0], cls[1, 0], 0 * cls[1, 0]]))

    def test_a_group_whose_tokens_must_all_go_still_has_one(self, parts: scope.Registry) -> None:
        features, saliency, _, cls = photo([[3]])
        spec = spec_of([2], merger={"name": "fake", "cls": True, "before": 1, "after": 1})
        spec["constraints"] = [{"name": "dropping", "numbers": [0, 1, 2]}]
        with pytest.raises(BudgetError):
            scope.select(features, saliency=saliency, signals={CLS: cls}, spec=spec, registry=parts)
        always = entry(
            Merger,
            "always",
            needs=frozenset({CLS}),
            uses_cls=True,
            extra=lambda self, tokens, rows: (1, 0),
            weights=lambda self, selection: torch.tensor([[[0.0, 0, 0, 2]]], dtype=torch.float64),
        )
        wider = parts.with_module(module(scope_mergers=[always]), name="always")
        spec = {**spec, "merger": "always", "budget": {"name": "counts", "keep": [1]}}
        selection = scope.select(features, saliency=saliency, signals={CLS: cls}, spec=spec, registry=wider)
        torch.testing.assert_close(selection.merge(features, cls), 2 * cls[:, :1])

    def test_merging_without_it_or_with_another_width_is_refused(self, parts: scope.Registry) -> None:
        selection, cls = self.run(parts, "image", [3, 2])
        with pytest.raises(TokensError, match="give `cls`"):
            selection.merge(cls)
        with pytest.raises(TokensError, match=r"cls has shape \(2, 5, 2\), the tokens have \(2, 5, 3\)"):
            selection.merge(cls, cls[..., :2])

    def test_selecting_without_the_signal_names_it(self, parts: scope.Registry) -> None:
        features, saliency, _, _ = photo([[4]])
        spec = spec_of([2], merger={"name": "fake", "cls": True})
        with pytest.raises(scope.SignalError, match=r"merger 'fake'.* needs vision\.cls\[-2\]"):
            scope.select(features, saliency=saliency, spec=spec, registry=parts)

    @pytest.mark.parametrize("needs", [(), ("vision.cls[-1]", "vision.cls[-2]"), ("vision.hidden[-1]",)])
    def test_a_merger_that_does_not_say_which_layer_is_named(self, needs: tuple[str, ...]) -> None:
        vague = entry(
            Merger,
            "vague",
            needs=frozenset(needs),
            uses_cls=True,
            weights=lambda self, s: torch.zeros(1, 2, 5, dtype=torch.float64),
        )
        features, saliency, _, cls = photo([[4]])
        registry = scope.default_registry().with_module(module(scope_mergers=[vague], scope_budgets=[COUNTS]))
        signals = dict.fromkeys(needs, cls)
        with pytest.raises(PluginOutputError, match=r"merger 'vague'.* has uses_cls = True but needs"):
            scope.select(
                features,
                saliency=saliency,
                signals=signals,
                spec=spec_of([2], merger="vague"),
                registry=registry,
            )


class TestBudget:
    def spec(self, keep: Sequence[int], before: int = 1, **options: Any) -> dict[str, Any]:
        added = entry(
            Merger,
            "adding",
            extra=lambda self, tokens, rows: (before, 0),
            weights=lambda self, s: torch.zeros(
                len(s.counts), before + s.picks.shape[1], s.tokens.shape[1], dtype=torch.float64
            ),
        )
        fakes = module(scope_mergers=[added], scope_budgets=[COUNTS])
        registry = scope.default_registry().with_module(fakes)
        return {"spec": spec_of(keep, merger="adding", **options), "registry": registry}

    def test_rows_of_its_own_count_against_it(self) -> None:
        features, saliency, _, _ = photo([[6], [6]])
        selection = scope.select(features, saliency=saliency, **self.spec([4, 1]))
        assert selection.counts == (3, 0)
        assert selection.row_counts == (4, 1)
        assert selection.rows.tolist()[1] == [-1, -1, -1, -1]

    def test_a_budget_without_room_is_refused_when_planning(self) -> None:
        given = self.spec([4, 2], before=3)
        with pytest.raises(BudgetError, match=r"image 1: merger 'adding'.* adds 3 row\(s\), but the budget is 2"):
            Pruner(**given).plan([6, 6])
        features, saliency, _, _ = photo([[6], [6]])
        with pytest.raises(BudgetError, match="image 1"):
            scope.select(features, saliency=saliency, **given)

    def test_groups_without_rows_get_none(self) -> None:
        features, saliency, _, _ = photo([[6], [6]])
        selection = scope.select(features, saliency=saliency, **self.spec([0, 3]))
        assert selection.row_counts == (0, 3)
        assert bool((selection.merge(features)[0] == 0).all())

    def test_nothing_kept_anywhere(self) -> None:
        nothing = entry(Merger, "nothing", weights=lambda self, s: s.tokens.features.new_zeros(1, 0, 6))
        registry = scope.default_registry().with_module(module(scope_mergers=[nothing], scope_budgets=[COUNTS]))
        features, saliency, _, _ = photo([[6]])
        selection = scope.select(features, saliency=saliency, spec=spec_of([0], merger="nothing"), registry=registry)
        assert selection.row_counts == (0,)
        assert selection.merge(features).shape == (1, 0, 3)

    def test_images_that_share_a_budget_cannot_get_rows_of_their_own(self) -> None:
        given = self.spec([4], partition="prompt")
        with pytest.raises(SpecError, match=r"adds 1 row\(s\) to every group.* choose `partition: image`"):
            Pruner(**given).plan([6, 6])
        assert Pruner(**given).plan([6]).counts == (4,)

    def test_nor_where_only_single_images_would(self) -> None:
        """A merger that adds rows to small groups alone: the prompt's group is not small, its images are."""
        small = entry(
            Merger,
            "small",
            extra=lambda self, tokens, rows: (int(tokens < 10), 0),
            weights=lambda self, s: torch.zeros(2, 3, 6, dtype=torch.float64),
        )
        registry = scope.default_registry().with_module(module(scope_mergers=[small], scope_budgets=[COUNTS]))
        features, saliency, _, _ = photo([[6], [6]])
        spec = spec_of([4], partition="prompt", merger="small")
        with pytest.raises(SpecError, match="puts several images into one group"):
            scope.select(features, saliency=saliency, spec=spec, registry=registry)


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (lambda s: torch.zeros(1, 2, 7, dtype=torch.float64), r"returned shape \(1, 2, 7\); expected \(1, 2, 6\)"),
        (lambda s: torch.zeros(1, 3, 6, dtype=torch.float64), r"returned shape \(1, 3, 6\); expected \(1, 2, 6\)"),
        (lambda s: torch.zeros(1, 2, 6, dtype=torch.int64), "expected floating point"),
        (lambda s: [[1.0]], "returned list; expected a tensor"),
        (lambda s: torch.full((1, 2, 6), math.nan), r"image 0 gave nan in row 0, column 0; merging needs finite"),
        (lambda s: torch.full((1, 2, 6), math.inf), "gave inf"),
        (lambda s: torch.ones(1, 2, 6), r"image 0 gave 1\.0 in row 0, column 3; that token is padding, or must be"),
    ],
)
def test_weights_that_break_the_contract_name_the_merger(made: Any, complaint: str) -> None:
    bad = entry(Merger, "acme.bad", weights=lambda self, selection: made(selection))
    fakes = module(scope_mergers=[bad], scope_budgets=[COUNTS], scope_constraints=[DROPPING])
    registry = scope.default_registry().with_module(fakes)
    features, saliency, _, _ = photo([[6]])
    spec = spec_of([2], merger="acme.bad", constraints=[{"name": "dropping", "numbers": [3]}])
    with pytest.raises(PluginOutputError, match=rf"(?s)merger 'acme\.bad'.*{complaint}"):
        scope.select(features, saliency=saliency, spec=spec, registry=registry)


@pytest.mark.parametrize("extra", [1, (1,), (1, 2, 3), [0, 1], (-1, 0), (0.5, 0), None])
def test_extra_that_is_no_pair_of_counts_names_the_merger(extra: Any) -> None:
    bad = entry(Merger, "acme.bad", extra=lambda self, tokens, rows: extra, weights=lambda self, s: None)
    registry = scope.default_registry().with_module(module(scope_mergers=[bad], scope_budgets=[COUNTS]))
    with pytest.raises(PluginOutputError, match=r"merger 'acme\.bad'.*extra\(6, 2\) returned"):
        Pruner(spec_of([2], merger="acme.bad"), registry=registry).plan([6])


def test_promised_rows_that_do_not_come_are_named() -> None:
    bad = entry(Merger, "acme.bad", extra=lambda self, tokens, rows: (1, 0), weights=lambda self, s: None)
    registry = scope.default_registry().with_module(module(scope_mergers=[bad], scope_budgets=[COUNTS]))
    features, saliency, _, _ = photo([[6]])
    with pytest.raises(PluginOutputError, match=r"merger 'acme\.bad'.*returned None although extra\(\) promised rows"):
        scope.select(features, saliency=saliency, spec=spec_of([2], merger="acme.bad"), registry=registry)


def test_an_exception_of_its_own_says_where_it_came_from() -> None:
    bad = entry(Merger, "acme.bad", weights=lambda self, s: 1 / 0)
    registry = scope.default_registry().with_module(module(scope_mergers=[bad], scope_budgets=[COUNTS]))
    features, saliency, _, _ = photo([[6]])
    with pytest.raises(ZeroDivisionError) as caught:
        scope.select(features, saliency=saliency, spec=spec_of([2], merger="acme.bad"), registry=registry)
    assert caught.value.__notes__ == ["raised by weights() of merger 'acme.bad' (this process)"]


class TestWhatAMergerSees:
    def seen(self, tiles: Any, keep: Sequence[int], **options: Any) -> tuple[scope.Selection, scope.Selection]:
        found: list[scope.Selection] = []
        looking = entry(Merger, "looking", weights=lambda self, selection: found.append(selection))
        fakes = module(scope_mergers=[looking], scope_budgets=[COUNTS], scope_constraints=[DROPPING])
        features, saliency, valid, _ = photo(tiles)
        made = scope.select(
            features,
            saliency=saliency,
            valid=valid,
            layout=scope.Layout.of(tiles),
            spec=spec_of(keep, merger="looking", **options),
            registry=scope.default_registry().with_module(fakes),
        )
        return found[0], made

    def test_one_row_per_group_and_what_the_budget_gives_it(self) -> None:
        seen, made = self.seen([[2, 3], [4]], [1, 2, 3], partition="tile")
        assert seen.allotted == seen.counts == (1, 2, 3)
        assert seen.tokens.shape[:2] == (3, 4)
        assert seen.tokens.valid.sum(1).tolist() == [2, 3, 4]
        assert made.counts == (3, 3)
        assert made.allotted is None  # what was said of groups is not true of images

    def test_constraints_hold(self) -> None:
        for partition, keep in (("image", [3]), ("tile", [1, 2])):
            seen, made = self.seen(
                [[2, 3]], keep, partition=partition, constraints=[{"name": "dropping", "numbers": [3]}]
            )
            gone = seen.tokens.features[..., 0] == 3
            assert not bool(seen.tokens.valid[gone].any())
            assert bool(made.tokens.valid.all())

    def test_constraints_hold_for_images_that_share_a_group(self) -> None:
        seen, _ = self.seen([[3], [4]], [4], partition="prompt", constraints=[{"name": "dropping", "numbers": [2, 5]}])
        assert seen.tokens.shape[:2] == (2, 4)
        assert seen.tokens.valid.tolist() == [[True, True, False, False], [True, False, True, True]]
        assert seen.allotted == seen.counts

    def test_where_a_selector_folded_tokens_to(self) -> None:
        def select(self: Any, tokens: VisualTokens, keep: Sequence[int]) -> scope.Selection:
            picks = torch.tensor([[1, 0], [2, -1]])
            home = torch.tensor([[0, 1, 0, 1], [2, 2, 2, -1]])
            none = torch.where(picks < 0, math.nan, 0.0)
            return scope.Selection(picks, none, none, tokens, assigned=home, stage=torch.tensor([[0, 1], [0, 0]]))

        folding = entry(Selector, "folding", select=select)
        fakes = module(scope_selectors=[folding], scope_budgets=[COUNTS])
        registry = scope.default_registry().with_module(fakes)
        features, _, _, _ = photo([[4, 4]])
        spec = {"selector": "folding", "budget": {"name": "counts", "keep": [2, 1]}, "partition": "tile"}
        made = scope.select(features, layout=scope.Layout.of([[4, 4]]), spec=spec, registry=registry)
        assert made.assigned is not None
        assert made.assigned.tolist() == [[0, 1, 0, 1, 6, 6, 6, -1]]
        assert made.picks.tolist() == [[1, 0, 6]]
        assert made.stage is not None
        assert made.stage.tolist() == [[0, 1, 0]]

    def test_tokens_folded_into_another_image_have_no_home(self) -> None:
        def select(self: Any, tokens: VisualTokens, keep: Sequence[int]) -> scope.Selection:
            picks = torch.tensor([[0, 4]])
            return scope.Selection(picks, picks * 0.0, picks * 0.0, tokens, assigned=torch.tensor([[0, 4, 0, 0, 4, 4]]))

        folding = entry(Selector, "folding", select=select)
        registry = scope.default_registry().with_module(module(scope_selectors=[folding], scope_budgets=[COUNTS]))
        features, _, _, _ = photo([[3], [3]])
        spec = {"selector": "folding", "budget": {"name": "counts", "keep": [2]}, "partition": "prompt"}
        made = scope.select(features, spec=spec, registry=registry)
        assert made.assigned is not None
        assert made.assigned.tolist() == [[0, -1, 0], [-1, 1, 1]]

    @pytest.mark.parametrize(
        ("more", "complaint"),
        [
            ({"stage": torch.zeros(1, 3, dtype=torch.int64)}, r"returned stage of shape \(1, 3\)"),
            ({"stage": torch.zeros(1, 2)}, "stage of shape .* torch.float32"),
            ({"assigned": torch.zeros(1, 2, dtype=torch.int64)}, r"returned assigned of shape \(1, 2\)"),
            ({"shares": torch.ones(1, 3)}, r"returned shares that are not .* beside `assigned`"),
            (
                {"assigned": torch.tensor([[0, 1, 1, 1]]), "shares": torch.tensor([[1.0, 1, 1, -1]])},
                "shares that are not",
            ),
        ],
    )
    def test_a_selector_that_says_it_wrongly_is_named(self, more: dict[str, Tensor], complaint: str) -> None:
        def select(self: Any, tokens: VisualTokens, keep: Sequence[int]) -> scope.Selection:
            picks = torch.tensor([[0, 1]])
            return scope.Selection(picks, picks * 0.0, picks * 0.0, tokens, **more)

        wrong = entry(Selector, "acme.wrong", select=select)
        registry = scope.default_registry().with_module(module(scope_selectors=[wrong], scope_budgets=[COUNTS]))
        features, _, _, _ = photo([[4]])
        spec = {"selector": "acme.wrong", "budget": {"name": "counts", "keep": [2]}}
        with pytest.raises(PluginOutputError, match=rf"selector 'acme\.wrong'.*{complaint}"):
            scope.select(features, spec=spec, registry=registry)


class TestOrderWithoutMerging:
    def test_stages_and_picks(self, parts: scope.Registry) -> None:
        features, saliency, _, _ = photo([[8]])
        rank = saliency[0].argsort(descending=True).tolist()
        made = {
            order: scope.select(features, saliency=saliency, spec=spec_of([4], order=order), registry=parts)
            for order in ("raster", "stages", "picks")
        }
        assert made["raster"].arranged.tolist() == [sorted(rank[:4])]
        assert made["stages"].arranged.tolist() == [sorted(rank[:2]) + sorted(rank[2:4])]
        assert made["picks"].arranged.tolist() == [rank[:4]]
        for selection in made.values():
            assert selection.kept.tolist() == [sorted(rank[:4])]
            assert selection.rows.tolist() == selection.arranged.tolist()
            assert selection.row_counts == selection.counts == (4,)
            assert selection.weights is None
            torch.testing.assert_close(selection.merge(features)[0], features[0, selection.arranged[0]])

    def test_a_merger_that_changes_nothing_changes_nothing(self, parts: scope.Registry) -> None:
        """Rows of several tiles lie in the same order with and without weights."""
        same = entry(
            Merger,
            "same",
            weights=lambda self, s: torch.nn.functional.one_hot(s.arranged.clamp(min=0), s.tokens.shape[1]).double(),
        )
        wider = parts.with_module(module(scope_mergers=[same]), name="same")
        features, saliency, valid, _ = photo([[3, 5], [4]])
        for order in ("raster", "stages", "picks"):
            rows = []
            for merger in ("none", "same"):
                spec = spec_of([2, 3, 2], order=order, partition="tile", merger=merger)
                pruner = Pruner(spec, registry=wider)
                made = pruner.select(features, saliency=saliency, valid=valid, layout=scope.Layout.of([[3, 5], [4]]))
                rows.append((made.rows.tolist(), made.merge(features)))
            assert rows[0][0] == rows[1][0]
            torch.testing.assert_close(rows[0][1], rows[1][1])

    def test_receipts_count_rows(self, parts: scope.Registry) -> None:
        features, saliency, _, _ = photo([[8]])
        pruner = Pruner(spec_of([5], merger={"name": "fake", "before": 1, "after": 1}), registry=parts)
        selection = pruner.select(features, saliency=saliency)
        receipt = pruner.receipt(selection)
        assert (receipt.tokens, receipt.kept, selection.counts) == (8, 5, (3,))


def test_built_in_none_mixes_nothing(registry: scope.Registry) -> None:
    assert not built(registry, "merger", "none").mixes
    assert built(registry, "merger", "none").extra(576, 64) == (0, 0)
