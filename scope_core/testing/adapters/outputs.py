"""Properties of whole calls: what comes out of ``forward`` and ``generate``, with a pruner and without."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from scope_core.pruning.attachment import Attachment
from scope_core.testing.adapters.harness import MODES, NEW, ROWS, Bench, Broken, Skipped, first_difference, owned


def fits(bench: Bench) -> None:
    """It attaches, and there is something to prove."""
    if not bench.declaration.points:
        raise Broken("its declaration names no interception point")
    if bench.close(bench.logits(bench.inputs([0], other=True)), bench.logits(bench.inputs([0]))):
        raise Broken("the model's outputs do not depend on its images, so nothing could be proved; draw larger weights")
    with bench.attached() as pruning:
        if pruning.receipt:
            raise Broken("the receipt is truthy before there was a call")
        if not pruning.adapter.matches(bench.model):
            raise Broken(f"matches() is False for this {type(bench.model).__name__}")


def identity(bench: Bench) -> None:
    """K = N: bit-equal logits, equal ids."""
    wanted = bench.logits(bench.inputs(bench.rows))
    with bench.attached() as pruning:
        got = bench.logits(bench.inputs(bench.rows))
    if not torch.equal(got, wanted):
        raise Broken(f"forward: {first_difference(got, wanted)}")
    if pruning.receipt.kept != pruning.receipt.tokens or not pruning.receipt:
        raise Broken(f"the receipt says {pruning.receipt.kept} of {pruning.receipt.tokens} tokens were kept")
    with contextlib.suppress(Skipped):
        for mode in MODES:
            wanted = bench.ids(bench.inputs(bench.rows), mode)
            with bench.attached():
                got = bench.ids(bench.inputs(bench.rows), mode)
            if torch.equal(got, wanted):
                continue
            if got.shape == wanted.shape and bench.prompts:  # which of the two is wrong
                wanted[:, -NEW:] = _searched(bench, MODES[mode].get("num_beams", 1))
            if not torch.equal(got, wanted):
                raise Broken(f"{mode}: {first_difference(got, wanted)}")


def _searched(bench: Bench, width: int) -> Tensor:
    """(B, NEW) ids that a search of ``width`` beams finds in plain passes of the unpruned model.

    Hosts that deal images out to beams one by one, or drop them after the first step, find others in their own search.
    """
    prompts: Tensor = bench.inputs(bench.rows)["input_ids"]
    held, scores = prompts[:, None], torch.zeros(len(prompts), 1, dtype=torch.float64, device=prompts.device)
    for _ in range(NEW):
        rated = torch.stack([_rated(bench, beam) for beam in held.unbind(1)], 1)
        scores, best = (scores[..., None] + rated.to(scores.device)).flatten(1).topk(width)
        parents = (best // rated.shape[-1])[..., None].expand(-1, -1, held.shape[-1])
        held = torch.cat([held.gather(1, parents), (best % rated.shape[-1])[..., None]], -1)
    return held[:, 0, -NEW:]


def _rated(bench: Bench, ids: Tensor) -> Tensor:
    """(B, V) log-probabilities of the id that follows ``ids``; no id that `Bench.ids` rules out."""
    inputs = dict(bench.inputs(bench.rows))
    shape = inputs["input_ids"].shape
    for name, tensor in inputs.items():
        if isinstance(tensor, Tensor) and tensor.shape == shape:
            more = tensor.new_full((shape[0], ids.shape[1] - shape[1]), int(name == "attention_mask"))
            inputs[name] = torch.cat([tensor, more], 1)
    rated = bench.logits({**inputs, "input_ids": ids})[:, -1].double().log_softmax(-1)
    rated[:, bench.ruled_out] = -torch.inf
    return rated


def fewer(bench: Bench) -> None:
    """K < N: other logits; ``generate`` hands back the caller's own prompt, if it hands back any."""
    for rows in ([0], [2]):
        full = bench.logits(bench.inputs(rows))
        with bench.attached(share=0.4) as pruning:
            few = bench.logits(bench.inputs(rows))
        if pruning.receipt.kept >= pruning.receipt.tokens:
            raise Broken(f"asked for 40%, and kept {pruning.receipt.kept} of {pruning.receipt.tokens} tokens")
        if bench.close(few[:, -1], full[:, -1]):
            raise Broken(f"the last output is the same with {pruning.receipt.kept} of {pruning.receipt.tokens} tokens")
    with contextlib.suppress(Skipped):
        before = bench.ids(bench.inputs(bench.rows), "greedy search")[:, :-NEW]
        with bench.attached(share=0.4):
            shown = bench.ids(bench.inputs(bench.rows), "greedy search")[:, :-NEW]
        if not torch.equal(shown, before):
            raise Broken(f"generate() shows another prompt than unpruned: {first_difference(shown, before)}")


def batch(bench: Bench) -> None:
    """Another number of tokens for every image."""
    counts = [max(1, count * (place + 2) // 8) for place, count in enumerate(_tokens(bench))]
    _against_singles(bench, counts, MODES)


def empty(bench: Bench) -> None:
    """Nothing of the first or the last image of a prompt."""
    with bench.attached() as pruning:
        tokens = _tokens(bench, pruning)
        last = owned(pruning, 2)
    for gone in (last[0], last[-1]):
        keep = [0 if number == gone else max(1, count // 3) for number, count in enumerate(tokens)]
        _against_singles(bench, keep, ["beam search"])


def memory(bench: Bench) -> None:
    """The same calls one after another, and each by itself; other pictures of the same sizes among them."""
    whole, text = list(bench.rows), [[1]] if bench.prompts else []
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
        with bench.attached(share=0.4) as pruning:
            fresh.append((bench.logits(bench.inputs(rows, other=other)), _chosen(pruning)))
    with bench.attached(share=0.4) as pruning:
        made = 0
        for (rows, other), (wanted, chosen) in zip(order, fresh, strict=True):
            got = bench.logits(bench.inputs(rows, other=other))
            if not torch.equal(got, wanted):
                raise Broken(f"prompts {rows} after other calls: {first_difference(got, wanted)}")
            if chosen is None:
                continue
            made += 1
            if pruning.receipt.calls != made:
                raise Broken(f"{made} calls had images, and the receipt counts {pruning.receipt.calls}")
            if _chosen(pruning) != chosen:
                raise Broken(f"prompts {rows} after other calls: other tokens were kept than in a first call")
            with contextlib.suppress(Skipped):
                bench.ids(bench.inputs(rows, other=other), "greedy search")
                made += 1


def _tokens(bench: Bench, pruning: Attachment | None = None) -> list[int]:
    """Candidates of the images of all prompts."""
    if not bench.prompts:
        raise Skipped("the model's calls have no prompts")
    if pruning is None:
        with bench.attached() as made:
            return _tokens(bench, made)
    bench.logits(bench.inputs(ROWS))
    for row, least in ((0, 1), (2, 2)):
        if len(owned(pruning, row)) < least:
            raise Broken(f"the receipt gives prompt {row} the images {owned(pruning, row)}; it has {least}")
    return [image.tokens for image in pruning.receipt.images]


def _against_singles(bench: Bench, keep: Sequence[int], modes: Iterable[str]) -> None:
    with bench.attached(keep=keep) as pruning:
        together = bench.logits(bench.inputs(ROWS))[:, -1]
        counts = [image.kept for image in pruning.receipt.images]
        mine = {row: owned(pruning, row) for row in ROWS}
        ids = {mode: _new(bench, ROWS, mode) for mode in modes}
    if counts != list(keep):
        raise Broken(f"asked for {list(keep)} tokens, the receipt says {counts} were kept")
    for row in ROWS:
        with bench.attached(keep=[keep[image] for image in mine[row]]):
            alone = bench.logits(bench.inputs([row]))[:, -1]
            if not bench.close(together[row : row + 1], alone):
                apart, largest = float((together[row] - alone[0]).abs().max()), float(alone.abs().max())
                raise Broken(
                    f"prompt {row}, keeping {list(keep)}: the last logits differ from those of the prompt alone by "
                    f"{apart:.3g}, the largest being {largest:.3g}"
                )
            for mode in ids:
                single = _new(bench, [row], mode)
                if not torch.equal(ids[mode][row : row + 1], single):
                    raise Broken(
                        f"prompt {row}, keeping {list(keep)}, {mode}: {ids[mode][row].tolist()} in the batch, "
                        f"{single[0].tolist()} alone"
                    )


def _new(bench: Bench, rows: Sequence[int], mode: str) -> Tensor:
    """(B, NEW) generated ids; nothing where the model generates none."""
    try:
        return bench.ids(bench.inputs(rows), mode)[:, -NEW:]
    except Skipped:
        return torch.zeros(len(rows), 0)


def _chosen(pruning: Attachment) -> list[list[int]] | None:
    selection = pruning.receipt.selection
    return None if selection is None else selection.kept.tolist()
