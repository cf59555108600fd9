"""``forward`` of a pruned model: scoring, training, and everything that runs along the prompt."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

import scope_core as scope
from adapters.guests import keeping
from adapters.installed import cache_of, cached, tower_layers
from adapters.models import MIXED, ONE, PLACEHOLDER, TWO, batch, llava, shared
from adapters.reference import embeddings, scope_kept

KEEP = [5, 3, 9]


def labels_of(ids: Tensor, mask: Tensor) -> Tensor:
    return ids.masked_fill((mask == 0) | (ids == PLACEHOLDER) | (ids == 1), -100)


def short_labels(labels: Tensor, pruning: scope.Attachment) -> Tensor:
    """Labels of the shortened prompt, by a plain loop."""
    rows = pruning.positions.tolist()
    return torch.tensor([[-100 if p < 0 else int(row[p]) for p in at] for row, at in zip(labels, rows, strict=True)])


@pytest.mark.parametrize("side", ["left", "right"])
def test_loss_is_that_of_hand_built_embeddings(side: str) -> None:
    model, given = shared("clip"), batch(*MIXED, side=side)
    labels = labels_of(given.ids, given.mask)
    by_hand = embeddings(model, given, scope_kept(model, given.pixels, KEEP), side=side)
    with torch.no_grad(), keeping(KEEP).attach(model) as pruning:
        got = model(**given.inputs, labels=labels)
    with torch.no_grad():
        wanted = model(**by_hand, labels=short_labels(labels, pruning))
        full = model(**given.inputs, labels=labels)
    torch.testing.assert_close(got.loss, wanted.loss, atol=1e-4, rtol=0)
    assert abs(got.loss - full.loss) > 1e-3


def test_labels_keep_their_tokens() -> None:
    """Every text label is still there, once, in order."""
    model, given = shared("clip"), batch(*MIXED)
    labels = labels_of(given.ids, given.mask)
    with torch.no_grad(), keeping(KEEP).attach(model) as pruning:
        model(**given.inputs, labels=labels)
    for short, row in zip(short_labels(labels, pruning), labels, strict=True):
        assert short[short >= 0].tolist() == row[row >= 0].tolist()


def test_the_first_token_does_not_become_a_target() -> None:
    """The longest prompt's first token has nothing before it; pruned, it may come to stand behind padding."""
    model, given = shared("clip"), batch([3, "image", 4], [2, "image", 3, "image", 5])
    labels = given.ids.masked_fill((given.mask == 0) | (given.ids == PLACEHOLDER), -100)
    labels[0] = -100
    with torch.no_grad(), keeping([16, 1, 1]).attach(model) as pruning:
        got = model(**given.inputs, labels=labels)
    assert pruning.positions[1, 0] < 0
    targets = short_labels(labels, pruning)[1]
    targets[pruning.positions[1] <= 0] = -100
    wanted = torch.nn.functional.cross_entropy(got.logits[1, :-1], targets[1:])
    torch.testing.assert_close(got.loss, wanted)


@pytest.mark.parametrize("mode", ["train", "eval", "checkpointing"])
def test_gradients_are_those_of_hand_built_embeddings(mode: str) -> None:
    model, given = llava(), batch(*TWO)
    labels = labels_of(given.ids, given.mask)
    model.train(mode != "eval")
    if mode == "checkpointing":
        getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
    pieces = {
        "projector": model.model.multi_modal_projector.linear_1.weight,
        "tower": tower_layers(model.model.vision_tower)[0].mlp.fc1.weight,
        "decoder": model.model.language_model.layers[0].mlp.up_proj.weight,
    }

    def gradients() -> dict[str, Tensor]:
        made = {name: piece.grad.clone() for name, piece in pieces.items()}
        model.zero_grad()
        return made

    with keeping(KEEP).attach(model) as pruning:
        model(**given.inputs, labels=labels, use_cache=False).loss.backward()
    got = gradients()
    kept = [row[:count].tolist() for row, count in zip(pruning.receipt.selection.kept, KEEP, strict=True)]
    assert kept == scope_kept(model, given.pixels, KEEP)
    model(**embeddings(model, given, kept), labels=short_labels(labels, pruning), use_cache=False).loss.backward()
    for name, wanted in gradients().items():
        assert got[name].abs().max() > 0, name
        torch.testing.assert_close(got[name], wanted, atol=2e-3, rtol=2e-3)
    tokens = pruning.receipt.selection.tokens
    assert not any(tensor.requires_grad for tensor in (tokens.features, tokens.signal("vision.cls_attention[-2]")))


def test_receipt_holds_no_autograd_graph() -> None:
    """It outlives the call; a graph held by it would keep the tower's activations alive."""
    model, given = llava(), batch(*ONE)

    class Saved:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor

    for spec in ({"recipe": "scope", "budget": 5}, {"recipe": "divprune", "budget": 5}):
        held: list[weakref.ref[Saved]] = []

        def pack(tensor: Tensor, held: list[weakref.ref[Saved]] = held) -> Saved:
            saved = Saved(tensor.detach())
            held.append(weakref.ref(saved))
            return saved

        with scope.Pruner(spec).attach(model) as pruning:
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
                out = model(**given.inputs)
            assert out.logits.requires_grad
            assert len([saved for saved in held if saved() is not None]) > 10
            del out
            gc.collect()
            assert pruning.receipt
            assert [saved for saved in held if saved() is not None] == []


@pytest.mark.parametrize("keep", [16, KEEP], ids=str)
def test_position_ids_of_the_caller_are_closed_up(keep: Any) -> None:
    model, given = shared("clip"), batch(*MIXED)
    positions = (given.mask.cumsum(1) - 1).clamp(min=0)
    seen: list[Tensor] = []
    language = model.model.language_model
    hook = language.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(kwargs["position_ids"]), with_kwargs=True
    )
    try:
        with torch.no_grad(), keeping(keep).attach(model) as pruning:
            model(**given.inputs, position_ids=positions)
    finally:
        hook.remove()
    for row, at, mask in zip(seen[-1], pruning.positions, given.mask, strict=True):
        real = (at >= 0) & mask[at.clamp(min=0)].bool()
        assert row[real].tolist() == list(range(int(real.sum())))
        assert (row[~real] == 0).all()
    if keep == 16:
        assert torch.equal(seen[-1], positions)


def test_position_ids_of_one_row_serve_all() -> None:
    model, given = shared("clip"), batch([3, "image", 4], [3, "image", 4])
    one = torch.arange(given.length)[None] + 2
    with torch.no_grad():
        wanted = model(**given.inputs, position_ids=one).logits
        with keeping(16).attach(model):
            assert torch.equal(model(**given.inputs, position_ids=one).logits, wanted)
        with keeping(5).attach(model):
            assert model(**given.inputs, position_ids=one).logits.shape[1] == given.length - 11


def test_packed_prompts_stay_apart() -> None:
    """Two prompts in one row, told apart by positions that start again: no mask may be made up for them."""
    model, parts = shared("clip"), [batch([3, "image", 4], seed=4), batch([2, "image", 6], seed=5)]
    ids, pixels = torch.cat([part.ids for part in parts], 1), torch.cat([part.pixels for part in parts])
    positions = torch.cat([torch.arange(part.length) for part in parts])[None]
    packed_call = {"input_ids": ids, "pixel_values": pixels, "position_ids": positions, "use_cache": False}
    with torch.no_grad():
        host, alone = model(**packed_call).logits, torch.cat([model(**part.inputs).logits for part in parts], 1)
        if not torch.allclose(host, alone, atol=2e-4):  # a release that does not tell packed prompts apart itself
            with keeping(16).attach(model):
                assert torch.equal(model(**packed_call).logits, host)
            return
        for keep in ([16, 16], [5, 3]):
            with keeping(keep).attach(model):
                packed = model(**packed_call).logits
            apart = []
            for part, count in zip(parts, keep, strict=True):
                with keeping([count]).attach(model):
                    apart.append(model(**part.inputs).logits)
            torch.testing.assert_close(packed, torch.cat(apart, 1), atol=2e-4, rtol=0)


def test_positional_arguments_and_tuples() -> None:
    model, given = shared("clip"), batch(*TWO)
    with torch.no_grad(), keeping(KEEP).attach(model):
        wanted = model(**given.inputs)
        assert torch.equal(model(given.ids, given.pixels, given.mask).logits, wanted.logits)
        loose = model(**given.inputs, return_dict=False)
        assert isinstance(loose, tuple)
        assert torch.equal(loose[0], wanted.logits)
        last = model(**given.inputs, logits_to_keep=1).logits
        torch.testing.assert_close(last, wanted.logits[:, -1:])


def test_without_a_mask() -> None:
    model, given = shared("clip"), batch(*ONE)
    ragged = batch([3, "image", 4], [3, "image", 4])
    with torch.no_grad(), keeping(5).attach(model):
        wanted = model(**given.inputs).logits
        assert torch.equal(model(input_ids=given.ids, pixel_values=given.pixels).logits, wanted)
    with torch.no_grad(), keeping([5, 9]).attach(model):
        wanted = model(**ragged.inputs).logits
        assert torch.equal(model(input_ids=ragged.ids, pixel_values=ragged.pixels).logits, wanted)


@pytest.mark.parametrize("side", ["left", "right"])
def test_outputs_can_be_laid_out_along_the_full_prompt(side: str) -> None:
    model, given = shared("clip"), batch(*MIXED, side=side)
    with torch.no_grad(), keeping([16, 1, 0]).attach(model) as pruning:
        with pytest.raises(scope.AttachError, match="no call with images"):
            pruning.expand(torch.zeros(3, 4))
        with pytest.raises(scope.AttachError, match="no call with images"):
            pruning.shorten(given.mask)
        logits = model(**given.inputs).logits
        full = pruning.expand(logits, fill=-1.0)
        flat = pruning.expand(torch.ones(logits.shape[:2], dtype=torch.int64))
        with pytest.raises(scope.AttachError, match="its first two axes must be"):
            pruning.expand(logits[:, :-1])
        with pytest.raises(scope.AttachError, match="its first two axes must be"):
            pruning.shorten(given.ids[:, :-1])
    there_and_back = pruning.shorten(pruning.expand(logits), fill=-2.0)
    assert torch.equal(there_and_back, logits.masked_fill((pruning.positions < 0)[..., None], -2.0))
    assert full.shape == (*given.ids.shape, logits.shape[2])
    assert (pruning.positions < 0).any()
    for row, at in enumerate(pruning.positions.tolist()):
        there = [p for p in at if p >= 0]
        assert len(set(there)) == len(there)
        assert flat[row].nonzero().flatten().tolist() == sorted(there)
        for short, position in enumerate(at):
            if position >= 0:
                assert torch.equal(full[row, position], logits[row, short])
        dropped = sorted(set(range(given.length)) - set(there))
        assert (full[row, dropped] == -1).all()


def test_a_loop_of_the_callers_own_goes_on_from_the_cache() -> None:
    """With the mask of the whole prompt, or with that of the shortened one."""
    model, given, alone = shared("clip"), batch(*MIXED), batch(*ONE)
    with torch.no_grad(), keeping(KEEP).attach(model) as pruning:
        wanted = model.generate(**given.inputs, max_new_tokens=2, do_sample=False)[:, -1:]
        for mask in (given.mask, pruning.shorten(given.mask)):
            out = model(**given.inputs, use_cache=True)
            new = out.logits[:, -1:].argmax(-1)
            step = {"input_ids": new, **cached(model, cache_of(out))}
            second = model(**step, attention_mask=torch.cat([mask, torch.ones_like(new)], 1)).logits
            assert torch.equal(second[:, -1:].argmax(-1), wanted)
    with torch.no_grad(), keeping(5).attach(model):
        out = model(**alone.inputs, use_cache=True)
        step = {"input_ids": out.logits[:, -1:].argmax(-1), **cached(model, cache_of(out))}
        longer = torch.ones(1, alone.length + 1, dtype=torch.int64)
        second = model(**step, attention_mask=longer).logits[:, -1].argmax(-1)
        assert torch.equal(second, model.generate(**alone.inputs, max_new_tokens=2, do_sample=False)[:, -1])
