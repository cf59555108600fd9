"""Methods for videos, against oracles: odd numbers of frames, odd grids, frames given as a video or as images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import oracles_video as oracle
import pytest
import torch

import scope_core as scope
from scope_core import Layout, Selection

VIDEOS = ((1, 4, 5), (3, 3, 7), (9, 5, 4), (13, 2, 3))


def clip(frames: int, rows: int, cols: int, seed: int = 0) -> np.ndarray:
    """(F, N, D) tokens of a video with a cut in the middle, in which some tokens change from frame to frame."""
    rng = np.random.default_rng([seed, frames])
    made = [rng.normal(size=(rows * cols, 12)) + 1]
    for number in range(1, frames):
        changed = (rng.random(rows * cols) < (1 if number == frames // 2 else 0.3))[:, None]
        noise = 0.05 * rng.normal(size=made[0].shape)
        made.append(np.where(changed, rng.normal(size=made[0].shape) + 1, made[-1] + noise))
    return np.stack(made)


def select(video: np.ndarray, grid: tuple[int, int], spec: Any, *, images: bool = False, **more: Any) -> Selection:
    """A selection in float64, from frames as a video or as images of one prompt."""
    table = {**({"recipe": spec} if isinstance(spec, str) else spec), "dtype": "float64"}
    if images:
        return scope.select(torch.tensor(video), spec=table, grid=grid, layout=Layout.of([video.shape[1]] * len(video)))
    flat = torch.tensor(video).reshape(1, -1, video.shape[2])
    more.setdefault("saliency", torch.ones(flat.shape[:2], dtype=flat.dtype))
    return scope.select(flat, spec=table, grid=(len(video), *grid), **more)


def kept(selection: Selection, tokens: int) -> oracle.Kept:
    if selection.tokens.shape[0] > 1:
        return [(f, n) for f, row in enumerate(selection.kept.tolist()) for n in row if n >= 0]
    return [divmod(n, tokens) for n in selection.kept[0].tolist() if n >= 0]


@pytest.mark.parametrize("shape", VIDEOS, ids=str)
class TestOracles:
    @pytest.mark.parametrize("method", ["vidcom2", "vcast"])
    @pytest.mark.parametrize("share", [0.04, 0.25, 0.7])
    def test_frames_that_share_a_budget(self, method: str, share: float, shape: tuple[int, int, int]) -> None:
        video, tokens = clip(*shape), shape[1] * shape[2]
        budget = max(1, round(share * shape[0] * tokens))
        wanted = getattr(oracle, method)(list(video), budget)
        spec = {"recipe": method, "budget": {"name": "tokens", "keep": budget, "per": "video"}}
        assert kept(select(video, shape[1:], spec), tokens) == wanted
        assert kept(select(video, shape[1:], spec, images=True), tokens) == wanted

    @pytest.mark.parametrize("share", [0.04, 0.25, 0.7])
    def test_vcast_as_released(self, share: float, shape: tuple[int, int, int]) -> None:
        video, tokens = clip(*shape), shape[1] * shape[2]
        budget = max(1, round(share * shape[0] * tokens))
        wanted = oracle.vcast(list(video), budget, one_frame=True)
        spec = {"recipe": "vcast@official", "budget": {"name": "tokens", "keep": budget, "per": "video"}}
        assert kept(select(video, shape[1:], spec), tokens) == wanted

    def test_dycoke(self, shape: tuple[int, int, int]) -> None:
        video, tokens = clip(*shape), shape[1] * shape[2]
        starts, total = -(-shape[0] // 4) * tokens, shape[0] * tokens
        for budget in {starts, starts + (total - starts) // 3, total}:
            spec = {"recipe": "dycoke", "budget": {"name": "tokens", "keep": budget, "per": "video"}}
            got = kept(select(video, shape[1:], spec), tokens)
            assert len(got) == budget
            if shape[0] > 1:
                assert got == oracle.dycoke(list(video), budget)

    def test_floc_and_scope(self, shape: tuple[int, int, int]) -> None:
        video, tokens = clip(*shape), shape[1] * shape[2]
        budget = max(1, shape[0] * tokens // 5)
        saliency = np.random.default_rng(0).random(video.shape[:2]) + 0.1
        given = {"saliency": torch.tensor(saliency).reshape(1, -1)}
        spec: dict[str, Any] = {"budget": {"name": "tokens", "keep": budget, "per": "video"}}
        got = select(video, shape[1:], {**spec, "recipe": "floc"})
        assert got.picks[0].tolist() == oracle.facility_location(video.reshape(-1, 12), budget)
        pieces: dict[str, list[int]] = {
            "scope@video": [0] * shape[0],
            "scope@by_frame": list(range(shape[0])),
            "scope@by_segment": oracle.segments(list(video), 0.9, 8),
        }
        for recipe, piece in pieces.items():
            wanted = oracle.scope_by_piece(list(video), list(saliency), piece, budget)
            assert kept(select(video, shape[1:], {**spec, "recipe": recipe}, **given), tokens) == wanted

    @pytest.mark.parametrize("share", [0.1, 0.35])
    def test_fastvid(self, share: float, shape: tuple[int, int, int]) -> None:
        video, tokens = clip(*shape), shape[1] * shape[2]
        budget = max(1, round(share * shape[0] * tokens))
        attention = np.random.default_rng(1).random(video.shape[:2])
        wanted, anchors = oracle.fastvid(list(video), list(attention), budget)
        spec = {"recipe": "fastvid", "budget": {"name": "tokens", "keep": budget, "per": "video"}}
        got = select(video, shape[1:], spec, saliency=torch.tensor(attention).reshape(1, -1))
        assert kept(got, tokens) == wanted
        rows = got.merge(torch.tensor(video).reshape(1, -1, 12))[0].numpy()
        for place, row in zip(wanted, rows, strict=True):
            np.testing.assert_allclose(row, anchors.get(place, video[place]), rtol=1e-9, atol=1e-12)


METHODS = (
    *("flashvid", "holitom", "prunevid", "framefusion"),
    "evs",
    "vidcom2",
    "vcast",
    "dycoke",
    "fastvid",
    "floc",
    "uniform_frames",
    "nth_frame",
    "downsample",
    "scope@by_frame",
)
EXACT: Callable[[str], bool] = lambda method: method not in ("evs", "dycoke")  # noqa: E731 - these keep whole frames


@pytest.mark.parametrize("method", METHODS)
class TestEveryMethod:
    def test_all_tokens_are_the_identity(self, method: str) -> None:
        video = clip(5, 3, 4)
        got = select(video, (3, 4), {"recipe": method, "budget": {"name": "ratio", "keep_ratio": 1, "per": "video"}})
        assert got.kept[0].tolist() == list(range(60))
        torch.testing.assert_close(
            got.merge(torch.tensor(video).reshape(1, 60, 12)).reshape(video.shape).numpy(), video
        )

    def test_sums_are_exact_for_every_video_of_a_batch(self, method: str) -> None:
        """Videos of odd sizes beside an image; each is selected as if it were alone."""
        layout = Layout.of([[12] * 5, 12, [12] * 3], videos=[0, 2])
        features = torch.tensor(clip(5, 3, 4)).reshape(1, 60, 12).repeat(3, 1, 1)
        valid = torch.arange(60) < torch.tensor([[60], [12], [36]])
        row, col = (torch.arange(60) % 12 // 4).expand(3, -1), (torch.arange(60) % 4).expand(3, -1)
        tokens = scope.VisualTokens.of(features, valid=valid, row=row, col=col, saliency=torch.rand(3, 60).double())
        budget = {} if not EXACT(method) else {"name": "ratio", "per": "video"}
        spec = {"recipe": method, "budget": {**budget, "keep_ratio": 0.61}, "partition": "video", "dtype": "float64"}
        pruner = scope.Pruner(spec)
        got = pruner.prune(tokens, layout)
        assert got.counts == pruner.plan(layout).images
        assert got.counts == ((37, 7, 22) if EXACT(method) else got.counts)
        last = scope.VisualTokens.of(
            features[2:, :36],
            row=row[2:, :36],
            col=col[2:, :36],
            saliency=tokens.saliency[2:, :36],  # type: ignore[index]
        )
        alone = pruner.prune(last, Layout.of([[12] * 3], videos=[0]))
        assert alone.kept[0].tolist() == [n for n in got.kept[2].tolist() if n >= 0]

    def test_flat_videos(self, method: str) -> None:
        got = select(
            np.full((6, 6, 4), 0.5), (2, 3), {"recipe": method, "budget": {"name": "ratio", "keep_ratio": 0.5}}
        )
        assert got.counts == (18,)


def test_fewer_tokens_than_whole_frames_are_refused_by_name() -> None:
    with pytest.raises(scope.BudgetError, match=r"video 0.*tokens must be kept, but the budget is 7"):
        select(clip(9, 2, 3), (2, 3), {"recipe": "dycoke", "budget": {"name": "tokens", "keep": 7, "per": "video"}})
