"""The signal ``text.embeddings``: the text of the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def text_embeddings(model: Any, ids: Tensor, mask: Tensor | None, placeholder: int, prompts: Sequence[int]) -> Tensor:
    """(images, M, D) input embeddings of the text around each image: its whole prompt without special tokens.

    Shorter prompts are padded with rows of zeros.

    Args:
        model: A model with ``get_input_embeddings``.
        ids: (B, L) the prompts; negative where an id is no text.
        mask: (B, L) False for padding; None without padding.
        placeholder: Id of image placeholders.
        prompts: The prompt of each image.
    """
    config = model.config.get_text_config()
    special = [placeholder]
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        value = getattr(config, name, None)
        special += value if isinstance(value, list) else [] if value is None else [value]
    real = ~torch.isin(ids, torch.tensor(special, device=ids.device)) & (ids >= 0)
    real = real if mask is None else real & mask.bool()
    with torch.no_grad():
        words = [model.get_input_embeddings()(row[text]).detach() for row, text in zip(ids, real, strict=True)]
    return pad_sequence([words[prompt] for prompt in prompts], batch_first=True)
