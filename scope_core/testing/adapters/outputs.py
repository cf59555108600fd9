"""Properties of whole calls: outputs of ``forward`` and ``generate``, with a pruner and without."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from scope_core.pruning.attachment import Attachment
from scope_core.testing.adapters.harness import MODES, NEW, ROWS, Harness, Skipped, first_difference, owned
from scope_core.testing.failures import PropertyViolation


def adapter_fits_the_model(harness: Harness) -> None:
    """The adapter attaches, and the outputs depend on the images."""
    if not harness.declaration.points:
        raise PropertyViolation("its declaration names no interception point")
    if harness.close(harness.logits(harness.inputs([0], other=True)), harness.logits(harness.inputs([0]))):
        raise PropertyViolation(
            "the model's outputs do not depend on its images, so nothing can be proved; use larger weights"
        )
    with harness.attached() as pruning:
        if pruning.receipt:
            raise PropertyViolation("the receipt is truthy before there was a call")
        if not pruning.adapter.matches(harness.model):
            raise PropertyViolation(f"matches() is False for this {type(harness.model).__name__}")


def keeping_all_tokens_changes_nothing(harness: Harness) -> None:
    """K = N: bit-equal logits, equal generated ids: greedy, beams, no cache."""
    wanted = harness.logits(harness.inputs(harness.rows))
    with harness.attached() as pruning:
        got = harness.logits(harness.inputs(harness.rows))
    if not torch.equal(got, wanted):
        raise PropertyViolation(f"forward: {first_difference(got, wanted)}")
    if pruning.receipt.kept != pruning.receipt.tokens or not pruning.receipt:
        raise PropertyViolation(f"the receipt says {pruning.receipt.kept} of {pruning.receipt.tokens} tokens were kept")
    with contextlib.suppress(Skipped):
        for mode in MODES:
            wanted = harness.ids(harness.inputs(harness.rows), mode)
            with harness.attached():
                got = harness.ids(harness.inputs(harness.rows), mode)
            if torch.equal(got, wanted):
                continue
            if got.shape == wanted.shape and harness.prompts:  # find out which of the two is wrong
                wanted[:, -NEW:] = _searched(harness, MODES[mode].get("num_beams", 1))
            if not torch.equal(got, wanted):
                raise PropertyViolation(f"{mode}: {first_difference(got, wanted)}")


def _searched(harness: Harness, width: int) -> Tensor:
    """(B, NEW) ids that a search of ``width`` beams finds in plain passes of the unpruned model.

    Libraries that hand images to beams one by one, or drop them after the first step, find other ids.
    """
    prompts: Tensor = harness.inputs(harness.rows)["input_ids"]
    held, scores = prompts[:, None], torch.zeros(len(prompts), 1, dtype=torch.float64, device=prompts.device)
    for _ in range(NEW):
        rated = torch.stack([_rated(harness, beam) for beam in held.unbind(1)], 1)
        scores, best = (scores[..., None] + rated.to(scores.device)).flatten(1).topk(width)
        parents = (best // rated.shape[-1])[..., None].expand(-1, -1, held.shape[-1])
        held = torch.cat([held.gather(1, parents), (best % rated.shape[-1])[..., None]], -1)
    return held[:, 0, -NEW:]


def _rated(harness: Harness, ids: Tensor) -> Tensor:
    """(B, V) log-probabilities of the id that follows ``ids``; no id that `Harness.ids` rules out."""
    inputs = dict(harness.inputs(harness.rows))
    shape = inputs["input_ids"].shape
    for name, tensor in inputs.items():
        if isinstance(tensor, Tensor) and tensor.shape == shape:
            more = tensor.new_full((shape[0], ids.shape[1] - shape[1]), int(name == "attention_mask"))
            inputs[name] = torch.cat([tensor, more], 1)
    rated = harness.logits({**inputs, "input_ids": ids})[:, -1].double().log_softmax(-1)
    rated[:, harness.ruled_out] = -torch.inf
    return rated


def keeping_fewer_tokens_changes_outputs(harness: Harness) -> None:
    """K < N: other logits; ``generate`` returns the caller's own prompt, if it returns one."""
    for rows in ([0], [2]):
        full = harness.logits(harness.inputs(rows))
        with harness.attached(share=0.4) as pruning:
            few = harness.logits(harness.inputs(rows))
        if pruning.receipt.kept >= pruning.receipt.tokens:
            raise PropertyViolation(
                f"asked for 40%, and kept {pruning.receipt.kept} of {pruning.receipt.tokens} tokens"
            )
        if harness.close(few[:, -1], full[:, -1]):
            raise PropertyViolation(
                f"the last output is the same with {pruning.receipt.kept} of {pruning.receipt.tokens} tokens"
            )
    with contextlib.suppress(Skipped):
        before = harness.ids(harness.inputs(harness.rows), "greedy search")[:, :-NEW]
        with harness.attached(share=0.4):
            shown = harness.ids(harness.inputs(harness.rows), "greedy search")[:, :-NEW]
        if not torch.equal(shown, before):
            raise PropertyViolation(
                f"generate() returns another prompt than unpruned: {first_difference(shown, before)}"
            )


def batches_match_single_prompts(harness: Harness) -> None:
    """Each image keeps another number of tokens."""
    counts = [max(1, count * (place + 2) // 8) for place, count in enumerate(_tokens(harness))]
    _against_singles(harness, counts, MODES)


def images_may_keep_no_tokens(harness: Harness) -> None:
    """The first or the last image of a prompt keeps no token."""
    with harness.attached() as pruning:
        tokens = _tokens(harness, pruning)
        last = owned(pruning, 2)
    for gone in (last[0], last[-1]):
        keep = [0 if number == gone else max(1, count // 3) for number, count in enumerate(tokens)]
        _against_singles(harness, keep, ["beam search"])


def calls_do_not_affect_later_ones(harness: Harness) -> None:
    """The same calls in a row and each by itself, other images of the same sizes among them."""
    whole, text = list(harness.rows), [[1]] if harness.prompts else []
    order = [
        (whole, False),
        (whole, True),
        ([2], False),
        *((rows, False) for rows in text),
        ([0], False),
        (whole, False),
    ]
    fresh = []
    for rows, other in order:
        with harness.attached(share=0.4) as pruning:
            fresh.append((harness.logits(harness.inputs(rows, other=other)), _chosen(pruning)))
    with harness.attached(share=0.4) as pruning:
        made = 0
        for (rows, other), (wanted, chosen) in zip(order, fresh, strict=True):
            got = harness.logits(harness.inputs(rows, other=other))
            if not torch.equal(got, wanted):
                raise PropertyViolation(f"prompts {rows} after other calls: {first_difference(got, wanted)}")
            if chosen is None:
                continue
            made += 1
            if pruning.receipt.calls != made:
                raise PropertyViolation(f"{made} calls had images, and the receipt counts {pruning.receipt.calls}")
            if _chosen(pruning) != chosen:
                raise PropertyViolation(
                    f"prompts {rows} after other calls: other tokens were kept than in a first call"
                )
            with contextlib.suppress(Skipped):
                harness.ids(harness.inputs(rows, other=other), "greedy search")
                made += 1


def _tokens(harness: Harness, pruning: Attachment | None = None) -> list[int]:
    """Candidates of the images of all prompts."""
    if not harness.prompts:
        raise Skipped("the model's calls have no prompts")
    if pruning is None:
        with harness.attached() as made:
            return _tokens(harness, made)
    harness.logits(harness.inputs(ROWS))
    for row, least in ((0, 1), (2, 2)):
        if len(owned(pruning, row)) < least:
            raise PropertyViolation(f"the receipt gives prompt {row} the images {owned(pruning, row)}; it has {least}")
    return [image.tokens for image in pruning.receipt.images]


def _against_singles(harness: Harness, keep: Sequence[int], modes: Iterable[str]) -> None:
    with harness.attached(keep=keep) as pruning:
        together = harness.logits(harness.inputs(ROWS))[:, -1]
        counts = [image.kept for image in pruning.receipt.images]
        mine = {row: owned(pruning, row) for row in ROWS}
        ids = {mode: _new(harness, ROWS, mode) for mode in modes}
    if counts != list(keep):
        raise PropertyViolation(f"asked for {list(keep)} tokens, the receipt says {counts} were kept")
    for row in ROWS:
        with harness.attached(keep=[keep[image] for image in mine[row]]):
            alone = harness.logits(harness.inputs([row]))[:, -1]
            if not harness.close(together[row : row + 1], alone):
                apart, largest = float((together[row] - alone[0]).abs().max()), float(alone.abs().max())
                raise PropertyViolation(
                    f"prompt {row}, keeping {list(keep)}: the last logits differ from those of the prompt alone by "
                    f"{apart:.3g}, the largest being {largest:.3g}"
                )
            for mode in ids:
                single = _new(harness, [row], mode)
                if not torch.equal(ids[mode][row : row + 1], single):
                    raise PropertyViolation(
                        f"prompt {row}, keeping {list(keep)}, {mode}: {ids[mode][row].tolist()} in the batch, "
                        f"{single[0].tolist()} alone"
                    )


def _new(harness: Harness, rows: Sequence[int], mode: str) -> Tensor:
    """(B, NEW) generated ids; nothing where the model generates none."""
    try:
        return harness.ids(harness.inputs(rows), mode)[:, -NEW:]
    except Skipped:
        return torch.zeros(len(rows), 0)


def _chosen(pruning: Attachment) -> list[list[int]] | None:
    selection = pruning.receipt.selection
    return None if selection is None else selection.kept.tolist()
