"""`scope bench speed batches`: both ways select the same from each group. Nothing here compares a time."""

from __future__ import annotations

import pytest
import torch

import scope_core as scope
from scope_bench.speed import batches, select, timing
from scope_bench.speed.tables import tables

SETTINGS = select.Settings("wall", timing.Effort(rounds=1, seconds=1.0, least=1), torch.device("cpu"))


@pytest.mark.parametrize("ragged", [False, True])
def test_one_call_picks_what_a_call_each_picks(
    ragged: bool, registry: scope.Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[scope.Selection] = []
    pruner = scope.Pruner("scope@9", registry=registry)
    whole = pruner.select
    monkeypatch.setattr(pruner, "select", lambda *given, **more: made.append(whole(*given, **more)))
    runs = batches._runs(pruner, 32, 8, ragged, 16, SETTINGS)
    for run in runs.values():
        run()
    together, *alone = made
    assert torch.equal(together.picks, torch.cat([one.picks for one in alone]))
    assert (
        together.tokens.n_valid
        == tuple(batches.lengths(32, 8, ragged))
        == sum((one.tokens.n_valid for one in alone), ())
    )
    assert len({*together.tokens.n_valid}) == (4 if ragged else 1)


def test_the_table(registry: scope.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "GROUPS", (2, 4))
    found = batches.batches([16], 5, 8, "scope", registry, SETTINGS)
    assert [(row["groups"], row["ragged"]) for row in found["rows"]] == [(2, False), (2, True), (4, False), (4, True)]
    found["rows"][1]["ms"] = {batches.TOGETHER: 2.0, batches.ALONE: 5.0}
    facts = {"processor": "P", "cores": 2, "load": 1.0, "device": "cpu", "accelerator": None, "threads": 2}
    report = {"clock": "wall", "allocator": "warm", "machine": {**facts, "versions": {}}, "batches": found}
    (table,) = tables(report)
    assert table.rows[1] == ("16", "2", "ragged", "2.00", "5.00", "2.50x")
    assert all(len(line) <= 80 for line in table.text().splitlines())


def test_more_than_the_smallest_group_has_is_refused(registry: scope.Registry) -> None:
    with pytest.raises(
        scope.BudgetError, match="cannot keep 11 of 10 tokens, the smallest group of N = 16; lower --keep"
    ):
        batches.batches([16], 11, 8, "scope", registry, SETTINGS)
