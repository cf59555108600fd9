"""`padded_prompts`: the arguments that `check_adapter` asks for, from plain prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from scope_core.errors import AdapterError
from scope_core.testing.adapters.harness import ROWS, MakeInputs


def padded_prompts(ids: Sequence[Sequence[int]], *, pad: int = 0, **images: Sequence[Tensor | None]) -> MakeInputs:
    """A function for ``make_inputs`` of `check_adapter`: prompts padded on the left, with their images.

    ::

        pixels = torch.randn(3, 3, 28, 28)
        padded_prompts([[1, 5, *image], [1, 8], [1, *image, 9, *image]], pixel_values=[pixels[:1], None, pixels[1:]])

    Args:
        ids: The token ids of prompts 0 (one image), 1 (none) and 2 (two images), placeholders included.
        pad: Id of the padding.
        images: By argument of the model, such as ``pixel_values``: a tensor with all images of each prompt along its
            first axis, None for a prompt without images.

    Raises:
        AdapterError: there are not three prompts, or not three entries for an argument.
    """
    for name, given in {"ids": ids, **images}.items():
        if len(given) != len(ROWS):
            raise AdapterError(
                f"{name} has {len(given)} entries; give {len(ROWS)}, one for each prompt: with one image, with none, "
                f"with two"
            )

    def make_inputs(prompts: Sequence[int]) -> Mapping[str, Any]:
        longest = max(len(ids[prompt]) for prompt in prompts)
        missing = [longest - len(ids[prompt]) for prompt in prompts]
        rows = [[pad] * more + list(ids[prompt]) for more, prompt in zip(missing, prompts, strict=True)]
        mask = [[0] * more + [1] * (longest - more) for more in missing]
        made = {"input_ids": torch.tensor(rows), "attention_mask": torch.tensor(mask)}
        for name, given in images.items():
            mine = [tensor for prompt in prompts if (tensor := given[prompt]) is not None]
            if mine:
                made[name] = torch.cat(mine)
        return made

    return make_inputs
