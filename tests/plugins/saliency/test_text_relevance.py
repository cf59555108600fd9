"""`text_relevance`: cosines between the prompt and the tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import scope_core as scope
from plugins.cases import POSITIVE, score
from scope_core import VisualTokens


class TestTextRelevance:
    def test_sign_chunks_and_padding(self) -> None:
        chunks = torch.tensor([[[0.1, 0.4], [0.3, 0.2], [0.0, 0.0]], [[0.0, 0.0]] * 3])  # the last of each is padding
        tokens = VisualTokens.of(torch.ones(2, 2, 1), signals={"clip.text_similarity": chunks})
        np.testing.assert_allclose(score("text_relevance", tokens), [[-0.2, -0.3], [0, 0]], atol=1e-7)
        np.testing.assert_allclose(score(POSITIVE, tokens), [[0.2, 0.3], [0, 0]], atol=1e-7)
        np.testing.assert_allclose(score({**POSITIVE, "chunks": "max"}, tokens), [[0.3, 0.4], [0, 0]], atol=1e-7)

    def test_one_chunk_per_patch_of_another_image_is_refused(self) -> None:
        with pytest.raises(scope.TokensError, match=r"clip.text_similarity"):
            scope.select(torch.ones(4, 2), signals={"clip.text_similarity": torch.ones(1, 1, 5)}, spec="cdpruner@2")
