"""`without_negatives`: clamped or shifted."""

from __future__ import annotations

import numpy as np
from fakes import built

from plugins.cases import REGISTRY, pairwise
from plugins.similarity.cases import some_tokens


def test_by_the_formula() -> None:
    tokens = some_tokens()
    cosine = pairwise("cosine", tokens)
    np.testing.assert_array_equal(pairwise("without_negatives", tokens), np.maximum(cosine, 0))
    np.testing.assert_allclose(pairwise({"name": "without_negatives", "how": "shift"}, tokens), (1 + cosine) / 2)
    assert built(REGISTRY, "similarity", "without_negatives").symmetric
    assert not built(REGISTRY, "similarity", {"name": "without_negatives", "of": "row_softmax"}).symmetric
