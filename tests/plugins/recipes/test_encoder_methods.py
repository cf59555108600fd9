"""Encoder-side methods against oracles: kept tokens one by one, and the rows that mergers make of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import oracles_encoder as oracle
import pytest
from conftest import Photos
from encoder_cases import Case, Tile, random_case, tile

GOLDEN = Path(__file__).parent / "golden" / "encoder_methods.json"
BUDGETS = (16, 33, 64, 128, 192)


@pytest.fixture(scope="module")
def photo_cases(photo_features: Photos) -> list[Case]:
    each = [tile(photo_features.one(name)[0][0].double().numpy(), i) for i, name in enumerate(photo_features.names)]
    return [*(Case((one,)) for one in each), Case(tuple(each))]


Kept = tuple[list[int], np.ndarray | None]  # in the order of the rows, and the rows if a merger made them


def visionzip(t: Tile, rows: int) -> Kept:
    return oracle.visionzip(t.attention(-2, "sum"), t.key(-2, "mean"), t.features, t.cls, rows)


def fastervlm(t: Tile, rows: int) -> Kept:
    return sorted(oracle.ranked(t.attention(-2))[:rows]), None


def vispruner(t: Tile, rows: int) -> Kept:
    return sorted(oracle.vispruner(t.attention(-2), t.features, rows)), None


def hiprune(t: Tile, rows: int, wrap: bool = False) -> Kept:
    middle, deep = t.received[9].mean(0), t.received[-2].mean(0)
    return oracle.hiprune(middle, deep, rows, t.side, wrap=wrap), None


def hiprune_released(t: Tile, rows: int) -> Kept:
    return hiprune(t, rows, wrap=True)


def tome(t: Tile, rows: int) -> Kept:
    picks, made = oracle.tome(t.key(-2, "mean"), t.features, rows, evens_first=False)
    order = np.argsort(picks)
    return [picks[i] for i in order], made[order]


def tome_released(t: Tile, rows: int) -> Kept:
    return oracle.tome(t.key(-2, "mean"), t.features, rows, evens_first=True)


def prumerge_fixed(t: Tile, rows: int, layer: int = -2) -> Kept:
    attention = oracle.joint_attention(t.query[layer], t.keys[layer])
    picks = oracle.ranked(attention)[: rows - 1]
    picks = sorted(picks) if layer == -2 else picks
    return picks, oracle.prumerge_rows(attention, t.key(layer, "concat"), t.features, picks)


def prumerge_fixed_released(t: Tile, rows: int) -> Kept:
    return prumerge_fixed(t, rows, -1)


BY_TILE: dict[str, Callable[[Tile, int], Kept]] = {
    "visionzip": visionzip,
    "visionzip@official": visionzip,
    "fastervlm": fastervlm,
    "fastervlm@official": fastervlm,
    "vispruner": vispruner,
    "vispruner@official": vispruner,
    "hiprune": hiprune,
    "hiprune@official": hiprune_released,
    "tome": tome,
    "tome@official": tome_released,
    "prumerge": prumerge_fixed,
    "prumerge@official": prumerge_fixed_released,
}
PER_TILE = (
    "visionzip@official",
    "fastervlm@official",
    "vispruner@official",
)  # the number in their budget is for each tile


def check(case: Case, recipe: str, rows: int) -> None:
    """Kept tokens, their order, and merged rows, tile by tile."""
    spec: dict[str, Any] = {"recipe": recipe}
    tiles = len(case.tiles)
    total = rows if recipe in PER_TILE else rows * tiles
    spec["budget"] = {"name": "tokens", "keep": total} if "prumerge" in recipe else total
    got = case.select(spec)  # type: ignore[arg-type]
    wanted, made, offset = [], [], 0
    for one in case.tiles:
        picks, mixed = BY_TILE[recipe](one, rows)
        wanted += [pick + offset for pick in picks]
        made += [] if mixed is None else [mixed]
        offset += len(one.features)
    source = got.rows[0]
    assert source[source >= 0].tolist() == wanted
    assert got.row_counts == (rows * tiles,)
    if made:
        cls = case.tokens().signal("vision.cls[-2]")
        np.testing.assert_allclose(
            got.merge(case.tokens().features, cls)[0], np.concatenate(made), rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("recipe", BY_TILE)
class TestByTile:
    @pytest.mark.parametrize("rows", BUDGETS)
    def test_one_tile(self, recipe: str, rows: int) -> None:
        if "prumerge" in recipe and rows > 64:
            rows //= 4  # the oracle compares every pair
        check(random_case(), recipe, rows)

    def test_several_tiles(self, recipe: str) -> None:
        check(random_case(3, 12, seed=5), recipe, 40)

    @pytest.mark.parametrize("rows", [17, 64])
    def test_photographs(self, recipe: str, rows: int, photo_cases: list[Case]) -> None:
        for case in photo_cases[:2] if "prumerge" in recipe else photo_cases:
            check(case, recipe, rows)

    @pytest.mark.parametrize("rows", [2, 3, 5, 35, 36])
    def test_almost_nothing_and_almost_all(self, recipe: str, rows: int) -> None:
        check(random_case(1, 6, seed=3), recipe, rows)


class TestVisionZip:
    @pytest.mark.parametrize(("rows", "dominant", "contextual"), [(64, 54, 10), (128, 108, 20), (192, 162, 30)])
    def test_splits_as_the_paper_does(self, rows: int, dominant: int, contextual: int) -> None:
        got = random_case().select(f"visionzip@{rows}")
        assert got.stage is not None
        assert int((got.stage == 1).sum()) == contextual
        assert int((got.stage == 0).sum()) + 1 == dominant

    def test_every_tile_has_the_whole_number_as_released(self) -> None:
        case = random_case(3, 12, seed=5)
        assert case.select("visionzip@official@64").row_counts == (192,)
        assert case.select("visionzip@100").row_counts == (100,)


class TestPruMerge:
    @pytest.mark.parametrize("official", [False, True])
    def test_keeps_what_stands_out(self, official: bool, photo_cases: list[Case]) -> None:
        layer = -1 if official else -2
        for case in [random_case(), random_case(2, 12, seed=5), *photo_cases[:3]]:
            got = case.select("prumerge@official" if official else "prumerge")
            wanted, offset = [], 0
            for one in case.tiles:
                attention = oracle.joint_attention(one.query[layer], one.keys[layer])
                picks = oracle.ranked(attention)[: oracle.iqr_outliers(attention)]
                wanted += [offset + pick for pick in (picks if official else sorted(picks))] + [-1]
                offset += len(one.features)
            assert got.rows[0].tolist() == wanted

    @pytest.mark.parametrize("official", [False, True])
    def test_plus(self, official: bool, photo_cases: list[Case]) -> None:
        for case in [random_case(), *photo_cases[:3]]:
            (one,) = case.tiles
            attention = oracle.joint_attention(one.query[-1 if official else -2], one.keys[-1 if official else -2])
            got = case.select("prumerge_plus@official" if official else "prumerge_plus")
            wanted = oracle.prumerge_plus_released(attention) if official else oracle.prumerge_plus_even(attention)
            assert got.rows[0].tolist() == [*(wanted if official else sorted(wanted)), -1]
            rows = oracle.prumerge_rows(attention, one.key(-1 if official else -2, "concat"), one.features, wanted[:3])
            places = [got.rows[0].tolist().index(pick) for pick in wanted[:3]]
            np.testing.assert_allclose(got.merge(case.tokens().features)[0][places], rows[:3], rtol=1e-9, atol=1e-9)

    def test_a_larger_budget_than_the_grid_is_filled_by_attention(self) -> None:
        case = random_case(1, 6, seed=3)
        attention = oracle.joint_attention(case.tiles[0].query[-1], case.tiles[0].keys[-1])
        spec = {"recipe": "prumerge_plus@official", "budget": {"name": "tokens", "keep": 35}}
        first = oracle.prumerge_plus_released(attention)
        rest = [i for i in oracle.ranked(attention) if i not in first]
        assert case.select(spec).picks[0].tolist() == (first + rest)[:34]  # type: ignore[arg-type]


class TestHoloV:
    @pytest.mark.parametrize("rows", BUDGETS)
    def test_one_tile(self, rows: int, photo_cases: list[Case]) -> None:
        for case in [random_case(), *photo_cases[:3]]:
            (one,) = case.tiles
            wanted = oracle.holov(one.attention(-2), one.features, rows)
            assert case.select(f"holov@official@{rows}").rows[0].tolist() == wanted
            assert case.select(f"holov@{rows}").rows[0].tolist() == sorted(wanted)

    def test_tiles_are_one_line_of_tokens(self) -> None:
        case = random_case(3, 12, seed=5)
        attention = np.concatenate([one.attention(-2) for one in case.tiles])
        wanted = oracle.holov(attention, np.concatenate([one.features for one in case.tiles]), 100)
        assert case.select("holov@official@100").rows[0].tolist() == wanted

    def test_what_does_not_fit_in_a_chunk_goes_to_the_others(self) -> None:
        case = random_case(1, 6, seed=3)
        (one,) = case.tiles
        for rows in (20, 30, 35, 36):
            wanted = oracle.holov(one.attention(-2), one.features, rows)
            assert case.select(f"holov@official@{rows}").rows[0].tolist() == wanted
            assert len(set(wanted)) == rows


def golden_case() -> Case:
    return random_case(1, 10, seed=42)


def golden() -> dict[str, dict[str, list[int]]]:
    """The oracles' choice from fixed numbers; run this file as a script to record it."""
    (one,) = golden_case().tiles
    made = {name: {str(rows): method(one, rows)[0] for rows in (8, 16, 32, 64)} for name, method in BY_TILE.items()}
    made["holov"] = {str(k): sorted(oracle.holov(one.attention(-2), one.features, k)) for k in (8, 16, 32, 64)}
    made["holov@official"] = {str(k): oracle.holov(one.attention(-2), one.features, k) for k in (8, 16, 32, 64)}
    deep, last = (oracle.joint_attention(one.query[layer], one.keys[layer]) for layer in (-2, -1))
    made["prumerge_plus"] = {"iqr": sorted(oracle.prumerge_plus_even(deep))}
    made["prumerge_plus@official"] = {"iqr": oracle.prumerge_plus_released(last)}
    made["prumerge"]["iqr"] = sorted(oracle.ranked(deep)[: oracle.iqr_outliers(deep)])
    made["prumerge@official"]["iqr"] = oracle.ranked(last)[: oracle.iqr_outliers(last)]
    return made


RECORDED: dict[str, dict[str, list[int]]] = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}


@pytest.mark.parametrize(("recipe", "budget"), [(r, budget) for r, found in RECORDED.items() for budget in found])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_recorded_selections(recipe: str, budget: str, dtype: str) -> None:
    spec: dict[str, Any] = {"recipe": recipe}
    if budget != "iqr":
        spec["budget"] = {"name": "tokens", "keep": int(budget)} if "prumerge" in recipe else int(budget)
    rows = golden_case().select(spec, dtype).rows[0]  # type: ignore[arg-type]
    assert rows[rows >= 0].tolist() == RECORDED[recipe][budget]


def test_every_method_is_recorded() -> None:
    methods = ("visionzip", "fastervlm", "vispruner", "prumerge", "prumerge_plus", "hiprune", "holov", "tome")
    assert sorted(RECORDED) == sorted([*methods, *(f"{method}@official" for method in methods)])


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    rows = [f'  "{name}": {json.dumps(found)}' for name, found in golden().items()]
    GOLDEN.write_text("{\n" + ",\n".join(rows) + "\n}\n")
