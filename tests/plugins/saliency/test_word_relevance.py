"""`word_relevance`: words that point somewhere count, words that match everything do not."""

from __future__ import annotations

import numpy as np
import oracles_recent as oracle
import torch
from fakes import built

import scope_core as scope
from scope_core import VisualTokens


def relevance(registry: scope.Registry, words: torch.Tensor, **options: object) -> torch.Tensor:
    tokens = VisualTokens.of(torch.ones(len(words), words.shape[2], 2), signals={"clip.word_similarity": words})
    return built(registry, "saliency", {"name": "word_relevance", **options}).score(tokens)


def test_scores_are_the_oracles(registry: scope.Registry) -> None:
    words = torch.randn(3, 9, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 20
    for row, score in zip(words.numpy(), relevance(registry, words), strict=True):
        np.testing.assert_allclose(score, oracle.of_words(row), rtol=1e-9)


def test_words_that_match_everything_are_left_out(registry: scope.Registry) -> None:
    words = torch.full((1, 3, 6), 0.2)
    words[0, 0, 4] = 0.1  # the lower cosine shows what the word names
    words[0, 2] = 0  # padding
    score = relevance(registry, words)
    assert score.argmax() == 4
    torch.testing.assert_close(score[0], -words[0, 0])
    positive = relevance(registry, words, sign="positive", share=1.0)
    assert positive.argmin() == 4
    assert relevance(registry, torch.zeros(1, 2, 6)).tolist() == [[0.0] * 6]  # no text
