"""A model whose calls of ``generate`` are checked, so that no score comes from a run that did not prune."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from scope_adapters.evaluation.errors import stopping
from scope_core import AttachError, Attachment, Plan, Pruner


class Watched:
    """A model for lmms-eval, with every call of ``generate`` checked.

    Args:
        model: The model, unwrapped.
        pruner: Attached and never detached; None prunes nothing, and checks only the answer.
    """

    def __init__(self, model: Any, pruner: Pruner | None) -> None:
        self.inner = model
        self.attachment: Attachment | None = None if pruner is None else pruner.attach(model)
        self.calls = self.images = self.tokens = self.kept = 0
        self.select_ms = 0.0
        self._latest: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own call."""
        return self.inner(*args, **kwargs)

    def generate(self, **inputs: Any) -> Tensor:
        """``generate`` of the model.

        Raises:
            EvaluationStopped: the call failed, or did not prune as planned.
        """
        with stopping(f"answering prompt {self.calls + 1}"):
            ids = inputs["input_ids"]
            if ids is self._latest:
                raise AttachError(
                    "the same input_ids came a second time: lmms-eval repeats its last prompt where a sample has no "
                    "image; choose a task whose samples all have images, e.g. scienceqa_img"
                )
            self._latest = ids
            before = 0 if self.attachment is None else self.attachment.receipt.calls
            output: Tensor = self.inner.generate(**inputs)
            check_answer(ids, output)
            self.calls += 1
            sizes = sizes_of(inputs)
            self.images += len(sizes)
            if self.attachment is not None:
                self._check(self.attachment, before, ids, sizes)
            return output

    def _check(self, pruning: Attachment, before: int, ids: Tensor, sizes: Sequence[tuple[int, int]]) -> None:
        receipt = pruning.receipt
        if not pruning.active or receipt.calls - before != bool(sizes):
            raise AttachError(
                f"a prompt with {len(sizes)} images was answered, but {receipt.calls - before} calls were pruned; "
                f"{'the pruner was detached' if not pruning.active else 'something else wraps generate()'}"
            )
        if not sizes:
            return
        plan = pruning.plan(sizes)
        check_counts(plan, [(image.tokens, image.kept) for image in receipt.images])
        for stage, later in zip(plan.later, receipt.later, strict=bool(plan.later)):
            check_counts(stage, [(image.tokens, image.kept) for image in later.images])
        if pruning.pruner.decoder_layer is None:
            check_placeholders(pruning, ids)
        self.tokens += receipt.tokens
        self.kept += (receipt.later[-1] if receipt.later else receipt).kept
        self.select_ms += receipt.select_ms + sum(later.select_ms for later in receipt.later)


def sizes_of(inputs: Mapping[str, Any]) -> list[tuple[int, int]]:
    """(height, width) of each image of a call of ``generate``, in placeholder order."""
    pixels, sizes = inputs.get("pixel_values"), inputs.get("image_sizes")
    if pixels is None:
        return []
    if sizes is not None:
        return [(int(height), int(width)) for height, width in sizes]
    return [(int(pixels.shape[-2]), int(pixels.shape[-1]))] * len(pixels)


def check_answer(ids: Tensor, output: Tensor) -> None:
    """Refuse an output that does not begin with the prompt: lmms-eval cuts off as many ids as the prompt has.

    Raises:
        AttachError: names both shapes.
    """
    length = ids.shape[1]
    if output.shape[1] <= length or not bool((output[:, :length].to(ids.device) == ids).all()):
        raise AttachError(
            f"generate() was given a prompt of {tuple(ids.shape)} and returned ids of {tuple(output.shape)} that do "
            f"not begin with it, so the answer cannot be found"
        )


def check_counts(plan: Plan, found: Sequence[tuple[int, int]]) -> None:
    """Refuse counts that differ from the plan.

    Args:
        plan: Plan for the images of the call.
        found: (candidates, kept) of each image, from the receipt.

    Raises:
        AttachError: names the image.
    """
    if len(found) != len(plan.layout.images):
        raise AttachError(f"the call has {len(plan.layout.images)} images, but {len(found)} were pruned")
    shared = any(len({span.image for span in group}) > 1 for group in plan.groups)
    planned = [None] * len(found) if shared else list(plan.images)
    for number, ((tokens, kept), image, count) in enumerate(zip(found, plan.layout.images, planned, strict=True)):
        if tokens != image.tokens:
            raise AttachError(f"image {number} has {image.tokens} tokens by its size, but {tokens} were pruned")
        if count is not None and (kept != count if plan.exact else kept > count):
            bound = "" if plan.exact else "at most "
            raise AttachError(f"image {number} should keep {bound}{count} of {tokens} tokens, but kept {kept}")
    total = sum(kept for _, kept in found)
    if shared and (total != plan.total if plan.exact else total > plan.total):
        raise AttachError(f"the images should keep {plan.total} tokens in all, but kept {total}")


def check_placeholders(pruning: Attachment, ids: Tensor) -> None:
    """Refuse a number of image placeholders in the language model that differs from the number of kept tokens.

    Raises:
        AttachError: names both numbers.
    """
    placeholder = pruning.declaration.placeholder
    reached = pruning.shorten(ids, fill=-1).eq(int(placeholder or 0)).sum().item()
    kept = sum(image.kept + image.separators for image in pruning.receipt.images)
    if reached != kept:
        raise AttachError(f"{kept} image tokens were kept, but {reached} placeholders reached the language model")
