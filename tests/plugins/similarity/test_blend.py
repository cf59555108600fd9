"""`blend`: weighted sums and products of similarities."""

from __future__ import annotations

import numpy as np
import pytest

import scope_core as scope
from plugins.cases import pairwise
from plugins.similarity.cases import some_tokens


def test_by_the_formula() -> None:
    tokens = some_tokens()
    near, cosine = pairwise("spatial", tokens), pairwise("cosine", tokens)
    mixed = pairwise({"name": "blend", "of": ["spatial", "cosine"], "weights": [1, 3]}, tokens)
    np.testing.assert_allclose(mixed, (near + 3 * cosine) / 4)
    np.testing.assert_allclose(pairwise({"name": "blend", "of": ["spatial", "cosine"]}, tokens), (near + cosine) / 2)
    both = {"name": "blend", "of": ["spatial", "cosine"], "how": "product"}
    np.testing.assert_allclose(pairwise(both, tokens), near * cosine)
    for wrong in ({"weights": [1]}, {"weights": [0, 0]}, {"weights": [1, 1], "how": "product"}):
        with pytest.raises(scope.SpecError, match="one weight per similarity of a sum"):
            scope.Pruner({"recipe": "scope", "similarity": {"name": "blend", "of": ["spatial", "cosine"], **wrong}})
