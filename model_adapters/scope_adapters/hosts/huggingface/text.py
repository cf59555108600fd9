"""The prompt's text as a signal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def text_embeddings(model: Any, ids: Tensor, mask: Tensor | None, placeholder: int, prompts: Sequence[int]) -> Tensor:
    """(images, M, D) input embeddings of the text around each image: its whole prompt but for special tokens.

    Args:
        model: With ``get_input_embeddings``.
        ids: (B, L) the prompts.
        mask: (B, L) False for padding; None where there is none.
        placeholder: Id of image placeholders.
        prompts: The prompt of each image.

    Returns:
        Rows of zeros fill up shorter prompts.
    """
    config = model.config.get_text_config()
    special = [placeholder]
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        value = getattr(config, name, None)
        special += value if isinstance(value, list) else [] if value is None else [value]
    real = ~torch.isin(ids, torch.tensor(special, device=ids.device))
    real = real if mask is None else real & mask.bool()
    with torch.no_grad():
        words = [model.get_input_embeddings()(row[here]).detach() for row, here in zip(ids, real, strict=True)]
    return pad_sequence([words[prompt] for prompt in prompts], batch_first=True)
