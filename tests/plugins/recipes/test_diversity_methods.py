"""CDPruner, MMTok, EVS, DivPrune and down-sampling: the picks of oracles written from the papers, and recorded ones.

``PYTHONPATH=tests python tests/plugins/recipes/test_diversity_methods.py`` records the oracles' picks anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import oracles
import oracles_diversity as book
import oracles_sets
import pytest
import torch
from conftest import Photos

import scope_core as scope
from scope_core import Layout

RECORDED = Path(__file__).with_name("golden") / "diversity.json"


class Case:
    """Tokens of one image with every signal the methods read, from numpy's generator, which is stable."""

    def __init__(self, seed: int, count: int, width: int, features: Any = None) -> None:
        rng = np.random.default_rng(seed)
        self.tower = rng.normal(size=(count, width // 2)).astype(np.float32) if features is None else features
        mixing = rng.normal(size=(self.tower.shape[1], width)).astype(np.float32)
        self.projected = np.tanh(self.tower @ mixing / self.tower.shape[1] ** 0.5).astype(np.float32)
        self.text = (rng.normal(size=(6, width)) + self.projected[rng.integers(count, size=6)]).astype(np.float32)
        words = self.tower[rng.integers(count, size=2)] + rng.normal(size=(2, self.tower.shape[1]))
        self.clip = (0.3 * oracles_sets.cosines_between(words, self.tower)).astype(np.float32)

    def signals(self) -> dict[str, torch.Tensor]:
        given = {
            "vision.hidden[-2]": self.tower,
            "projected": self.projected,
            "text.embeddings": self.text,
            "clip.text_similarity": self.clip,
        }
        return {name: torch.tensor(value)[None] for name, value in given.items()}

    def select(self, spec: Any, **more: Any) -> scope.Selection:
        return scope.select(torch.tensor(self.projected)[None], signals=self.signals(), spec=spec, **more)

    def cdpruner(self, part: slice = slice(None), **relevance: float) -> oracles_sets.Scores:
        cosines = oracles.cosine_matrix(self.projected[part])
        return book.cdpruner_scores(cosines, book.relevance(self.clip[:, part], **relevance))

    def mmtok(self, part: slice = slice(None)) -> oracles_sets.Scores:
        return book.mmtok_scores(self.text, self.projected[part], oracles.cosine_matrix(self.tower[part]))

    def divprune(self, part: slice = slice(None)) -> oracles_sets.Scores:
        cosines = oracles.cosine_matrix(self.projected[part])

        np.fill_diagonal(cosines, -np.inf)  # no token is its own neighbour

        def scores(picks: list[int]) -> np.ndarray:
            nearest = 1 - cosines[picks or slice(None)].max(0)
            nearest[picks] = -1
            return nearest

        return scores


def judge(got: list[int], scores: oracles_sets.Scores, count: int, rounding: float) -> None:
    """The oracle's picks in its order; past a tie within rounding, picks that are as good."""
    want = oracles_sets.greedy(scores, count, len(got))
    if got != want:
        best = max(scores([]))
        assert oracles_sets.regret(scores, got, count) <= rounding * best, (got, want)


# the release's floats: relative to the best first score, what float32 similarities can hide
ROUNDING = {"cdpruner": 1e-6, "mmtok": 1e-6, "divprune": 1e-6}
METHODS = pytest.mark.parametrize("method", list(ROUNDING))


@METHODS
@pytest.mark.parametrize(("keep", "seed"), [(16, 0), (64, 1), (192, 2)])
def test_picks_on_random_tokens(method: str, keep: int, seed: int) -> None:
    case = Case(seed, 576 if keep > 64 else 300, 512)
    got = case.select(f"{method}@{keep}").picks[0].tolist()
    judge(got, getattr(case, method)(), len(case.tower), ROUNDING[method])


@METHODS
@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_picks_on_photographs(method: str, name: str, photo_features: Photos) -> None:
    """64 wide descriptors, so a determinant of more than 64 is 0; the tower's are tested in tests/photographs."""
    case = Case(3, 576, 96, photo_features.one(name)[0][0].numpy())
    got = case.select(f"{method}@48").picks[0].tolist()
    judge(got, getattr(case, method)(), 576, ROUNDING[method])


@METHODS
def test_official_keeps_so_many_of_every_tile(method: str) -> None:
    """Releases select in each crop; CDPruner scales relevance over all crops, with 1e-6 above the line."""
    case, layout = Case(4, 300, 256), Layout.of([[100, 140, 60]])
    spec = {"recipe": f"{method}@official", "dtype": "float32"}
    if method == "divprune":  # the release looks at all crops at once
        got = case.select({**spec, "budget": 0.1}, layout=layout).picks[0].tolist()
        judge(got, case.divprune(), 300, 1e-6)
        return
    got = case.select({**spec, "budget": 32}, layout=layout)
    raw = -case.clip.astype(np.float64).mean(0)
    extra = {"offset": 1e-6, "low": raw.min(), "high": raw.max()} if method == "cdpruner" else {}
    for start, stop in ((0, 100), (100, 240), (240, 300)):
        mine = [pick - start for pick in got.picks[0].tolist() if start <= pick < stop]
        assert len(mine) == 32
        judge(mine, getattr(case, method)(slice(start, stop), **extra), stop - start, 1e-6)


def test_cdpruner_sign_and_theta() -> None:
    """The other sign ranks the other way; theta puts exp(theta / (2 (1 - theta)) r) into the kernel."""
    case = Case(5, 120, 256)
    other = Case(5, 120, 256)
    other.clip = -case.clip
    positive = {"name": "scaled", "of": {"name": "text_relevance", "sign": "positive"}}
    assert case.select({"recipe": "cdpruner", "saliency": positive, "budget": 20}).picks.equal(
        other.select("cdpruner@20").picks
    )
    got = case.select({"recipe": "cdpruner", "combiner": {"name": "kernel", "theta": 0.8}, "budget": 20})
    weights = np.exp(0.8 / (2 * 0.2) * book.relevance(case.clip))
    judge(got.picks[0].tolist(), book.cdpruner_scores(oracles.cosine_matrix(case.projected), weights), 120, 1e-6)


def test_a_constant_relevance_leaves_diversity_alone() -> None:
    """The release divides by zero here."""
    case = Case(6, 80, 256)
    case.clip = np.full_like(case.clip, 0.25)
    plain = case.select({"recipe": "coverage_only", "coverage": "log_det", "budget": 20})
    assert case.select("cdpruner@20").picks.equal(plain.picks)


class TestEvs:
    def frames(self, seed: int, shape: tuple[int, int, int]) -> np.ndarray:
        """A scene that changes in some places from frame to frame."""
        rng = np.random.default_rng(seed)
        made = [rng.normal(size=shape[1:])]
        for _ in range(shape[0] - 1):
            moved = rng.random(shape[1]) < 0.3
            made.append(made[-1] + 0.05 * rng.normal(size=shape[1:]) + moved[:, None] * rng.normal(size=shape[1:]))
        return np.stack(made).astype(np.float32)

    @pytest.mark.parametrize("keep_ratio", [0.1, 0.25, 0.5, 0.9, 1.0])
    @pytest.mark.parametrize("grid", [(4, 6), None])
    def test_keeps_what_the_paper_keeps(self, keep_ratio: float, grid: tuple[int, int] | None) -> None:
        frames = self.frames(0, (5, 24, 16))
        got = scope.select(torch.tensor(frames), grid=grid, spec={"recipe": "evs", "budget": keep_ratio})
        kept = [24 * t + n for t, row in enumerate(got.kept.tolist()) for n in row if n >= 0]
        assert kept == book.evs_kept(frames, keep_ratio)

    def test_tiles_as_frames(self) -> None:
        frames = self.frames(1, (4, 24, 16))
        spec = {
            "recipe": "evs",
            "saliency": {"frame": "tile"},
            "constraints": [{"name": "first_frame", "frame": "tile"}],
            "budget": {"keep_ratio": 0.5, "frame": "tile"},
            "partition": "image",
        }
        layout = Layout.of([[24] * 4])
        got = scope.select(torch.tensor(frames).reshape(1, 96, 16), spec=spec, layout=layout)
        assert got.kept[0].tolist() == book.evs_kept(frames, 0.5)

    def test_videos_of_several_prompts(self) -> None:
        one, two = self.frames(2, (3, 24, 16)), self.frames(3, (2, 24, 16))
        layout = Layout.of([24] * 5, prompts=[0, 0, 0, 1, 1])
        got = scope.select(
            torch.tensor(np.concatenate([one, two])), spec={"recipe": "evs", "budget": 0.6}, layout=layout
        )
        rows = got.kept.tolist()
        for frames, start in ((one, 0), (two, 3)):
            kept = [24 * t + n for t in range(len(frames)) for n in rows[start + t] if n >= 0]
            assert kept == book.evs_kept(frames, 0.6)

    def test_the_plan_is_known_before_any_tensor(self) -> None:
        plan = scope.Pruner({"recipe": "evs", "budget": 0.3}).plan(Layout.of([24] * 5, prompts=[0, 0, 0, 0, 1]))
        assert plan.counts == (28, 24)  # floor(0.3 * 96); one frame at the least
        assert plan.exact

    def test_more_frames_than_the_budget_are_refused(self) -> None:
        spec = {"recipe": "evs", "budget": {"name": "tokens", "keep": 10, "per": "total"}}
        with pytest.raises(scope.BudgetError, match="24 tokens must be kept, but the budget is 10"):
            scope.select(torch.tensor(self.frames(4, (2, 24, 16))), spec=spec)

    def test_frames_of_different_sizes(self) -> None:
        """A place that the frame before did not have is new."""
        features = torch.ones(2, 6, 3)
        valid = torch.tensor([[True] * 4 + [False] * 2, [True] * 6])
        got = scope.select(features, valid=valid, spec={"recipe": "evs", "budget": 0.6})
        assert got.kept.tolist() == [[0, 1, 2, 3], [4, 5, -1, -1]]


def recordings() -> dict[str, Any]:
    """The oracles' picks on fixed tensors."""
    made: dict[str, Any] = {}
    for seed, count in ((10, 144), (11, 256)):
        case = Case(seed, count, 256)
        for method in ROUNDING:
            made[f"{method}/{seed}"] = {
                "seed": seed,
                "tokens": count,
                "picks": oracles_sets.greedy(getattr(case, method)(), count, 96),
            }
    frames = TestEvs().frames(12, (6, 36, 24))
    made["evs/12"] = {"seed": 12, "kept": book.evs_kept(frames, 0.4)}
    return made


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return loaded


@METHODS
@pytest.mark.parametrize("seed", [10, 11])
def test_the_recorded_picks(method: str, seed: int, recorded: dict[str, Any]) -> None:
    entry = recorded[f"{method}/{seed}"]
    case = Case(seed, entry["tokens"], 256)
    for keep in (16, 64, 96):
        assert case.select(f"{method}@{keep}").picks[0].tolist() == entry["picks"][:keep]


def test_the_recorded_frames(recorded: dict[str, Any]) -> None:
    frames = TestEvs().frames(12, (6, 36, 24))
    got = scope.select(torch.tensor(frames), spec={"recipe": "evs", "budget": 0.4}).kept.tolist()
    assert [36 * t + n for t, row in enumerate(got) for n in row if n >= 0] == recorded["evs/12"]["kept"]


if __name__ == "__main__":
    RECORDED.parent.mkdir(exist_ok=True)
    RECORDED.write_text(json.dumps(recordings(), indent=None, separators=(",", ":")) + "\n", encoding="utf-8")
