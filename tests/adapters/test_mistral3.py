"""Mistral 3: what the conformance kit does not see."""

from __future__ import annotations

import oracles
import pytest
import torch

import scope_core as scope
from adapters.installed import features_of
from adapters.mistral3 import BREAK, PLACEHOLDER, SIDE, mistral3, prompts

ROWS = ([3, (2, 3), 4], [2, (3, 2), 1, (1, 4), 5])


@pytest.mark.parametrize("at", ["vision", "projected"])
def test_kept_rows_are_those_of_the_oracle(at: str) -> None:
    model, given = mistral3(), prompts(*ROWS)
    spec = {"recipe": "coverage_only", "budget": 3, "at": at}
    merged: list[torch.Tensor] = []
    hook = model.model.multi_modal_projector.linear_1.register_forward_pre_hook(lambda _, args: merged.append(args[0]))
    with torch.no_grad():
        rows = features_of(model, **{name: given.inputs[name] for name in ("pixel_values", "image_sizes")})
    hook.remove()
    counts = [tall * wide for row in given.sizes for tall, wide in row]
    out = torch.cat([row.view(-1, row.shape[-1]) for row in rows]).split(counts)
    features = out if at == "projected" else merged[0].split([len(row) for row in out])
    with torch.no_grad(), scope.Pruner(spec).attach(model) as pruning:
        model(**given.inputs)
    for kept, row in zip(pruning.receipt.selection.picks.tolist(), features, strict=True):
        assert kept == oracles.coverage_only_picks(oracles.cosine_matrix(row.double().numpy()), 3)[0]


def test_row_breaks_stay_and_plans_are_exact() -> None:
    model, given = mistral3(), prompts(*ROWS)
    sizes = [(rows * SIDE, cols * SIDE) for row in given.sizes for rows, cols in row]
    with torch.no_grad(), scope.Pruner("coverage_only@2").attach(model) as pruning:
        model(**given.inputs)
        assert pruning.plan(sizes).images == pruning.receipt.selection.counts == (2, 2, 2)
        short = pruning.shorten(given.ids)
    assert (short == PLACEHOLDER).sum(1).tolist() == [2, 4]
    assert (short == BREAK).sum(1).tolist() == (given.ids == BREAK).sum(1).tolist()


def test_what_cannot_be_given_is_said() -> None:
    with pytest.raises(scope.SignalError, match=r"cls_attention.*no CLS token.*feature_norm"):
        scope.Pruner("scope@2").attach(mistral3())
    with pytest.raises(scope.SignalError, match="one sequence with rotary positions"):
        scope.Pruner("scope@no_cls@2").attach(mistral3())
    with pytest.raises(scope.TokensError, match=rf"not a multiple of {SIDE} pixels"):
        scope.Pruner("coverage_only@2").plan([(SIDE, SIDE + 1)], model=mistral3())
