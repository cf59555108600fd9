"""`scope bench speed published`: the plain loops keep what the recipes keep. Nothing here compares a time."""

from __future__ import annotations

import pytest
import torch

import scope_core as scope
from scope_bench.speed import select, timing, versus
from scope_bench.speed.inputs import smooth
from scope_bench.speed.published import METHODS
from scope_bench.speed.tables import tables

SETTINGS = select.Settings("wall", timing.Effort(rounds=1, seconds=1.0, least=1), torch.device("cpu"))
WIDTH = 128


@pytest.mark.parametrize("keep", [20, 48])
@pytest.mark.parametrize("name", METHODS)
def test_a_plain_loop_keeps_what_its_recipe_keeps(name: str, keep: int, registry: scope.Registry) -> None:
    features = smooth(144, WIDTH).features
    ours, theirs = (run() for run in versus.pair(name, keep, features, registry))
    assert len(ours) == len(theirs) == keep
    assert versus.same_rows(ours, theirs, features) >= keep - (name in ("prumerge", "evs"))  # near ties
    assert ours.dim() == (2 if name in ("visionzip", "prumerge", "tome") else 1)


def test_the_table(registry: scope.Registry) -> None:
    found = versus.versus(smooth(64, 16), 64, [8], registry, SETTINGS)
    assert [row["name"] for row in found["rows"]] == [*METHODS]
    facts = {"processor": "P", "cores": 2, "load": 1.0, "device": "cpu", "accelerator": None, "threads": 1}
    report = {"clock": "wall", "allocator": "warm", "machine": {**facts, "versions": {}}, "published": [found]}
    found["rows"][0] |= {"ms": {versus.OURS: 2.0, versus.THEIRS: 5.0}, "same": 7}
    (table,) = tables(report)
    assert table.rows[0] == ("scope", "8", "5.00", "2.00", "2.50x", "7")
    assert all(len(line) <= 80 for line in table.text().splitlines())


@pytest.mark.parametrize(("tokens", "width"), [(143, 16), (49, 16), (64, 12)])
def test_sizes_that_no_video_or_grid_has_are_refused(tokens: int, width: int, registry: scope.Registry) -> None:
    with pytest.raises(scope.TaskError, match=r"give e\.g\. --tokens 576 --width 1024"):
        versus.versus(smooth(tokens, width), tokens, [8], registry, SETTINGS)
