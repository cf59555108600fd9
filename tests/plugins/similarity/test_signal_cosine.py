"""`signal_cosine`: cosines of a signal's vectors."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from fakes import built

import scope_core as scope
from plugins.cases import REGISTRY, pairwise
from plugins.similarity.cases import some_tokens


def test_by_the_formula() -> None:
    tokens = some_tokens()
    got = pairwise("signal_cosine", tokens)[0]
    np.testing.assert_allclose(got, oracles.cosine_matrix(tokens.signals["vision.hidden[-2]"][0].numpy()), atol=1e-14)
    assert (got == got.T).all()
    assert (got.diagonal() == 1).all()
    assert built(REGISTRY, "similarity", {"name": "signal_cosine", "of": "projected"}).needs == {"projected"}


def test_a_signal_of_another_shape_is_refused() -> None:
    with pytest.raises(scope.TokensError, match="expected one vector per token"):
        pairwise({"name": "signal_cosine", "of": "vision.keys[-2]"}, some_tokens())
