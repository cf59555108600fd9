"""A model whose calls of ``generate`` are checked, so that no score comes from a run that did not prune."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from scope_adapters.evaluation.errors import stopping
from scope_core import AttachError, Attachment, Layout, Plan, Pruner


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
            images = images_of(inputs)
            self.images += images
            if self.attachment is not None:
                self._check(self.attachment, before, inputs, images)
            return output

    def _check(self, pruning: Attachment, before: int, inputs: Mapping[str, Any], images: int) -> None:
        receipt = pruning.receipt
        if not pruning.active or receipt.calls - before != bool(images):
            why = "something else wraps generate()" if pruning.active else "the pruner was detached"
            raise AttachError(
                f"{len(inputs['input_ids'])} prompts with {images} images were answered, but "
                f"{receipt.calls - before} calls were pruned; {why}"
            )
        if not images:
            return
        plan = plan_of(pruning, inputs, self.inner)
        check_counts(plan, [(image.tokens, image.kept) for image in receipt.images])
        for stage, later in zip(plan.later, receipt.later, strict=bool(plan.later)):
            check_counts(stage, [(image.tokens, image.kept) for image in later.images])
        if pruning.pruner.decoder_layer is None:
            check_placeholders(pruning, inputs["input_ids"])
        self.tokens += receipt.tokens
        self.kept += (receipt.later[-1] if receipt.later else receipt).kept
        self.select_ms += receipt.select_ms + sum(later.select_ms for later in receipt.later)


def images_of(inputs: Mapping[str, Any]) -> int:
    """The number of images of a call of ``generate``.

    Raises:
        AttachError: there are videos, whose pruning is not checked.
    """
    if inputs.get("pixel_values_videos") is not None:
        raise AttachError("a sample has a video, and what is kept of videos is not checked; choose a task of images")
    each = inputs.get("image_grid_thw")
    each = inputs.get("pixel_values") if each is None else each
    return 0 if each is None else len(each)


def plan_of(pruning: Attachment, inputs: Mapping[str, Any], model: Any) -> Plan:
    """The plan for the images of a call of ``generate``, from their sizes or grids of patches alone."""
    grids = inputs.get("image_grid_thw")
    if grids is not None:  # Qwen-VL: the processor resized each image by limits that the model does not know
        merge = int(model.config.vision_config.spatial_merge_size)
        tokens = [int(grid.prod()) // merge**2 for grid in grids]
        return pruning.pruner.plan(Layout.of(tokens, prompts=[image.prompt for image in pruning.receipt.images]))
    sizes, pixels = inputs.get("image_sizes"), inputs["pixel_values"]
    if sizes is not None:
        return pruning.plan([(int(height), int(width)) for height, width in sizes])
    return pruning.plan([(int(pixels.shape[-2]), int(pixels.shape[-1]))] * len(pixels))


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
