"""`rater_attention`: SparseVLM's attention from relevant words."""

from __future__ import annotations

import torch

from plugins.decoder_cases import alone, select, signals


def test_a_prompt_without_text_behind_its_image() -> None:
    features = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(2))
    read = signals(features, (0, 2))
    for name in ("text_attention[2]", "text_hidden[0]"):
        read[f"decoder.{name}"] = read[f"decoder.{name}"].clone()
    read["decoder.text_hidden[0]"][1] = 0
    read["decoder.text_attention[2]"][1] = 0
    got = select(alone("sparsevlm", budget={"name": "tokens", "keep": 3}, merger="none"), features, read)
    assert got.picks[1].tolist() == [0, 1, 2]
