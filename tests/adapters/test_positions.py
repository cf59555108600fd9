"""Original positions: against the full prompt with the dropped columns masked away."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import scope_core as scope
from adapters import models
from adapters.reference import scope_kept

NEW = 5
GAPS = {"recipe": "scope", "budget": 5, "positions": "original"}


def masked(model: Any, batch: models.Batch, hidden: Tensor, ids: Tensor) -> Tensor:
    """Logits of the stock model on the full prompt, every query blind to the ``hidden`` columns."""
    length = ids.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    blind = torch.zeros(length, dtype=torch.bool)
    blind[: len(hidden)] = hidden
    seen = causal & ~blind
    mask = torch.zeros(1, 1, length, length).masked_fill(~seen, torch.finfo(torch.float32).min)
    with torch.no_grad():
        return model(input_ids=ids, pixel_values=batch.pixels, attention_mask=mask).logits


@pytest.fixture(scope="module")
def case() -> tuple[Any, models.Batch, Tensor]:
    """A model, one prompt with two images, and which of its columns are dropped."""
    model = models.shared("clip")
    batch = models.batch([3, "image", 4, "image", 5])
    hidden = batch.ids[0] == models.PLACEHOLDER
    places = hidden.nonzero().flatten().view(2, -1)
    for image, kept in enumerate(scope_kept(model, batch.pixels, [5, 5])):
        hidden[places[image, kept]] = False
    return model, batch, hidden


@pytest.mark.parametrize("mask", [True, False])
def test_forward_is_the_full_prompt_with_columns_masked(case: Any, mask: bool) -> None:
    model, batch, hidden = case
    inputs = {**batch.inputs, **({} if mask else {"attention_mask": None})}
    with torch.no_grad(), scope.Pruner(GAPS).attach(model):
        pruned = model(**inputs, use_cache=False).logits
    torch.testing.assert_close(pruned, masked(model, batch, hidden, batch.ids)[:, ~hidden], atol=2e-4, rtol=2e-4)


def test_generate_is_the_full_prompt_with_columns_masked(case: Any) -> None:
    model, batch, hidden = case
    ids = batch.ids
    for _ in range(NEW):
        scores = masked(model, batch, hidden, ids)[:, -1]
        scores[:, models.PLACEHOLDER] = -torch.inf  # the tiny models suppress it too
        ids = torch.cat([ids, scores.argmax(-1, keepdim=True)], 1)
    with scope.Pruner(GAPS).attach(model):
        pruned = model.generate(**batch.inputs, max_new_tokens=NEW, do_sample=False)
    assert torch.equal(pruned, ids)


def test_gaps_matter(case: Any) -> None:
    """Otherwise the tests above would not tell the policies apart."""
    model, batch, _ = case
    with torch.no_grad():
        with scope.Pruner(GAPS).attach(model):
            gapped = model(**batch.inputs).logits
        with scope.Pruner(GAPS, positions="compact").attach(model):
            compact = model(**batch.inputs).logits
    assert (gapped - compact).abs().max() > 1e-3


def test_a_left_padded_batch_equals_single_runs(case: Any) -> None:
    model, _, _ = case
    rows = ([3, "image", 4], [2, "image", 1, "image", 7])
    whole = models.batch(*rows)
    with scope.Pruner(GAPS).attach(model):
        together = model.generate(**whole.inputs, max_new_tokens=NEW, do_sample=False)[:, -NEW:]
        alone = [model.generate(**whole.row(n).inputs, max_new_tokens=NEW, do_sample=False)[:, -NEW:] for n in (0, 1)]
    assert torch.equal(together, torch.cat(alone))


def test_keeping_everything_changes_nothing(case: Any) -> None:
    model, batch, _ = case
    plain = model.generate(**batch.inputs, max_new_tokens=NEW, do_sample=False)
    with scope.Pruner(GAPS, budget=16).attach(model):
        assert torch.equal(model.generate(**batch.inputs, max_new_tokens=NEW, do_sample=False), plain)


def test_no_cache_is_refused_where_gaps_would_cut_attention(case: Any) -> None:
    model, batch, _ = case
    with (
        scope.Pruner(GAPS).attach(model),
        pytest.raises(scope.AttachError, match=r"position 'original'.*leaves gaps.*use_cache=False.*use the cache"),
    ):
        model.generate(**batch.inputs, max_new_tokens=1, do_sample=False, use_cache=False)
