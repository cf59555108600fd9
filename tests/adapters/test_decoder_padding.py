"""Stages inside the language model where attention gets masks of two axes, as FlashAttention does.

FlashAttention has no build for CPUs: `flash` is a function of another name that takes no mask but its (B, K) one,
reads it as FlashAttention does, and computes the same. FlashAttention itself was not run.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import scope_core as scope
from adapters.decoders import COMPACT, ENCODER_FIRST, GREEDY, MERGING, TWO_STAGES, deep
from adapters.models import batch
from adapters.qwen import MODELS, prompts, shared
from adapters.test_decoder_qwen import ENCODER_FIRST as QWEN_ENCODER_FIRST
from adapters.test_decoder_qwen import TWO_STAGES as QWEN_TWO_STAGES

try:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
except ImportError:
    pytest.skip("this transformers knows its own attention functions only", allow_module_level=True)

NAME = "rows_without_padding"
CALLS: list[int] = []
"""Rows of each call of `flash`."""


def flash(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **options: Any) -> tuple[Tensor, None]:
    """(B, Q, H, C) causal attention of each row without its padding; queries are the last of the keys."""
    CALLS.append(len(query))
    if mask is not None and (mask.dim() != 2 or mask.shape[1] != key.shape[2]):
        raise TypeError(f"a mask of {tuple(mask.shape)} for keys of {tuple(key.shape)}")
    if options.get("position_ids") is not None and query.shape[2] > 1:
        steps = options["position_ids"].diff(dim=-1)
        if len(query) == 1 and bool((steps != 1).any()):
            raise TypeError("position ids with gaps look like packed prompts")
    key, value = (x.repeat_interleave(module.num_key_value_groups, 1) for x in (key, value))
    out = torch.zeros_like(query)
    for row in range(len(query)):
        real = torch.ones(key.shape[2], dtype=torch.bool) if mask is None else mask[row].bool()
        asked = real[-query.shape[2] :]
        queries, keys, values = query[row][:, asked], key[row][:, real], value[row][:, real]
        scores = queries @ keys.mT * options["scaling"]
        later = torch.ones(scores.shape[1:]).triu(scores.shape[2] - scores.shape[1] + 1).bool()
        out[row][:, asked] = scores.masked_fill(later, -torch.inf).softmax(-1) @ values
    return out.transpose(1, 2).contiguous(), None


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    AttentionInterface.register(NAME, flash)
    AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["flash_attention_2"])
    yield
    for registry in (AttentionInterface, AttentionMaskInterface):
        registry._global_mapping.pop(NAME)


def same(model: Any, spec: dict[str, Any], given: Any) -> None:
    """The same tokens and ids as with sdpa, with and without a cache, beams included."""
    flashing = copy.deepcopy(model)
    flashing.config.get_text_config()._attn_implementation = NAME
    receipts, made = [], []
    CALLS.clear()
    for one in (model, flashing):
        with scope.Pruner(spec).attach(one) as pruning, torch.no_grad():
            modes: tuple[dict[str, Any], ...] = ({}, {"use_cache": False}, {"num_beams": 3})
            made.append([one.generate(**given.inputs, **{**GREEDY, **mode}) for mode in modes])
            receipts.append(pruning.receipt)
    assert all(torch.equal(*pair) for pair in zip(*made, strict=True))
    assert [image.kept for image in receipts[0].images] == [image.kept for image in receipts[1].images]
    assert receipts[0].kept < receipts[0].tokens
    assert CALLS


@pytest.mark.parametrize(
    "spec", [TWO_STAGES, COMPACT, ENCODER_FIRST, MERGING], ids=["two", "compact", "encoder first", "merging"]
)
@pytest.mark.parametrize("rows", [([3, "image", 4],), ([3, "image", 4], [6], [2, "image", 1, "image", 5])], ids=len)
def test_llava(rows: Any, spec: dict[str, Any]) -> None:
    same(deep("llama"), spec, batch(*rows))


@pytest.mark.parametrize("spec", [QWEN_TWO_STAGES, QWEN_ENCODER_FIRST], ids=["two", "encoder first"])
@pytest.mark.parametrize("name", MODELS)
def test_qwen(name: str, spec: dict[str, Any]) -> None:
    same(shared(name), spec, prompts([3, (6, 10), 4], [6], [2, (4, 8), 1, (6, 4), 5]))


def test_masks_of_other_shapes_are_refused() -> None:
    model = copy.deepcopy(deep("llama"))
    model.config.get_text_config()._attn_implementation = NAME
    AttentionMaskInterface.register(NAME, lambda *_, **__: torch.ones(3))
    with pytest.raises(scope.AttachError, match="gives its layers masks that"):
        scope.Pruner(TWO_STAGES).attach(model)
