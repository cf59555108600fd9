"""The clips that methods for videos are measured on: the same as those of the recorded figures."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from docs.pages import ROOT

FOLDER = ROOT / "docs" / "evidence" / "video"
RECORDED = json.loads((FOLDER / "results.json").read_text("utf-8"))


@pytest.fixture
def clips(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(FOLDER)
    import clips

    yield clips
    del sys.modules["clips"]


def test_clips_are_those_that_were_measured(clips: Any) -> None:
    assert len(RECORDED["clips"]) >= 4
    for one in RECORDED["clips"]:
        assert [list(event) for event in clips.plan(one["clip"]).events] == one["events"]


def test_labels_are_where_the_pixels_changed(clips: Any) -> None:
    """On a clip that neither pans nor cuts, patches change where objects are, were, or have their edges."""
    import numpy as np

    plan = next(plan for plan in map(clips.plan, range(12)) if not plan.pan and plan.cut is None)
    frames, shows = clips.draw(plan)
    pixels = np.stack([np.asarray(frame).astype(int) for frame in frames])
    cells = pixels.reshape(len(frames), clips.GRID, 14, clips.GRID, 14, 3).transpose(0, 1, 3, 2, 4, 5)
    for thing, frame in plan.events:
        new = shows[thing, frame] & ~shows[:, frame - 1].any(0)
        changed = np.abs(cells[frame] - cells[frame - 1]).mean((2, 3, 4))
        assert new.any()
        assert changed[new].min() > 5
        assert np.median(changed) == 0


def test_the_oracle_misses_nothing() -> None:
    """Its figures are those that the others could reach."""
    best = [row for row in RECORDED["summary"] if row["method"] == "oracle"]
    assert {row["share"] for row in best} == {25, 10, 5}
    assert all(row["objects"] == row["events"] == 1 for row in best)
