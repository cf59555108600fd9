"""The clips that methods for videos are measured on: the same as those of the recorded figures."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import pytest
from PIL import Image

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
    assert len(RECORDED["clips"]) >= 12
    for one in RECORDED["clips"]:
        plan = clips.plan(one["clip"], changing=2)
        assert [list(event) for event in plan.events] == one["events"]
        assert [list(change) for change in plan.changes] == one["changes"]
        assert plan.things[:6] == clips.plan(one["clip"]).things


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


def test_an_object_changes_once(clips: Any) -> None:
    """What starts has stood still, what stops stands still from then on, and what turns into another stays there."""
    seen = set()
    for thing in (thing for number in range(12) for thing in clips.plan(number, changing=3).things[6:]):
        places = [thing.corner(frame) for frame in range(clips.FRAMES)]
        moved = [one != other for one, other in zip(places[1:], places, strict=False)]
        before, after = set(moved[: thing.turn - 1]), set(moved[thing.turn - 1 :])
        wanted = {"starts": ({False}, {True}), "stops": ({True}, {False}), "becomes": ({False}, {False})}
        assert (before, after) == wanted[thing.change]
        names = [thing.shown_as(frame) for frame in (thing.turn - 1, thing.turn)]
        assert (names[0] != names[1]) == (thing.change == "becomes")
        seen.add(thing.change)
    assert seen == set(clips.CHANGES)


def test_a_merged_row_shows_what_has_half_of_its_weight(clips: Any) -> None:
    import numpy as np
    import torch

    run = importlib.import_module("run")
    try:
        shows = np.zeros((2, 1, 1, 4), dtype=bool)
        shows[0, 0, 0, :2] = shows[1, 0, 0, 2] = True
        weights = torch.tensor([[0.25, 0.25, 0.0, 0.5], [0.0, 0.0, 0.2, 0.8]])
        assert run.by_rows(weights, shows)[:, 0, 0].tolist() == [[True, True, False, False], [False] * 4]
        still = clips.still([Image.new("RGB", (clips.SIDE,) * 2)] * 2)
        assert still.shape == (1, clips.GRID, clips.GRID)
        assert still.all()
    finally:
        del sys.modules["run"]


def test_the_oracle_misses_nothing() -> None:
    """Its figures are those that the others could reach."""
    best = [row for row in RECORDED["summary"] if row["method"] == "oracle"]
    assert {row["share"] for row in best} == {25, 10, 5}
    assert all(row["objects"] == row["events"] == 1 for row in best)
