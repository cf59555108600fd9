"""Models that number their positions along several axes, (time, row, column), by the places of images in the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, TypeVar

import torch
from torch import Tensor

from scope_adapters.compat.signatures import parameters
from scope_adapters.compat.transformers import base_of, counts_padding, takes_encoder_outputs, takes_text_positions
from scope_adapters.hosts.huggingface.adapter import HuggingFaceAdapter
from scope_adapters.hosts.huggingface.prompt import Shortened, compact_positions
from scope_adapters.hosts.methods import unwrap
from scope_core import AttachError
from scope_core.adapters import Session
from scope_core.parts import ComponentSpec

S = TypeVar("S", bound=ComponentSpec)


class PositionAxes(HuggingFaceAdapter[S]):
    """Kept tokens and the text after them keep the positions that they have in the full prompt (Qwen2-VL's M-RoPE)."""

    lasting_inputs: tuple[str, ...] = ("image_grid_thw", "video_grid_thw", "second_per_grid_ts")
    position_axes = (3, 4)
    state = ("rope_deltas",)
    numbers_itself = False

    def positions(self, model: Any, kwargs: Mapping[str, Any], short: Shortened) -> Tensor | None:
        """Positions in the full prompt, as the model numbers them; text positions, used for masks, have no gaps."""
        base, full, text = base_of(model), kwargs.get("position_ids"), None
        ids, mask, kinds = kwargs["input_ids"], kwargs.get("attention_mask"), kwargs.get("mm_token_type_ids")
        asked = parameters(base.get_rope_index)
        if ("mm_token_type_ids" in asked and kinds is None) if full is None else full.dim() == 2:
            if full is None and not takes_encoder_outputs(model):
                raise AttachError(
                    f"mm_token_type_ids is missing, from which {type(model).__name__} numbers its positions: pass "
                    f"everything that the processor returned"
                )
            return None  # one axis: the caller's positions, or all numbered as text
        if full is None:
            names = ("mm_token_type_ids", "image_grid_thw", "video_grid_thw", "second_per_grid_ts", "attention_mask")
            given = {name: kwargs.get(name) for name in names if name in asked}
            full, deltas = base.get_rope_index(ids, **given)
            real = torch.ones_like(ids) if mask is None else mask.to(ids.device).ne(0).long()
            # new tokens are numbered by their place in the cache, which is shorter now
            dropped = short.dropped.sum(1, keepdim=True)
            fewer = ids.shape[1] - short.index.shape[1] if counts_padding(base) else dropped
            base.rope_deltas = deltas + fewer
            real = short.take(real, 0)
            text = (real.cumsum(1) - 1) * real
        elif len(full) == max(self.position_axes):
            text, full = compact_positions(full[0], short, mask), full[1:]
        axes = torch.stack([short.take(axis, 0, by_source=True) for axis in full])
        return axes if text is None or not takes_text_positions(base.language_model) else torch.cat([text[None], axes])

    def install(self, model: Any, attachment: Session, undo: ExitStack) -> None:
        """Install, and restore `rope_deltas` on detaching: every call of the model leaves its own."""
        base = base_of(unwrap(model))
        undo.callback(setattr, base, "rope_deltas", base.rope_deltas)
        super().install(model, attachment, undo)
